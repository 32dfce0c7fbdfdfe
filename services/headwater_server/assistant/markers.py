r"""Markers such as `[1]`, `[1, 2]` or `[1][3]` in a model's text, read as it streams.

What is a marker, and what only looks like one:

- A bracket with one or more numbers, separated by `,`, `;`, or `-` for a range, all of sources that were presented.
  One number that is not, as in `[2024]` or `[0, 1]`, and the bracket is text.
- It stands after words, on the line they stand on. At the start of a line it is text: a list of references, or the
  definition of a link.
- What follows must not make it something else: `[1](…)` is a link, `x[1] = 2` and `f[1](…)` are code, `[1]:` at the
  start of a line is a link's definition. `\[1]`, `[^1]` and `[text][1]` are no markers either.
- Code is left alone: fenced blocks, and spans between backticks on one line.

A marker is taken out of the text, with the blanks before it where blank, punctuation or the end follows. All this is
decided from the text alone, never from where it was cut into pieces: whatever may still become a marker is held back,
at most a few hundred characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Generator, Iterable, Iterator
from dataclasses import dataclass, field

_BLANK = r"[ \t\u00a0\u202f]"
_NUMBER = r"[1-9][0-9]{0,3}"
_BRACKET = re.compile(rf"\[ *({_NUMBER}(?: *[,;–-] *{_NUMBER}){{0,15}}) *\]")
_GAP = re.compile(rf"{_BLANK}{{0,2}}")
_BLANKS = re.compile(rf"{_BLANK}{{0,32}}")
_UNDECIDED = re.compile(
    rf"{_BLANK}{{0,32}}(?:\[[0-9 ,;–-]{{0,96}}\]{_BLANK}{{0,2}}){{0,16}}(?:\[[0-9 ,;–-]{{0,96}})?{_BLANK}{{0,2}}\Z"
)
"""All that may still become markers. Every beginning of what it matches it matches too, so that text it does not match
up to its end is decided, whatever comes."""
_SPECIAL = re.compile(rf"{_BLANK}|\[|\n|`|~")
_MAX_TICKS = 64
_TICKS = re.compile(rf"`{{1,{_MAX_TICKS}}}|~{{1,{_MAX_TICKS}}}")
_WORD = re.compile(r"[^\W_]")
_QUOTED = re.compile(rf"(?:{_BLANK}|>)*")
_SEPARATORS = re.compile(r" *([,;–-]) *")
_OPERATORS = frozenset("=<>+*/%")
_MAX_BRACKET = 98
_MAX_GROUP = 16
_CLOSING = frozenset({"Pd", "Pe", "Pf", "Po"})
"""Categories of punctuation before which no blank is wanted where a marker was."""


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker that was taken out of the text at this place."""

    numbers: tuple[int, ...]
    size: int = field(default=0, compare=False)
    """How many bytes of UTF-8 were taken out."""


