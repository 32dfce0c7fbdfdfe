"""The table of documents, but for its side as a table of jobs."""

# ruff: noqa: S608 (the parts of the statements joined here are constants of this module; values are always parameters)

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from headwater_server import names
from headwater_server.retrieval.catalog import corpora, requests
from headwater_server.retrieval.catalog.database import transaction
from headwater_server.retrieval.catalog.errors import BeingDeleted, DocumentMissing, OtherContent, RequestIdReused
from headwater_server.retrieval.catalog.records import (
    Accepted,
    Document,
    DocumentChanges,
    DocumentKey,
    DocumentState,
    RequestMark,
    Submission,
)
from headwater_server.retrieval.catalog.rows import document_of, now
from headwater_server.retrieval.store.protocol import CorpusKey

_BY_KEY = "tenant = ? AND corpus_id = ? AND document_id = ?"


def by_key(key: DocumentKey) -> list[str]:
    """The parameters of a condition on the whole key."""
    return [key.tenant, key.corpus_id, key.document_id]


def accept(
    connection: sqlite3.Connection,
    submission: Submission,
    *,
    size_bytes: int,
    sha256: str,
    replace: bool,
    mark: RequestMark | None,
    place: Callable[[], None],
) -> tuple[Accepted, str]:
    """See `Catalog.accept_document`. `place` puts the content in its place, when all else is done.

    Returns:
        What became of it, and the SHA-256 of the content that was replaced, or "".
    """
    key = submission.key
    with transaction(connection):
        recorded = requests.find_same(connection, key.tenant, mark)
        if recorded:
            return Accepted(_recorded_document(connection, key.tenant, recorded, sha256), changed=False), ""
        corpora.require(connection, key.corpus)
        old = _existing(connection, key)
        if old and old.sha256 != sha256 and not replace:
            raise OtherContent(key.document_id)
        requests.record(connection, key.tenant, mark)
        if old and old.sha256 == sha256 and old.state is not DocumentState.FAILED:
            return Accepted(old, changed=False), ""
        if old is None:
            connection.execute(
                "INSERT INTO documents (tenant, corpus_id, document_id, revision, title, uri, media_type, metadata,"
                " size_bytes, sha256, state, create_time, update_time)"
                " VALUES (?, ?, ?, 0, '', '', '', x'', 0, '', 0, ?, 0)",
                [*by_key(key), now()],
            )
        connection.execute(
            "UPDATE documents SET revision = ?, title = ?, found_title = '', uri = ?, media_type = ?,"
            " found_media_type = '', metadata = ?, size_bytes = ?, sha256 = ?, state = ?, error = x'',"
            " passage_count = 0, crashes = 0, interruptions = 0, unstored = 0, update_time = ?,"
            f" replaces = CASE state WHEN 3 THEN 1 WHEN 4 THEN 0 ELSE replaces END WHERE {_BY_KEY}",
            [
                _next_revision(connection),
                submission.title,
                submission.uri,
                submission.media_type,
                submission.metadata,
                size_bytes,
                sha256,
                DocumentState.PENDING,
                now(),
                *by_key(key),
            ],
        )
        place()
        return Accepted(require(connection, key), changed=True), old.sha256 if old else ""


def _recorded_document(connection: sqlite3.Connection, tenant: str, mark: RequestMark, sha256: str) -> Document:
    document = require(connection, DocumentKey(tenant, *names.document_ids(mark.resource)))
    if document.sha256 != sha256:
        raise RequestIdReused(f"the request_id {mark.request_id} belongs to a request with other content")
    return document


def _existing(connection: sqlite3.Connection, key: DocumentKey) -> Document | None:
    row = connection.execute(f"SELECT * FROM documents WHERE {_BY_KEY}", by_key(key)).fetchone()
    if row is None:
        return None
    if row["deleting"]:
        raise BeingDeleted(key.document_id)
    return document_of(row)


def _next_revision(connection: sqlite3.Connection) -> int:
    connection.execute("UPDATE settings SET value = value + 1 WHERE key = 'revision'")
    revision: int = connection.execute("SELECT value FROM settings WHERE key = 'revision'").fetchone()[0]
    return revision


def get(connection: sqlite3.Connection, key: DocumentKey) -> Document | None:
    """See `Catalog.get_document`."""
    row = connection.execute(f"SELECT * FROM documents WHERE {_BY_KEY} AND deleting = 0", by_key(key)).fetchone()
    return document_of(row) if row else None


