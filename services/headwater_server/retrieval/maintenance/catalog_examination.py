"""Whether the catalog is as it was written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

from headwater_server.retrieval.catalog.checksums import (
    SEALED_TABLES,
    columns_of,
    damaged_rows,
    ensure_sealed,
    register,
)
from headwater_server.retrieval.catalog.records import Document
from headwater_server.retrieval.catalog.rows import document_of
from headwater_server.retrieval.catalog.schema import migrate
from headwater_server.retrieval.maintenance.damage import Damage, Part

_MOST_LINES = 20


def catalog_damage(catalog: sqlite3.Connection) -> Iterator[Damage]:
    """What is wrong within the catalog's database."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as example:
        register(example)
        migrate(example)
        ensure_sealed(example)
        yield from database_damage(catalog, "catalog", example)
    for table in SEALED_TABLES:
        columns = columns_of(catalog, table)
        names = [name.removesuffix("_id") for name in columns.key]
        for key in damaged_rows(catalog, table):
            what = ", ".join(f"{name} {value}" for name, value in zip(names, key, strict=True))
            yield Damage("catalog", what, f"a value in its row of the table {table} has changed")
    row = catalog.execute("SELECT value FROM settings WHERE key = 'revision'").fetchone()
    newest = catalog.execute("SELECT coalesce(max(revision), 0) FROM documents").fetchone()[0]
    if row is None or not isinstance(row[0], int) or row[0] < newest:
        yield Damage("catalog", "settings", "the revision is lower than that of a document")


def database_damage(connection: sqlite3.Connection, part: Part, example: sqlite3.Connection) -> Iterator[Damage]:
    """What SQLite itself finds in a database, and what is otherwise in its schema than in an `example`'s."""
    if _schema(connection) != _schema(example):
        yield Damage(part, "its database", "the schema has changed")
    for (line,) in connection.execute(f"PRAGMA integrity_check({_MOST_LINES})"):
        if line != "ok":
            yield Damage(part, "its database", str(line))
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield Damage(part, f"row {row} of {table}", f"refers to nothing in {parent}")


def _schema(connection: sqlite3.Connection) -> dict[tuple[str, str], str | None]:
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master")
    return {(kind, name): sql for kind, name, sql in rows if not name.startswith("sqlite_stat")}


def read_documents(catalog: sqlite3.Connection) -> Iterator[tuple[Document, bool, bool]]:
    """The documents that are not being deleted, by key, with whether each is changed but not yet in the store.

    The last says whether the row is as it was written; of one that is not there may be none here.
    """
    damaged = set(damaged_rows(catalog, "documents"))
    cursor = catalog.cursor()
    cursor.row_factory = sqlite3.Row
    for row in cursor.execute("SELECT * FROM documents WHERE deleting = 0 ORDER BY tenant, corpus_id, document_id"):
        intact = (row["tenant"], row["corpus_id"], row["document_id"]) not in damaged
        try:
            document = document_of(row)
        except (ValueError, TypeError, OverflowError):
            continue
        yield document, bool(row["unstored"]), intact
