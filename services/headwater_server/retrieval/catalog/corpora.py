"""The table of corpora."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence

from headwater_server import names
from headwater_server.retrieval.catalog import reembeddings, requests
from headwater_server.retrieval.catalog.database import transaction
from headwater_server.retrieval.catalog.errors import BeingDeleted, CorpusExists, CorpusMissing, CorpusNotEmpty
from headwater_server.retrieval.catalog.records import Corpus, CorpusChanges, CorpusSetup, RequestMark
from headwater_server.retrieval.catalog.rows import corpus_of, now, setup_of
from headwater_server.retrieval.store.protocol import CorpusKey

_SELECT = """
    SELECT c.*, r.embedder_name AS new_embedder,
        (SELECT count(*) FROM documents d
            WHERE d.tenant = c.tenant AND d.corpus_id = c.corpus_id AND d.deleting = 0) AS document_count,
        (SELECT coalesce(sum(passage_count), 0) FROM documents d
            WHERE d.tenant = c.tenant AND d.corpus_id = c.corpus_id AND d.deleting = 0) AS passage_count,
        CASE WHEN r.shadow_id IS NULL THEN 0 ELSE (
            SELECT count(*) FROM documents d
            LEFT JOIN reembedded e
                ON e.tenant = d.tenant AND e.shadow_id = r.shadow_id AND e.document_id = d.document_id
            WHERE d.tenant = c.tenant AND d.corpus_id = c.corpus_id AND d.deleting = 0
                AND (d.state = 4 OR d.state = 3 AND e.revision = d.revision)
        ) END AS done_documents
    FROM corpora c
    LEFT JOIN reembeddings r ON r.tenant = c.tenant AND r.corpus_id = c.corpus_id AND r.state < 3