def require(connection: sqlite3.Connection, key: DocumentKey) -> Document:
    """A document that must be there."""
    document = get(connection, key)
    if document is None:
        raise DocumentMissing(key.document_id)
    return document


def page(
    connection: sqlite3.Connection, corpus: CorpusKey, *, after: str, limit: int, max_bytes: int
) -> tuple[Sequence[Document], bool]:
    """See `Catalog.list_documents`."""
    corpora.require(connection, corpus)
    rows = connection.execute(
        "SELECT * FROM documents WHERE tenant = ? AND corpus_id = ? AND document_id > ? AND deleting = 0"
        " ORDER BY document_id LIMIT ?",
        [corpus.tenant, corpus.corpus_id, after, limit + 1],
    )
    found: list[Document] = []
    size = 0
    for row in rows:  # one by one: a thousand rows may have a gigabyte
        document = document_of(row)
        size += _weight(document)
        if len(found) == limit or (found and size > max_bytes):
            return found, True
        found.append(document)
    return found, False


def _weight(document: Document) -> int:
    """About how many bytes the document takes in a list."""
    key = document.key
    texts = (document.title, document.found_title, document.uri, document.media_type, document.found_media_type)
    fixed = 300 + len(key.corpus_id) + len(key.document_id)
    return fixed + sum(len(text.encode()) for text in texts) + len(document.metadata) + len(document.error)


def update(connection: sqlite3.Connection, key: DocumentKey, changes: DocumentChanges) -> Document:
    """See `Catalog.update_document`."""
    with transaction(connection):
        require(connection, key)
        connection.execute(
            "UPDATE documents SET title = coalesce(?, title), uri = coalesce(?, uri), metadata = coalesce(?, metadata),"
            f" unstored = 1, update_time = ? WHERE {_BY_KEY}",
            [changes.title, changes.uri, changes.metadata, now(), *by_key(key)],
        )
        return require(connection, key)


def mark_stored(connection: sqlite3.Connection, document: Document) -> None:
    """See `Catalog.mark_stored`."""
    with transaction(connection):
        if get(connection, document.key) == document:
            connection.execute(f"UPDATE documents SET unstored = 0 WHERE {_BY_KEY}", by_key(document.key))


def begin_delete(connection: sqlite3.Connection, key: DocumentKey) -> None:
    """See `Catalog.begin_delete_document`."""
    with transaction(connection):
        done = connection.execute(f"UPDATE documents SET deleting = 1 WHERE {_BY_KEY}", by_key(key))
        if not done.rowcount:
            raise DocumentMissing(key.document_id)


def finish_delete(connection: sqlite3.Connection, key: DocumentKey) -> set[str]:
    """See `Catalog.finish_delete_document`; returns the SHA-256 of the content that it referred to."""
    with transaction(connection):
        rows = connection.execute(
            f"DELETE FROM documents WHERE {_BY_KEY} AND deleting = 1 RETURNING sha256", by_key(key)
        ).fetchall()
        return {row["sha256"] for row in rows}


def referenced_contents(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Tenant and SHA-256 of every content that a document refers to."""
    rows = connection.execute("SELECT DISTINCT tenant, sha256 FROM documents")
    return [(row["tenant"], row["sha256"]) for row in rows]


def is_referenced(connection: sqlite3.Connection, tenant: str, sha256: str) -> bool:
    """Whether a document refers to a content."""
    found = connection.execute("SELECT 1 FROM documents WHERE tenant = ? AND sha256 = ? LIMIT 1", [tenant, sha256])
    return found.fetchone() is not None


def being_deleted(connection: sqlite3.Connection) -> list[DocumentKey]:
    """Documents whose deletion was begun and not finished, in corpora that are not being deleted."""
    rows = connection.execute(
        "SELECT d.tenant, d.corpus_id, d.document_id FROM documents d JOIN corpora c USING (tenant, corpus_id)"
        " WHERE d.deleting = 1 AND c.deleting = 0"
    )
    return [DocumentKey(row["tenant"], row["corpus_id"], row["document_id"]) for row in rows]


def not_stored(connection: sqlite3.Connection) -> list[Document]:
    """Documents that were changed here, and perhaps not in the store."""
    return [
        document_of(row) for row in connection.execute("SELECT * FROM documents WHERE unstored = 1 AND deleting = 0")
    ]
