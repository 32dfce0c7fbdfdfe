"""The catalog's tables, version by version."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence

from headwater_server import migrations
from headwater_server.migrations import Migration
from headwater_server.retrieval.catalog.errors import CatalogNewerError

_VERSION_1 = (
    """
    CREATE TABLE settings (
        key TEXT PRIMARY KEY,
        value ANY NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE corpora (
        tenant TEXT NOT NULL,
        corpus_id TEXT NOT NULL,
        display_name TEXT NOT NULL,
        labels TEXT NOT NULL,              -- a JSON object
        embedder TEXT NOT NULL,
        deleting INTEGER NOT NULL DEFAULT 0,
        create_time INTEGER NOT NULL,      -- all times in microseconds since 1970, UTC
        update_time INTEGER NOT NULL,
        PRIMARY KEY (tenant, corpus_id)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE documents (
        tenant TEXT NOT NULL,
        corpus_id TEXT NOT NULL,
        document_id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        title TEXT NOT NULL,
        found_title TEXT NOT NULL DEFAULT '',
        uri TEXT NOT NULL,
        media_type TEXT NOT NULL,
        found_media_type TEXT NOT NULL DEFAULT '',
        metadata BLOB NOT NULL,
        size_bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        state INTEGER NOT NULL,            -- DocumentState
        error BLOB NOT NULL DEFAULT x'',
        passage_count INTEGER NOT NULL DEFAULT 0,
        crashes INTEGER NOT NULL DEFAULT 0,
        interruptions INTEGER NOT NULL DEFAULT 0,
        unstored INTEGER NOT NULL DEFAULT 0,   -- changed here, and perhaps not yet in the store
        deleting INTEGER NOT NULL DEFAULT 0,
        create_time INTEGER NOT NULL,
        update_time INTEGER NOT NULL,
        PRIMARY KEY (tenant, corpus_id, document_id),
        FOREIGN KEY (tenant, corpus_id) REFERENCES corpora (tenant, corpus_id)
    ) STRICT
    """,
    "CREATE INDEX documents_by_content ON documents (tenant, sha256)",
    "CREATE INDEX documents_counted ON documents (tenant, corpus_id, deleting, passage_count)",
    "CREATE INDEX jobs ON documents (crashes + interruptions, revision) WHERE state = 1 AND deleting = 0",
    "CREATE INDEX jobs_under_way ON documents (state) WHERE state = 2",
    "CREATE INDEX documents_unfinished ON documents (deleting) WHERE deleting = 1 OR unstored = 1",
    """
    CREATE TABLE request_ids (
        tenant TEXT NOT NULL,
        request_id TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        resource TEXT NOT NULL,
        create_time INTEGER NOT NULL,
        PRIMARY KEY (tenant, request_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX request_ids_by_age ON request_ids (create_time)",
)

_WITH_CHECKSUMS = (  # filled, and kept, by `checksums.ensure_sealed`
    "ALTER TABLE corpora ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE documents ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0",
)

_WITH_EMBEDDERS = (  # until then there was one embedder, and one way to split
    "ALTER TABLE corpora ADD COLUMN embedder_name TEXT NOT NULL DEFAULT 'builtin/all-MiniLM-L6-v2'",
    "ALTER TABLE corpora ADD COLUMN dimension INTEGER NOT NULL DEFAULT 384",
    "ALTER TABLE corpora ADD COLUMN max_characters INTEGER NOT NULL DEFAULT 0",  # 0: the server's
    "ALTER TABLE corpora ADD COLUMN overlap_characters INTEGER",  # NULL: the server's
    "ALTER TABLE corpora ADD COLUMN language TEXT NOT NULL DEFAULT ''",
    # Whether the store may have passages of an earlier content.
    "ALTER TABLE documents ADD COLUMN replaces INTEGER NOT NULL DEFAULT 0",
    """
    CREATE TABLE reembeddings (
        tenant TEXT NOT NULL,
        shadow_id TEXT NOT NULL,           -- the corpus of the store that takes the new passages
        corpus_id TEXT NOT NULL,
        embedder_name TEXT NOT NULL,
        embedder TEXT NOT NULL,
        dimension INTEGER NOT NULL,
        max_characters INTEGER NOT NULL,   -- as the corpus had them when it began
        overlap_characters INTEGER,
        language TEXT NOT NULL,
        state INTEGER NOT NULL,            -- 1 under way, 2 taking over, 3 given up: to be deleted from the store
        PRIMARY KEY (tenant, shadow_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE UNIQUE INDEX reembeddings_by_corpus ON reembeddings (tenant, corpus_id) WHERE state < 3",
    """
    CREATE TABLE reembedded (              -- the documents whose new passages are in the store
        tenant TEXT NOT NULL,
        shadow_id TEXT NOT NULL,
        document_id TEXT NOT NULL,
        revision INTEGER NOT NULL,         -- as the document had them
        update_time INTEGER NOT NULL,
        passage_count INTEGER NOT NULL,
        error BLOB NOT NULL,               -- a google.rpc.Status where it could not be read anew; else empty
        PRIMARY KEY (tenant, shadow_id, document_id),
        FOREIGN KEY (tenant, shadow_id) REFERENCES reembeddings (tenant, shadow_id)
    ) STRICT, WITHOUT ROWID
    """,
)

MIGRATIONS: Sequence[Migration] = (_VERSION_1, _WITH_CHECKSUMS, _WITH_EMBEDDERS)
"""The statements that lead from version `i` to version `i + 1`. Released ones never change; new ones go at the end."""


def migrate(connection: sqlite3.Connection) -> None:
    """Brings a catalog to the newest version, each step as a whole or not at all.

    Raises:
        CatalogNewerError: It is of a version that this program does not know.
    """
    try:
        migrations.migrate(connection, MIGRATIONS, what="the catalog")
    except migrations.UnknownFile as error:
        raise CatalogNewerError(str(error)) from error


def ensure_settings(connection: sqlite3.Connection) -> bytes:
    """Fills the settings of a new catalog, and returns its token key."""
    connection.execute(
        "INSERT OR IGNORE INTO settings VALUES ('revision', 0), ('token_key', ?)", [secrets.token_bytes(32)]
    )
    key: bytes = connection.execute("SELECT value FROM settings WHERE key = 'token_key'").fetchone()[0]
    return key
