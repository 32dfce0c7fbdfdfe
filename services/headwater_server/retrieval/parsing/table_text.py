"""Rows of a table as text that a reader and an embedding model understand."""

from __future__ import annotations

import re
from collections.abc import Sequence

from headwater_server.retrieval.parsing.text import one_line

_LONGEST_NAME = 60
_LONGEST_LINE = 300
_LONGEST_HEADER_CELL = 120
_FEWEST_COLUMNS = 2

# Numbers, amounts, percentages, dates and times, links and addresses are values: no column is called so.
_VALUE = re.compile(r"[^\w]*\d[\d.,:/\s%+-]*[^\w]*\w{0,3}|\d{4}-\d\d.*|\w+://.*|\S+@\S+\.\S+")


def row_text(cells: Sequence[str], *, names: Sequence[str] = ()) -> str:
    """Return a row as text: "name: value; name: value", or "value | value" without names; empty cells are left out.

    A row that is long, or has cells of several lines, has a line for each of its cells.
    """
    values = [(position, cell.strip()) for position, cell in enumerate(cells) if cell.strip()]
    if not names:
        return " | ".join(" ".join(value.split()) for _, value in values)
    pairs = [f"{_name(names, position)}{value}" for position, value in values]
    is_short = sum(len(pair) + 2 for pair in pairs) <= _LONGEST_LINE and not any("\n" in pair for pair in pairs)
    return ("; " if is_short else "\n").join(_trimmed(pair) for pair in pairs)


def _name(names: Sequence[str], position: int) -> str:
    name = one_line(names[position], limit=_LONGEST_NAME) if position < len(names) else ""
    return f"{name}: " if name else ""


def _trimmed(pair: str) -> str:
    """Return a cell's text without blank lines, which part rows."""
    return "\n".join(line.rstrip() for line in pair.split("\n") if line.strip())


def find_header(rows: Sequence[Sequence[str]]) -> int | None:
    """Return which of a table's first rows names the columns; None if none does.

    It is the first row that has about as many cells as the table has columns, all of them different and none a value
    such as a number or a date. A line of one cell above it is a title.
    """
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    width = max(filled, default=0)
    if width < _FEWEST_COLUMNS:
        return None
    for position, (row, count) in enumerate(zip(rows, filled, strict=True)):
        if count <= 1:
            continue
        is_followed = any(filled[position + 1 :])
        return position if is_followed and count * 2 > width and _are_names(row) else None
    return None


def _are_names(row: Sequence[str]) -> bool:
    names = [cell.strip() for cell in row if cell.strip()]
    return len({name.casefold() for name in names}) == len(names) and not any(
        len(name) > _LONGEST_HEADER_CELL or _VALUE.fullmatch(name) for name in names
    )
