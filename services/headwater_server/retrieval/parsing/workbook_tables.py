"""From the rows of a sheet to blocks of text in which every value stands behind the name of its column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, pairwise

from headwater_server.retrieval.model import Block, SourceMap
from headwater_server.retrieval.parsing.limits import TextBudget
from headwater_server.retrieval.parsing.line_buffer import LineBuffer
from headwater_server.retrieval.parsing.text import one_line
from headwater_server.retrieval.parsing.workbook_sheet import Cell, Row

_SAMPLE = 12  # rows that are looked at to tell whether a table has a header
_MAX_LABEL = 100
_MAX_PLAIN_LABEL = 40  # of a label that nothing but its shortness makes one
_MAX_TITLE = 200
_COVERED = 0.6  # the share of a table's columns that its header has names for
_FEWEST_PLAIN_COLUMNS = 3
_PERIOD = re.compile(r"(?:19|20)\d\d(?:-\d\d){0,2}")

Header = Mapping[int, str]
"""The names of columns, by column."""


def read_tables(rows: Iterable[Row], sheet: str, *, budget: TextBudget) -> Iterator[Block]:
    """Yield the blocks of a sheet: its name as a heading, then each table, which ends where rows are left empty.

    A table's first row is its header if it looks like one: it names the columns, and what follows is of another kind.

    Args:
        rows: The rows that have something in them, in order.
        sheet: The sheet's name.
        budget: Pays for the text.

    Raises:
        DocumentTooLargeError: The budget is spent.
    """
    header: Header = {}
    is_first = True
    for table in _tables(rows):
        sample = list(islice(table, _SAMPLE))
        if is_first and sheet:
            yield Block(sheet, SourceMap.whole(sample[0].number), 1, sheet)
        is_first = False
        titles, header_rows, own = _head(sample)
        header = own or (header if _fits(header, sample) else {})
        yield from _read_titles(titles, sheet, is_heading=bool(own))
        header_ends = header_rows[-1].number if header_rows else 0
        lines = LineBuffer()
        for row in chain(sample[len(titles) :], table):
            text = _plain(row) if row.number <= header_ends else _labelled(row, header)
            budget.spend(len(text) + 1)
            lines.add(text, [(0, row.number, row.number)])
        for block in lines.take():
            yield Block(block.text, block.source, sheet=sheet)


def _tables(rows: Iterable[Row]) -> Iterator[Iterator[Row]]:
    """Yield the rows in groups without gaps; each group is to be read before the next."""
    source = iter(rows)
    following = next(source, None)

    def table(row: Row) -> Iterator[Row]:
        nonlocal following
        current: Row | None = row
        while current is not None:
            yield current
            following = next(source, None)
            current = following if following is not None and following.number == current.number + 1 else None

    while following is not None:
        yield table(following)


def _read_titles(titles: Sequence[Row], sheet: str, *, is_heading: bool) -> Iterator[Block]:
    for row in titles:
        text = _plain(row)
        yield Block(text, SourceMap.whole(row.number), 2 if is_heading and len(text) <= _MAX_TITLE else 0, sheet)


def _plain(row: Row) -> str:
    return " | ".join(cell.text for cell in row.cells.values())


def _labelled(row: Row, header: Header) -> str:
    if len(row.cells) == 1 and header and min(row.cells) == min(header) and row.cells[min(header)].is_text:
        return _plain(row)  # a remark, or the title of a section of the table
    return " | ".join(
        f"{header[column]}: {cell.text}" if column in header else cell.text for column, cell in row.cells.items()
    )


def _fits(header: Header, sample: Sequence[Row]) -> bool:
    """Return whether a table without a header is the previous one's continuation."""
    return all(header.keys() >= row.cells.keys() for row in sample) and any(len(row.cells) > 1 for row in sample)


def _head(sample: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row], Header]:
    """Return a table's titles, the rows of its header, and the header; the latter empty if there is none."""
    titles = 0
    while titles < len(sample) - 1 and len(sample[titles].cells) == 1:
        titles += 1
    rows = sample[titles:]
    if len(rows) > 2 and _has_groups(rows[0]):
        groups = _spread_labels(rows[0])
        if lower := _header(rows[1], rows[2:]):
            both = {column: one_line(f"{groups.get(column, '')} {label}") for column, label in lower.items()}
            return sample[:titles], rows[:2], both
    header = _header(rows[0], rows[1:])
    if header or len(rows) > 1:
        return sample[:titles], rows[:1] if header else (), header
    return (), (), {}  # one column, or one row: nothing but lines


def _has_groups(row: Row) -> bool:
    return any(last > first for first, last in row.spans.items()) and len(row.cells) > 1


def _spread_labels(row: Row) -> Header:
    """Return the labels of a row of groups, each for all columns that it spans."""
    labels: dict[int, str] = {}
    for first, following in pairwise((*row.cells, None)):
        if first is not None:
            last = row.spans.get(first, first) if following is None else min(row.spans.get(first, first), following - 1)
            labels.update(dict.fromkeys(range(first, last + 1), row.cells[first].text[:_MAX_LABEL]))
    return labels


def _header(row: Row, below: Sequence[Row]) -> Header:
    """Return the names that a row gives to the columns of the rows below it; empty if it is no header."""
    labels = {column: cell.text for column, cell in row.cells.items()}
    if not below or not _can_name(row) or not _covers(labels, below):
        return {}
    columns = {column: [one.cells[column] for one in below if column in one.cells] for column in labels}
    if any(cell.text == labels[column] for column, cells in columns.items() for cell in cells):
        return {}
    if _is_emphasised(row, below) or _differs_in_kind(row, columns):
        return labels
    is_plain = len(labels) >= _FEWEST_PLAIN_COLUMNS and all(len(text) <= _MAX_PLAIN_LABEL for text in labels.values())
    return labels if is_plain and all(cell.is_text for cell in row.cells.values()) else {}


def _can_name(row: Row) -> bool:
    cells = row.cells.values()
    return (
        len(cells) > 1
        and any(cell.is_text for cell in cells)
        and all(_is_label(cell) for cell in cells)
        and len({cell.text.casefold() for cell in cells}) == len(cells)
    )


def _is_label(cell: Cell) -> bool:
    return len(cell.text) <= _MAX_LABEL and (cell.is_text or bool(_PERIOD.fullmatch(cell.text)))


def _covers(labels: Header, below: Sequence[Row]) -> bool:
    columns = {column for row in below for column in row.cells}
    return len(columns & labels.keys()) >= _COVERED * len(columns)


def _is_emphasised(row: Row, below: Sequence[Row]) -> bool:
    return all(cell.is_bold for cell in row.cells.values()) and not all(
        cell.is_bold for one in below for cell in one.cells.values()
    )


def _differs_in_kind(row: Row, columns: Mapping[int, Sequence[Cell]]) -> bool:
    """Return whether a column has a word on top and but numbers below, or a year and but numbers that are none."""

    def is_like_top(cell: Cell, *, of_words: bool) -> bool:
        return cell.is_text or (not of_words and bool(_PERIOD.fullmatch(cell.text)))

    return any(
        cells and not any(is_like_top(cell, of_words=row.cells[column].is_text) for cell in cells)
        for column, cells in columns.items()
    )
