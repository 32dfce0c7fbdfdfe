"""Reading what can be read of a damaged table."""

# ruff: noqa: S608 (the tables' names are our own, and row numbers are numbers)

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]

_LONGEST_GAP = 100_000
"""So many rows are asked for one by one, where a scan comes to its end too early."""


def salvaged(connection: sqlite3.Connection, table: str) -> list[Row]:
    """The rows of a table that can be read; what they hold is for the caller to verify.

    A scan that comes upon damage is taken up again from the other end, and what lies between is asked for row by row.
    """
    if not _has_rowids(connection, table):
        return _from_both_ends(connection, table, key="")
    return _from_both_ends(connection, table, key="rowid")


def _from_both_ends(connection: sqlite3.Connection, table: str, *, key: str) -> list[Row]:
    found: dict[object, Row] = {}
    for number, (row_key, row) in enumerate(_scan(connection, table, f"SELECT {key or 'NULL'}, * FROM {table}")):
        found[row_key if key else number] = row
    if not key:
        return list(found.values())
    forward = max((rowid for rowid in found if isinstance(rowid, int)), default=0)
    backward = None
    for rowid, row in _scan(connection, table, f"SELECT rowid, * FROM {table} ORDER BY rowid DESC"):
        if isinstance(rowid, int) and rowid <= forward:
            return list(found.values())
        backward = rowid
        found[rowid] = row
    end = backward if isinstance(backward, int) else forward + _LONGEST_GAP
    for rowid in range(forward + 1, min(end, forward + _LONGEST_GAP)):
        for _, row in _scan(connection, table, f"SELECT rowid, * FROM {table} WHERE rowid = {rowid}"):
            found[rowid] = row
    return list(found.values())


def _scan(connection: sqlite3.Connection, table: str, sql: str) -> Iterator[tuple[object, Row]]:
    """The rows of a statement, until it comes upon damage."""
    try:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        for rowid, *values in connection.execute(sql):
            yield rowid, dict(zip(names, values, strict=True))
    except (sqlite3.Error, ValueError, OverflowError):
        return


def _has_rowids(connection: sqlite3.Connection, table: str) -> bool:
    try:
        connection.execute(f"SELECT rowid FROM {table} LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        return False
    except sqlite3.Error:
        return True
    return True
