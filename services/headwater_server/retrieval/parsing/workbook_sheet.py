"""The rows of a sheet, read one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from headwater_server.retrieval.parsing.number_formats import format_number
from headwater_server.retrieval.parsing.workbook_package import CellStyle, Package, Sheet, as_index, line, rich_text
from headwater_server.retrieval.parsing.xml_parts import Element, stream_elements

_Item = TypeVar("_Item")

_LETTERS = re.compile("[A-Z]{1,3}")
_MERGED = re.compile(rb"""mergeCell\s[^>]{0,100}?ref\s*=\s*["']([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})["']""")
_MAX_MERGED = 100_000
_LAST_ROW, _LAST_COLUMN = 1_048_576, 16_384


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell shows."""

    text: str
    """On one line; never empty."""
    is_text: bool
    """Whether it is text, rather than a number, a date, a truth value or an error."""
    is_bold: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row that has a cell with something in it."""

    number: int
    """Its number, from 1."""
    cells: Mapping[int, Cell]
    """By column, from 1, in order of the columns."""
    spans: Mapping[int, int]
    """Of the cells that span several columns the last, by the first."""


@dataclass(frozen=True, slots=True)
class _Merged:
    """A cell that spans several."""

    last_row: int
    first_column: int
    last_column: int


def read_rows(package: Package, sheet: Sheet) -> Iterator[Row]:
    """Yield the rows of a sheet, without empty ones. What a cell that spans several says is in each of them.

    Raises:
        DocumentUnreadableError: The sheet's XML is damaged.
        DocumentTooLargeError: It has a row of over 16 MiB.
    """
    merged = _merged_cells(package, sheet)
    spread = _Spread(merged)
    reader = _CellReader(package)
    number = 0
    with package.open(sheet.path) as file:
        for element in stream_elements(file, "{*}row", until="{*}sheetData"):
            given = as_index(element.get("r", ""))
            number = given if number < given <= _LAST_ROW else number + 1
            cells = spread.fill(number, reader.read(element))
            if cells:
                yield Row(number, cells, {one.first_column: one.last_column for one in merged.get(number, ())})


class _CellReader:
    """Reads the cells of a row (ECMA-376 part 1, 18.3.1.4)."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._styles = package.styles
        self._default_style = self._styles[0] if self._styles else CellStyle()
        self._value_tag = self._text_tag = ""

    def read(self, row: Element) -> dict[int, Cell]:
        namespace = row.tag.rpartition("}")[0] + "}"
        self._value_tag, self._text_tag = f"{namespace}v", f"{namespace}is"
        cells: dict[int, Cell] = {}
        column = 0
        for element in row.iterchildren(f"{namespace}c"):
            match = _LETTERS.match(element.get("r", ""))
            column = max(column + 1, _column_number(match[0])) if match else column + 1
            if column > _LAST_COLUMN:
                break
            style = _item(self._styles, element.get("s", "0"), self._default_style)
            text, is_text = self._value(element, style)
            if text:
                cells[column] = Cell(text, is_text, style.is_bold)
        return cells

    def _value(self, cell: Element, style: CellStyle) -> tuple[str, bool]:
        """Return what a cell shows, and whether that is text (18.18.11)."""
        kind = cell.get("t", "n")
        value = ""
        for part in cell:  # of two or three; a search would take longer
            if part.tag == self._value_tag:
                value = part.text or ""
            elif part.tag == self._text_tag and kind == "inlineStr":
                return rich_text(part), True
        if not value:
            return "", False
        if kind == "n":
            return _number(value, style.code, from_1904=self._package.from_1904), False
        if kind == "s":
            return _item(self._package.strings, value, ""), True
        if kind == "b":
            return {"1": "TRUE", "0": "FALSE"}.get(value.strip(), line(value)), False
        return line(value), kind == "str"  # the others are errors, and dates that are written as such


def _number(value: str, code: str, *, from_1904: bool) -> str:
    try:
        return format_number(float(value), code, from_1904=from_1904)
    except ValueError:
        return line(value)


def _item(items: Sequence[_Item], index: str, default: _Item) -> _Item:
    number = as_index(index)
    return items[number] if 0 <= number < len(items) else default


@lru_cache(maxsize=_LAST_COLUMN)
def _column_number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _merged_cells(package: Package, sheet: Sheet) -> Mapping[int, list[_Merged]]:
    """Return the cells that span several, by their first row. The file lists them behind all rows."""
    merged: dict[int, list[_Merged]] = {}
    with package.open(sheet.path) as file:
        tail = file.read()
    start = tail.rfind(b"sheetData>")
    for count, match in enumerate(_MERGED.finditer(tail, max(0, start))):
        if count == _MAX_MERGED:
            break
        first, last = _column_number(match[1].decode()), _column_number(match[3].decode())
        merged.setdefault(int(match[2]), []).append(_Merged(int(match[4]), first, min(last, _LAST_COLUMN)))
    return merged


class _Spread:
    """Repeats what a cell that spans several says in those of its cells that there is a row for."""

    def __init__(self, merged: Mapping[int, list[_Merged]]) -> None:
        self._merged = merged
        self._down: dict[int, tuple[int, Cell]] = {}  # of the columns under such a cell the last row, and the cell

    def fill(self, number: int, cells: dict[int, Cell]) -> dict[int, Cell]:
        begun = self._merged.get(number, ())
        if not begun and not self._down:
            return cells
        for merged in begun:
            cell = cells.get(merged.first_column)
            if cell is not None and merged.last_row > number:
                self._down[merged.first_column] = merged.last_row, cell
        for column, (last_row, cell) in list(self._down.items()):
            if last_row < number:
                del self._down[column]
            else:
                cells.setdefault(column, cell)
        return dict(sorted(cells.items()))
