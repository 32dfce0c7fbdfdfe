"""Checksums of rows, kept by triggers: SQLite does not notice a flipped byte within a value.

Triggers, because every statement that writes a row then keeps its checksum, also those yet to be written. They name the
table's columns, so they are made anew, and the checksums with them, when a new version of the schema has other columns.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from typing import NamedTuple

import google_crc32c

SEALED_TABLES = ("corpora", "documents")
"""The tables whose rows have checksums."""

_COLUMN = "checksum"


def register(connection: sqlite3.Connection) -> None:
    """Gives a connection the function that the triggers call."""
    connection.create_function("row_checksum", -1, row_checksum, deterministic=True)


def row_checksum(*values: str | float | bytes | None) -> int:
    """The CRC-32C of a row's values and their types."""
    checksum: int = google_crc32c.value(b"".join(_framed(value) for value in values))
    return checksum


def _framed(value: str | float | bytes | None) -> bytes:
    match value:
        case None:
            return b"n"
        case int():
            return b"i" + value.to_bytes(8, "little", signed=True)
        case float():
            return b"f" + struct.pack("<d", value)
        case str():
            data, kind = value.encode("utf-8", "surrogatepass"), b"t"
        case bytes():
            data, kind = value, b"b"
    return kind + len(data).to_bytes(8, "little") + data


def ensure_sealed(connection: sqlite3.Connection) -> None:
    """Sees to it that every row has a checksum, and keeps one from now on."""
    for table in SEALED_TABLES:
        triggers = _triggers(connection, table)
        existing = dict(
            connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", [table])
        )
        if existing == triggers:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            for name in existing:
                connection.execute(f'DROP TRIGGER "{name}"')
            names = ", ".join(columns_of(connection, table).sealed)
            connection.execute(f"UPDATE {table} SET {_COLUMN} = row_checksum({names})")  # noqa: S608 (our own names)
            for statement in triggers.values():
                connection.execute(statement)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def damaged_rows(connection: sqlite3.Connection, table: str) -> Iterator[tuple[object, ...]]:
    """The keys of the rows of a table that are not as they were written.

    The connection's `text_factory` replaces what is no UTF-8, which a damaged disk may make of a text.
    """
    columns = columns_of(connection, table)
    names = ", ".join((*columns.key, *columns.sealed, _COLUMN))
    for row in connection.execute(f"SELECT {names} FROM {table}"):  # noqa: S608 (our own names)
        *values, checksum = tuple(row)
        if row_checksum(*values[len(columns.key) :]) != checksum:
            yield tuple(values[: len(columns.key)])


class Columns(NamedTuple):
    """The columns of a table with checksums."""

    sealed: list[str]
    """All but the checksum."""
    key: list[str]
    """Those of the primary key."""


def columns_of(connection: sqlite3.Connection, table: str) -> Columns:
    """The columns of a table."""
    rows = [tuple(row) for row in connection.execute(f"PRAGMA table_info({table})")]
    sealed = [name for _, name, *_ in rows if name != _COLUMN]
    return Columns(sealed, [row[1] for row in rows if row[5]])


def _triggers(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """The statements that make the triggers of a table, by name."""
    columns = columns_of(connection, table)
    where = " AND ".join(f"{name} = NEW.{name}" for name in columns.key)
    values = ", ".join(f"NEW.{name}" for name in columns.sealed)
    body = f"BEGIN UPDATE {table} SET {_COLUMN} = row_checksum({values}) WHERE {where}; END"  # noqa: S608 (our own names)
    events = {"inserted": "INSERT", "updated": f"UPDATE OF {', '.join(columns.sealed)}"}
    return {
        f"{table}_sealed_when_{event}": f"CREATE TRIGGER {table}_sealed_when_{event} AFTER {what} ON {table} {body}"
        for event, what in events.items()
    }