class MarkerReader:
    """Splits a text, given in pieces, into the text without markers and the markers."""

    def __init__(self, presented: Collection[int]) -> None:
        """Makes a reader.

        Args:
            presented: The numbers of the sources the model has seen. Empty: no marker is read.
        """
        self._presented = frozenset(presented)
        self._held = ""
        self._previous = "\n"
        self._words = False  # whether the line has words so far
        self._only_blanks = True  # whether the line has nothing but blanks and ">" so far
        self._fence = ""
        self._ticks = 0

    def feed(self, text: str) -> list[str | Marker]:
        """Takes the next piece; returns what is certain."""
        if not self._presented:
            return [text] if text else []
        return _joined(self._scan(self._held + text, final=False))

    def finish(self) -> list[str | Marker]:
        """Returns what was held back, when the text has ended."""
        return _joined(self._scan(self._held, final=True))

    def _scan(self, buffer: str, *, final: bool) -> Iterator[str | Marker]:
        position = 0
        while position < len(buffer):
            special = _SPECIAL.search(buffer, position)
            plain = buffer[position : special.start() if special else len(buffer)]
            if plain:
                yield self._pass(plain)
                position += len(plain)
                continue
            if not final and self._undecided(buffer, position):
                break
            position = yield from self._special(buffer, position)
        self._held = buffer[position:]

    def _undecided(self, buffer: str, position: int) -> bool:
        if buffer[position] in "`~":
            end = _TICKS.match(buffer, position).end()  # type: ignore[union-attr]  # it matches at least the one
            return end == len(buffer) and end - position < _MAX_TICKS
        if self._in_code or buffer[position] == "\n":
            return False
        return _UNDECIDED.match(buffer, position) is not None

    @property
    def _in_code(self) -> bool:
        return bool(self._fence or self._ticks)

    def _special(self, buffer: str, position: int) -> Generator[str | Marker, None, int]:
        """Deals with the special character at the position, and returns where to go on."""
        character = buffer[position]
        if character == "\n":
            yield "\n"
            self._new_line()
            return position + 1
        if character in "`~":
            run = _TICKS.match(buffer, position)[0]  # type: ignore[index]  # it matches at least the one
            self._code_mark(run)
            yield self._pass(run)
            return position + len(run)
        blanks = _BLANKS.match(buffer, position)[0]  # type: ignore[index]  # it matches nothing, too
        opening = position + len(blanks)
        if not buffer.startswith("[", opening) or self._in_code:
            text = blanks or character
            yield self._pass(text)
            return position + len(text)
        numbers, end = self._group(buffer, opening, attached=not blanks)
        if not numbers:
            yield self._pass(blanks + "[")
            return opening + 1
        if blanks and not _wants_no_blank(buffer[end : end + 1]):
            yield self._pass(blanks)
            position = opening
        yield Marker(numbers, len(buffer[position:end].encode()))
        self._previous = ""
        return end

    def _group(self, buffer: str, opening: int, *, attached: bool) -> tuple[tuple[int, ...], int]:
        """The numbers of the markers that begin at the position and follow each other, and where they end."""
        if not self._words or (attached and self._previous in {"\\", "[", "^", "]"}):
            return (), opening
        brackets: list[tuple[tuple[int, ...], int]] = []
        while len(brackets) < _MAX_GROUP and (bracket := self._bracket(buffer, opening)):
            brackets.append(bracket)
            opening = _GAP.match(buffer, bracket[1]).end()  # type: ignore[union-attr]  # it matches nothing, too
        if brackets and buffer[brackets[-1][1] : brackets[-1][1] + 1] in {"(", "{"}:
            brackets.pop()
        if not brackets or (attached and self._is_subscript(buffer, brackets[-1][1])):
            return (), opening
        unique = dict.fromkeys(number for numbers, _ in brackets for number in numbers)
        return tuple(unique), brackets[-1][1]

    def _bracket(self, buffer: str, opening: int) -> tuple[tuple[int, ...], int] | None:
        match = _BRACKET.match(buffer, opening)
        if match is None or len(match[0]) > _MAX_BRACKET:
            return None
        numbers: list[int] = []
        words = _SEPARATORS.split(match[1])
        for index in range(0, len(words), 2):
            number = int(words[index])
            ranged = index > 0 and words[index - 1] in {"-", "–"}
            first = numbers[-1] + 1 if ranged else number
            if first > number or not self._presented.issuperset(range(first, number + 1)):
                return None
            numbers.extend(range(first, number + 1))
        return tuple(numbers), match.end()

    def _is_subscript(self, buffer: str, end: int) -> bool:
        """Whether a bracket directly after a word is rather an index: `x[1]y`, `x[1] = 2`."""
        if not (self._previous.isalnum() or self._previous in {"_", ")"}):
            return False
        after = buffer[end : end + 1]
        gap = _GAP.match(buffer, end).end()  # type: ignore[union-attr]  # it matches nothing, too
        following = buffer[gap : gap + 1]
        return after.isalnum() or after == "_" or (following in _OPERATORS and not (gap == end and following == "*"))

    def _code_mark(self, run: str) -> None:
        if self._fence:
            if self._only_blanks and run[0] == self._fence[0] and len(run) >= len(self._fence):
                self._fence = ""
        elif self._ticks:
            self._ticks = 0 if run == "`" * self._ticks else self._ticks
        elif self._only_blanks and len(run) >= 3:
            self._fence = run
        elif run[0] == "`":
            self._ticks = len(run)

    def _new_line(self) -> None:
        self._previous = "\n"
        self._words = False
        self._only_blanks = True
        self._ticks = 0

    def _pass(self, text: str) -> str:
        self._previous = text[-1]
        self._words = self._words or _WORD.search(text) is not None
        self._only_blanks = self._only_blanks and _QUOTED.fullmatch(text) is not None
        return text


def _wants_no_blank(following: str) -> bool:
    return not following or following.isspace() or unicodedata.category(following) in _CLOSING


def _joined(pieces: Iterable[str | Marker]) -> list[str | Marker]:
    joined: list[str | Marker] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, str) and isinstance(last, str):
            joined[-1] = last + piece
        else:
            joined.append(piece)
    return joined
