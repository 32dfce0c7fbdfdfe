"""The table of documents as a table of jobs."""

# ruff: noqa: S608 (the parts of the statements joined here are constants of this module; values are always parameters)

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from headwater_server.retrieval.catalog import documents
from headwater_server.retrieval.catalog.database import transaction
from headwater_server.retrieval.catalog.records import Document, DocumentKey, DocumentState
from headwater_server.retrieval.catalog.rows import document_of, now
from headwater_server.retrieval.store.protocol import CorpusKey

_CLAIMED = "tenant = ? AND corpus_id = ? AND document_id = ? AND revision = ? AND state = 2 AND deleting = 0"


def recover(connection: sqlite3.Connection) -> None:
    """Turns the jobs that were under way when the service died back to PENDING."""
    with transaction(connection):
        connection.execute(
            "UPDATE documents SET state = ?, interruptions = interruptions + 1 WHERE state = ?",
            [DocumentState.PENDING, DocumentState.PROCESSING],
        )


def count(connection: sqlite3.Connection, *, most: int) -> int:
    """See `Catalog.count_jobs`."""
    found: int = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM documents WHERE state = 1 AND deleting = 0 LIMIT ?)", [most]
    ).fetchone()[0]
    return found


def claim(connection: sqlite3.Connection, *, skip: Collection[CorpusKey]) -> Document | None:
    """See `Catalog.claim_job`."""
    skipped = " AND (tenant, corpus_id) NOT IN (VALUES " + ", ".join(["(?, ?)"] * len(skip)) + ")" if skip else ""
    with transaction(connection):
        row = connection.execute(
            f"SELECT * FROM documents WHERE state = 1 AND deleting = 0{skipped}"
            " ORDER BY crashes + interruptions, revision LIMIT 1",
            [part for corpus in skip for part in (corpus.tenant, corpus.corpus_id)],
        ).fetchone()
        if row is None:
            return None
        key = document_of(row).key
        connection.execute(
            "UPDATE documents SET state = ?, update_time = ? WHERE tenant = ? AND corpus_id = ? AND document_id = ?",
            [DocumentState.PROCESSING, now(), *documents.by_key(key)],
        )
        return documents.require(connection, key)


def finish(
    connection: sqlite3.Connection, key: DocumentKey, revision: int, *, title: str, media_type: str, passage_count: int
) -> bool:
    """See `Catalog.finish_job`."""
    with transaction(connection):
        done = connection.execute(
            "UPDATE documents SET state = ?, found_title = ?, found_media_type = ?, passage_count = ?, update_time = ?"
            f" WHERE {_CLAIMED}",
            [DocumentState.READY, title, media_type, passage_count, now(), *documents.by_key(key), revision],
        )
    return done.rowcount == 1


def fail(connection: sqlite3.Connection, key: DocumentKey, revision: int, *, error: bytes) -> bool:
    """See `Catalog.fail_job`."""
    with transaction(connection):
        done = connection.execute(
            f"UPDATE documents SET state = ?, error = ?, update_time = ? WHERE {_CLAIMED}",
            [DocumentState.FAILED, error, now(), *documents.by_key(key), revision],
        )
    return done.rowcount == 1


def give_back(connection: sqlite3.Connection, key: DocumentKey, revision: int, *, crashed: bool) -> Document | None:
    """See `Catalog.return_job`."""
    with transaction(connection):
        done = connection.execute(
            f"UPDATE documents SET state = ?, crashes = crashes + ?, update_time = ? WHERE {_CLAIMED}",
            [DocumentState.PENDING, int(crashed), now(), *documents.by_key(key), revision],
        )
        return documents.get(connection, key) if done.rowcount else None
