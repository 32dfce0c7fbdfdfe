"""Reading the rows of a table written as text, whatever is wrong with its quotes."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from headwater_server.retrieval.parsing.delimited_dialect import Dialect
from headwater_server.retrieval.parsing.errors import DocumentTooLargeError

MAX_COLUMNS = 16_384  # as many as a sheet of a workbook has
_LONG_LINE = 100_000
_MAX_LINES_A_ROW = 2000
_MAX_BROKEN_ROWS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is not blank."""

    number: int
    """From 1; blank rows count."""
    cells: tuple[str, ...]


def read_rows(text: str, dialect: Dialect) -> Iterator[Row]:
    """Yield the rows of a table.

    A line whose quotes make no sense is a row of its own and does not take the lines after it along. After a hundred
    of them quotes are taken for what they are elsewhere: characters.

    Raises:
        DocumentTooLargeError: A row has too many columns.
    """
    lines = _Lines(text, dialect.delimiter)
    reader = csv.reader(
        lines,
        delimiter=dialect.delimiter,
        doublequote=not dialect.is_escaped,
        escapechar="\\" if dialect.is_escaped else None,
        skipinitialspace=dialect.delimiter != "\t",
        strict=True,
    )
    number = broken = 0
    while True:
        number += 1
        lines.begin_row()
        try:
            cells = next(reader, None) if broken < _MAX_BROKEN_ROWS else lines.next_split()
        except csv.Error:
            broken += 1
            cells = _read_alone(lines.keep_first(), dialect.delimiter)
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield Row(number, tuple(cells))


def _read_alone(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line, read with patience."""
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:  # a cell over the module's limit
        return line.split(delimiter)


class _Lines:
    """The lines of a text, with those of the row that is being read remembered."""

    def __init__(self, text: str, delimiter: str) -> None:
        self._lines = io.StringIO(text)
        self._delimiter = delimiter
        self._row: list[str] = []
        self._again: deque[str] = deque()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        if len(line) > _LONG_LINE and line.count(self._delimiter) >= MAX_COLUMNS:
            raise DocumentTooLargeError(f"the table has a row of more than {MAX_COLUMNS:,} columns")
        self._row.append(line)
        if len(self._row) > _MAX_LINES_A_ROW:
            raise csv.Error("the row has no end")
        return line

    def begin_row(self) -> None:
        self._row = []

    def keep_first(self) -> str:
        """Return the row's first line, and give the others back to be read again."""
        first, *others = self._row
        self._again.extendleft(reversed(others))
        return first.rstrip("\n")

    def next_split(self) -> list[str] | None:
        """Return the cells of the next line, cut at every delimiter; None at the end."""
        line = next(self, None)
        return None if line is None else line.rstrip("\n").split(self._delimiter)
