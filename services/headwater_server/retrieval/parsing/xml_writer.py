"""Gathering the prose and the data of an XML text into blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from headwater_server.retrieval.model import Block
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.line_buffer import LineBuffer

_SPACE = re.compile(r"\s+")
_LONGEST_HEADING = 300
# Records are gathered up to about a passage's length.
_ENOUGH = 300
_TOO_MUCH = 1500

_Line = tuple[str, list[tuple[int, int, int]]]


class Piece(NamedTuple):
    """Some text and the line of the file that it begins in."""

    text: str
    line: int


class XmlWriter:
    """Writes paragraphs, headings and lines of data."""

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self._finished: list[Block] = []
        self._buffer = LineBuffer()
        self._length = 0
        self._total = 0
        self._label: tuple[str, int] | None = None  # of a record of which no value has been written

    def take_finished(self) -> Iterator[Block]:
        """Yield the blocks that are complete."""
        yield from self._finished
        self._finished = []

    def finish(self) -> Iterator[Block]:
        """Yield all that is left."""
        self._end_block()
        yield from self.take_finished()

    def begin_record(self, name: str, attributes: str, line: int) -> None:
        """Begin a record. Its name is written before its first value, or if it has attributes."""
        if self._length >= _ENOUGH:
            self._end_block()
        self._label = (f"{name}:", line)
        if attributes:
            self._label = None
            self._write_line(f"{name} ({attributes}):", [(0, line, line)])

    def end_record(self) -> None:
        """End a record."""
        self._label = None
        if self._length >= _ENOUGH:
            self._end_block()

    def write_value(self, name: str, attributes: str, pieces: Sequence[Piece], lines: tuple[int, int]) -> None:
        """Write a value, if it or its attributes say something."""
        text = " ".join("".join(piece.text for piece in pieces).split())
        if not text and not attributes:
            return
        if self._label:
            label, line = self._label
            self._label = None
            self._write_line(label, [(0, line, line)])
        named = f"{name} ({attributes})" if attributes else name
        self._write_line(f"{named}: {text}" if text else named, [(0, *lines)])

    def write_prose(self, pieces: Sequence[Piece], *, keeps_space: bool) -> None:
        """Write a paragraph, if it has text."""
        self._label = None
        lines = _lines(pieces) if keeps_space else [_one_line(pieces)]
        if any(text.strip() for text, _ in lines):
            self._end_block()
            for text, parts in lines:
                self._write_line(text, parts)
            self._end_block()

    def write_heading(self, pieces: Sequence[Piece], *, level: int) -> bool:
        """Write a heading, and return whether it is one: it has text, and is not too long."""
        text, parts = _one_line(pieces)
        if not text or len(text) > _LONGEST_HEADING:
            self.write_prose(pieces, keeps_space=False)
            return False
        self._label = None
        self._end_block()
        self._write_line(text, parts)
        self._end_block(level=level)
        return True

    def _write_line(self, text: str, parts: list[tuple[int, int, int]]) -> None:
        self._total += len(text) + 1
        self._limits.check_characters(self._total)
        if self._length + len(text) >= _TOO_MUCH:
            self._end_block()
        self._buffer.add(text, parts)
        self._length += len(text) + 1

    def _end_block(self, *, level: int = 0) -> None:
        self._finished += self._buffer.take(level=level)
        self._length = 0


def _one_line(pieces: Sequence[Piece]) -> _Line:
    """Return text as one line, its white space as single spaces."""
    texts: list[str] = []
    parts: list[tuple[int, int, int]] = []
    length = 0
    ends_with_space = True
    for piece in pieces:
        text = _SPACE.sub(" ", piece.text)
        if ends_with_space:
            text = text.lstrip(" ")
        if not text:
            continue
        if not parts or parts[-1][1] != piece.line:
            parts.append((length, piece.line, piece.line + piece.text.strip().count("\n")))
        texts.append(text)
        length += len(text)
        ends_with_space = text.endswith(" ")
    return "".join(texts).rstrip(), parts or [(0, 1, 1)]


def _lines(pieces: Sequence[Piece]) -> list[_Line]:
    """Return preformatted text line by line."""
    lines: list[tuple[list[str], int]] = []
    for piece in pieces:
        for number, text in enumerate(piece.text.split("\n")):
            if number or not lines:
                lines.append(([], piece.line + number))
            lines[-1][0].append(text)
    return [("".join(texts), [(0, line, line)]) for texts, line in lines]
