"""Gathering the text of an RTF file into paragraphs and tables."""

from __future__ import annotations

from collections.abc import Iterator

from headwater_server.retrieval.model import Block
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.line_buffer import LineBuffer
from headwater_server.retrieval.parsing.text import clean

_MAX_ROW_CELLS = 10_000


class ParagraphWriter:
    """Takes text and the ends of paragraphs, cells and rows."""

    def __init__(self, limits: ParseLimits) -> None:
        self.level = 0
        """Of the paragraph under construction: 1 to 9 if it is a heading."""
        self._limits = limits
        self._total = 0
        self._number = 1  # of the paragraph under construction
        self._text: list[str] = []
        self._is_item = False
        self._cells: list[str] = []
        self._row_start = 1
        self._table = LineBuffer()
        self._finished: list[Block] = []

    def add(self, text: str) -> None:
        """Add text to the paragraph."""
        self._total += len(text)
        self._limits.check_characters(self._total)
        self._text.append(text)

    def begin_item(self) -> None:
        """Make the paragraph an item of a list."""
        self._is_item = True

    def end_paragraph(self) -> None:
        """End the paragraph; within a cell it goes on after a space."""
        if self._cells:
            self._text.append(" ")
        else:
            self._end_table()
            self._write(self._take(), self._number, self._number)
            self._finished += self._table.take(level=self.level)
        self._number += 1
        self._is_item = False

    def end_cell(self) -> None:
        """End a cell of a table."""
        if not self._cells:
            self._row_start = self._number
        if len(self._cells) < _MAX_ROW_CELLS:
            self._cells.append(" ".join(self._take().split()))
        self._number += 1

    def end_row(self) -> None:
        """End a row of a table."""
        if any(self._cells):
            self._write(" | ".join(self._cells), self._row_start, max(self._row_start, self._number - 1))
        self._cells = []

    def take_finished(self) -> Iterator[Block]:
        """Yield the blocks that are complete."""
        if self._finished:
            yield from self._finished
            self._finished = []

    def finish(self) -> Iterator[Block]:
        """Yield what is left."""
        self.end_row()
        self.end_paragraph()
        yield from self.take_finished()

    def _take(self) -> str:
        text = "".join(self._text)
        self._text = []
        # Characters beyond U+FFFF are written as two surrogates.
        return clean(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))

    def _write(self, text: str, first: int, last: int) -> None:
        mark = "- " if self._is_item and text.strip() else ""
        for line in text.strip().split("\n"):
            self._table.add(mark + line if line.strip() else "", [(0, first, last)])
            mark = ""

    def _end_table(self) -> None:
        self._finished += self._table.take()