"""


def create(
    connection: sqlite3.Connection,
    key: CorpusKey,
    *,
    display_name: str,
    labels: Mapping[str, str],
    setup: CorpusSetup,
    mark: RequestMark | None,
) -> Corpus:
    """See `Catalog.create_corpus`."""
    with transaction(connection):
        recorded = requests.find_same(connection, key.tenant, mark)
        if recorded:
            return require(connection, CorpusKey(key.tenant, names.corpus_id(recorded.resource)))
        taken = connection.execute(
            "SELECT deleting FROM corpora WHERE tenant = ? AND corpus_id = ?", [key.tenant, key.corpus_id]
        ).fetchone()
        if taken:
            raise BeingDeleted(key.corpus_id) if taken["deleting"] else CorpusExists(key.corpus_id)
        moment, embedder = now(), setup.embedder
        connection.execute(
            "INSERT INTO corpora (tenant, corpus_id, display_name, labels, embedder_name, embedder, dimension,"
            " max_characters, overlap_characters, language, create_time, update_time)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *(key.tenant, key.corpus_id, display_name, _json(labels)),
                *(embedder.name, embedder.fingerprint, embedder.dimension),
                *(setup.splitting.max_characters, setup.splitting.overlap_characters, setup.language),
                *(moment, moment),
            ],
        )
        requests.record(connection, key.tenant, mark)
        return require(connection, key)


def get(connection: sqlite3.Connection, key: CorpusKey) -> Corpus | None:
    """See `Catalog.get_corpus`."""
    row = connection.execute(
        f"{_SELECT} WHERE c.tenant = ? AND c.corpus_id = ? AND c.deleting = 0", [key.tenant, key.corpus_id]
    ).fetchone()
    return corpus_of(row) if row else None


def setup(connection: sqlite3.Connection, key: CorpusKey) -> CorpusSetup | None:
    """See `Catalog.corpus_setup`."""
    row = connection.execute(
        "SELECT * FROM corpora WHERE tenant = ? AND corpus_id = ? AND deleting = 0", [key.tenant, key.corpus_id]
    ).fetchone()
    return setup_of(row) if row else None


def require(connection: sqlite3.Connection, key: CorpusKey) -> Corpus:
    """A corpus that must be there."""
    corpus = get(connection, key)
    if corpus is None:
        raise CorpusMissing(key.corpus_id)
    return corpus


def page(connection: sqlite3.Connection, tenant: str, *, after: str, limit: int) -> Sequence[Corpus]:
    """See `Catalog.list_corpora`."""
    rows = connection.execute(
        f"{_SELECT} WHERE c.tenant = ? AND c.corpus_id > ? AND c.deleting = 0 ORDER BY c.corpus_id LIMIT ?",
        [tenant, after, limit],
    )
    return [corpus_of(row) for row in rows]


def update(connection: sqlite3.Connection, key: CorpusKey, *, changes: CorpusChanges) -> Corpus:
    """See `Catalog.update_corpus`."""
    values: dict[str, object] = {
        "display_name": changes.display_name,
        "labels": None if changes.labels is None else _json(changes.labels),
        "language": changes.language,
    }
    values = {name: value for name, value in values.items() if value is not None}
    if changes.splitting is not None:
        values["max_characters"] = changes.splitting.max_characters
        values["overlap_characters"] = changes.splitting.overlap_characters
    values["update_time"] = now()
    assignments = ", ".join(f"{name} = ?" for name in values)
    with transaction(connection):
        require(connection, key)
        connection.execute(
            f"UPDATE corpora SET {assignments} WHERE tenant = ? AND corpus_id = ?",  # noqa: S608 (our own names)
            [*values.values(), key.tenant, key.corpus_id],
        )
        return require(connection, key)


def begin_delete(connection: sqlite3.Connection, key: CorpusKey, *, force: bool) -> None:
    """See `Catalog.begin_delete_corpus`."""
    where = [key.tenant, key.corpus_id]
    with transaction(connection):
        row = connection.execute("SELECT deleting FROM corpora WHERE tenant = ? AND corpus_id = ?", where).fetchone()
        if row is None:
            raise CorpusMissing(key.corpus_id)
        documents = connection.execute(
            "SELECT count(*) FROM documents WHERE tenant = ? AND corpus_id = ? AND deleting = 0", where
        ).fetchone()[0]
        if documents and not force:
            raise CorpusNotEmpty(documents)
        connection.execute("UPDATE corpora SET deleting = 1 WHERE tenant = ? AND corpus_id = ?", where)
        connection.execute("UPDATE documents SET deleting = 1 WHERE tenant = ? AND corpus_id = ?", where)
        reembeddings.give_up(connection, key)


def finish_delete(connection: sqlite3.Connection, key: CorpusKey) -> set[str]:
    """See `Catalog.finish_delete_corpus`; returns the SHA-256 of the contents that it referred to."""
    where = [key.tenant, key.corpus_id]
    with transaction(connection):
        row = connection.execute("SELECT deleting FROM corpora WHERE tenant = ? AND corpus_id = ?", where).fetchone()
        if row is None or not row["deleting"]:
            return set()
        contents = connection.execute(
            "SELECT DISTINCT sha256 FROM documents WHERE tenant = ? AND corpus_id = ?", where
        ).fetchall()
        connection.execute("DELETE FROM documents WHERE tenant = ? AND corpus_id = ?", where)
        connection.execute("DELETE FROM corpora WHERE tenant = ? AND corpus_id = ?", where)
        return {row["sha256"] for row in contents}


def being_deleted(connection: sqlite3.Connection) -> list[CorpusKey]:
    """Corpora whose deletion was begun and not finished."""
    rows = connection.execute("SELECT tenant, corpus_id FROM corpora WHERE deleting = 1")
    return [CorpusKey(row["tenant"], row["corpus_id"]) for row in rows]


def _json(labels: Mapping[str, str]) -> str:
    return json.dumps(dict(labels), ensure_ascii=False, sort_keys=True)
