"""Quotes, looked for word for word.

A quote is in a source if it is there after Unicode normalisation (NFKC) and with every run of white space as one blank;
letters, digits and punctuation have to be the same. Nothing is compared by likeness: "12%" and "21%" are nearly the
same to any score, and not the same to a reader.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from headwater_server.text import utf8_prefix

MAX_QUOTE_BYTES = 512

_SPACES = re.compile(r"\s+")
_RUN = re.compile(r"(?P<plain>[!-~]+)|\s+|.", re.DOTALL)


def normalized(text: str) -> str:
    """The text as quotes are compared: NFKC, white space as single blanks, none at the ends."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip()


class QuotedText:
    """A source's text, made ready to look for quotes in. Making it costs a pass over the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._runs: list[_Run] = []
        self._normal = self._map()
        self._starts = [run.start for run in self._runs]

    def find(self, quote: str) -> tuple[int, int] | None:
        """Where a quote stands.

        Args:
            quote: The words to look for.

        Returns:
            First character and the one after the last in the source's own text, or None if the quote is not there, or
            is empty.
        """
        wanted = normalized(quote)
        begin = self._normal.find(wanted) if wanted else -1
        return None if begin < 0 else (self._begin(begin), self._end(begin + len(wanted)))

    def verified(self, quote: str) -> str:
        """The source's own words for a quote, at most 512 bytes of UTF-8 of them. Empty if the quote is not there."""
        found = self.find(quote)
        return "" if found is None else utf8_prefix(self._text[found[0] : found[1]], MAX_QUOTE_BYTES).rstrip()

    def _map(self) -> str:
        """Normalises run by run, and keeps for each run where it was."""
        normal: list[str] = []
        length = 0
        ends_blank = False
        for origin, run, plain in _runs(self._text):
            text = run if plain else _SPACES.sub(" ", unicodedata.normalize("NFKC", run))
            if ends_blank and text.startswith(" "):
                text = text[1:]
            self._runs.append(_Run(length, origin, origin + len(run), plain))
            if text:
                normal.append(text)
                length += len(text)
                ends_blank = text.endswith(" ")
        return "".join(normal)

    def _begin(self, position: int) -> int:
        run = self._runs[bisect_right(self._starts, position) - 1]
        return run.origin + (position - run.start if run.plain else 0)

    def _end(self, position: int) -> int:
        run = self._runs[bisect_right(self._starts, position - 1) - 1]
        return run.origin + position - run.start if run.plain else run.origin_end


@dataclass(frozen=True, slots=True)
class _Run:
    start: int  # where it is in the normalised text
    origin: int  # where it is in the text itself
    origin_end: int
    plain: bool  # whether it is the same in both


def _runs(text: str) -> Iterator[tuple[int, str, bool]]:
    """Splits a text so that normalising the parts gives the same as normalising the whole."""
    begin, run = 0, ""
    for match in _RUN.finditer(text):
        part = match[0]
        if run and (part.isascii() or _begins_anew(run, part)):
            yield begin, run, False
            run = ""
        if match["plain"] and not _combines(text, match.end()):
            yield match.start(), part, True
        elif match["plain"]:
            yield match.start(), part[:-1], True
            begin, run = match.end() - 1, part[-1]
        else:
            begin, run = (begin, run + part) if run else (match.start(), part)
    if run:
        yield begin, run, False


def _combines(text: str, position: int) -> bool:
    """Whether the character at the position may join the one before it."""
    return (
        position < len(text) and not text[position].isascii() and not _begins_anew(text[position - 1], text[position])
    )


def _begins_anew(before: str, character: str) -> bool:
    """Whether a part that normalises by itself begins at a character."""
    if unicodedata.combining(unicodedata.normalize("NFKD", character)[0]):
        return False
    both = unicodedata.normalize("NFKC", before[-8:] + character)
    return both == unicodedata.normalize("NFKC", before[-8:]) + unicodedata.normalize("NFKC", character)
