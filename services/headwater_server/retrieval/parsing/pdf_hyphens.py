"""Joining words that a line's end parted, with the document itself as the dictionary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# PDFium joins lines that end in a hyphen by itself and leaves U+FFFE (older versions U+0002) in the hyphen's place.
_MARKED = re.compile("(?<!\\w)(\\w*)[\ufffe\x02](\\w*)")
_MARKS = ("\ufffe", "\x02")
_PARTED_END = re.compile(r"(\w+)-$")
_PARTED_BEGIN = re.compile(r"\w+")
_WORD = re.compile(r"\w+(?:-\w+)*")


class HyphenJoiner:
    """Decides whether the hyphen at a line's end belongs to the word.

    It does if the document has the word with a hyphen elsewhere, and does not if it has it without. If it has neither,
    the hyphen goes between two lower-case letters ("docu-ment"), and stays otherwise ("Anglo-Saxon", "COVID-19").
    """

    def __init__(self, pages: Sequence[Iterable[str]]) -> None:
        self._pages = pages
        self._words: frozenset[str] | None = None

    def join_marked(self, line: str) -> str:
        """Return a line with every mark of PDFium's replaced by a hyphen or nothing."""
        if not any(mark in line for mark in _MARKS):
            return line
        return _MARKED.sub(lambda match: self._joined(match[1], match[2]), line)

    def join_ends(self, left: str, right: str) -> tuple[str, str] | None:
        """Return two neighbouring lines fit to be put together without a space, or None if no hyphen parts them."""
        end = _PARTED_END.search(left, max(0, len(left) - 100))
        begin = _PARTED_BEGIN.match(right)
        if end is None or begin is None:
            return None
        keeps_hyphen = "-" in self._joined(end[1], begin[0])
        return left if keeps_hyphen else left[:-1], right

    def _joined(self, left: str, right: str) -> str:
        words = self._vocabulary()
        with_hyphen, without = f"{left}-{right}", left + right
        if with_hyphen.lower() in words:
            return with_hyphen
        if without.lower() in words or (left[-1:].islower() and right[:1].islower()):
            return without
        return with_hyphen

    def _vocabulary(self) -> frozenset[str]:
        if self._words is None:
            self._words = frozenset(
                word.lower() for page in self._pages for line in page for word in _WORD.findall(line)
            )
        return self._words
