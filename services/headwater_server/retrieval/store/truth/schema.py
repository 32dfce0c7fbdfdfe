"""The tables of the truth, and how a database of an older version becomes one of this version."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from headwater_server import migrations
from headwater_server.migrations import Migration
from headwater_server.retrieval.store.protocol import StoreUnavailable
from headwater_server.retrieval.store.truth.checksums import document_checksum, passage_checksum, with_language

APPLICATION_ID = 0x48575452
"""`HWTR`, in the header of the file: tells a store's database from any other."""

_TABLES = """
CREATE TABLE corpora (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    corpus_id TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    embedder TEXT NOT NULL,
    version INTEGER NOT NULL,   -- of the last write to it
    passages INTEGER NOT NULL,  -- how many it has
    UNIQUE (tenant, corpus_id)
) STRICT;
CREATE INDEX corpora_by_version ON corpora (version);

CREATE TABLE documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    corpus_row INTEGER NOT NULL REFERENCES corpora ON DELETE CASCADE,
    document_id TEXT NOT NULL,
    title TEXT NOT NULL,
    uri TEXT NOT NULL,
    media_type TEXT NOT NULL,
    metadata TEXT NOT NULL,
    UNIQUE (corpus_row, document_id)
) STRICT;

-- What filters ask about; see filter_sql. The column `value` has no type, so that SQLite never converts.
CREATE TABLE document_values (
    tenant TEXT NOT NULL,
    corpus_row INTEGER NOT NULL,
    document_row INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    value NOT NULL
);
CREATE INDEX document_values_by_key ON document_values (corpus_row, key, kind, value, document_row);
CREATE INDEX document_values_by_document ON document_values (document_row);

-- Ids only grow and are never given twice, and a document's are consecutive: an index is caught up from the last id it
-- has, and a passage that was replaced is told from its successor.
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    corpus_row INTEGER NOT NULL,
    document_row INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    passage_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    heading TEXT NOT NULL,
    location TEXT,
    text TEXT NOT NULL,
    vector BLOB NOT NULL        -- float32, little-endian
) STRICT;
CREATE INDEX passages_by_corpus ON passages (corpus_row);
CREATE INDEX passages_by_document ON passages (document_row);

-- One row a write; its id is the version. The rows that an index has applied for good are removed again.
CREATE TABLE changes (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    corpus_row INTEGER NOT NULL,
    removed_first INTEGER,      -- the passages that ceased to be, as a range of ids, both inclusive
    removed_last INTEGER
) STRICT;
CREATE INDEX changes_by_corpus ON changes (corpus_row, version);
"""


def _create(connection: sqlite3.Connection) -> None:
    for statement in _statements(_TABLES):
        connection.execute(statement)


def _add_checksums(connection: sqlite3.Connection) -> None:
    """Gives every passage and document a checksum of its row; see `checksums` for what it covers."""
    connection.create_function("passage_checksum", 8, lambda *columns: passage_checksum((*columns, "")))
    connection.create_function("document_checksum", 6, lambda *columns: document_checksum(columns))
    for table in ("passages", "documents"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")
    connection.execute(
        "UPDATE passages SET checksum ="
        " passage_checksum(corpus_row, document_row, passage_id, ordinal, heading, location, text, vector)"
    )
    connection.execute(
        "UPDATE documents SET checksum = document_checksum(corpus_row, document_id, title, uri, media_type, metadata)"
    )


def _add_languages(connection: sqlite3.Connection) -> None:
    """Gives every passage a language; those that were there have none, and the index detects it as it takes them."""
    connection.execute("ALTER TABLE passages ADD COLUMN language TEXT NOT NULL DEFAULT ''")


def _check_languages(connection: sqlite3.Connection) -> None:
    """Extends every passage's checksum to its language."""
    connection.create_function("with_language", 2, with_language)
    connection.execute("UPDATE passages SET checksum = with_language(checksum, language) WHERE language != ''")


MIGRATIONS: Sequence[Migration] = (_create, _add_checksums, _add_languages, _check_languages)
"""The step from each version to the next, beginning with an empty file; the version of a database is how many it took.

Add a step at the end for every change of the tables; never change one that was released.
"""


def migrate(connection: sqlite3.Connection) -> None:
    """Brings a database to this version, step by step, each step as a whole or not at all.

    Raises:
        StoreUnavailable: The database was written by a newer version, or is not a store's.
    """
    try:
        migrations.migrate(connection, MIGRATIONS, what="a Headwater store", application_id=APPLICATION_ID)
    except migrations.UnknownFile as error:
        raise StoreUnavailable(str(error)) from error


def _statements(script: str) -> list[str]:
    """The statements of a script: `executescript` would commit before each."""
    statements, lines = [], ""
    for line in script.splitlines(keepends=True):
        lines += line
        if sqlite3.complete_statement(lines):
            statements.append(lines)
            lines = ""
    return statements
