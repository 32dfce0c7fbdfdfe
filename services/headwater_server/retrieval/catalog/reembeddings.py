"""The tables of corpora whose vectors are being made anew."""

# ruff: noqa: S608 (the parts of the statements joined here are constants of this module; values are always parameters)

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from headwater_server.retrieval.catalog.database import transaction
from headwater_server.retrieval.catalog.errors import CorpusMissing
from headwater_server.retrieval.catalog.records import (
    Document,
    DocumentKey,
    DocumentState,
    EmbedderIdentity,
    Reembedding,
    ReembeddingStep,
    ReembeddingWork,
)
from headwater_server.retrieval.catalog.rows import document_of, now, reembedding_of, to_microseconds
from headwater_server.retrieval.store.protocol import CorpusKey

_UNDER_WAY, _TAKING_OVER, _GIVEN_UP = 1, 2, 3
_COMPARED = ("embedder_name", "embedder", "dimension", "max_characters", "overlap_characters", "language")
"""What another call must agree in, to go on with what is under way."""

_TO_MAKE = """
    SELECT d.*, e.revision = d.revision AS made FROM documents d
    LEFT JOIN reembedded e ON e.tenant = d.tenant AND e.shadow_id = :shadow AND e.document_id = d.document_id
    WHERE d.tenant = :tenant AND d.corpus_id = :corpus AND d.deleting = 0 AND d.state = 3
        AND (e.document_id IS NULL OR e.revision != d.revision OR e.update_time != d.update_time)
"""
_TO_REMOVE = """
    SELECT e.document_id FROM reembedded e
    LEFT JOIN documents d ON d.tenant = e.tenant AND d.corpus_id = :corpus AND d.document_id = e.document_id
    WHERE e.tenant = :tenant AND e.shadow_id = :shadow
        AND (d.document_id IS NULL OR d.deleting = 1 OR d.state = 4)
"""
# Being replaced, and found by its earlier content until then: what there is to find must not go before.
_TO_WAIT_FOR = """
    SELECT d.document_id FROM documents d
    LEFT JOIN reembedded e ON e.tenant = d.tenant AND e.shadow_id = :shadow AND e.document_id = d.document_id
    WHERE d.tenant = :tenant AND d.corpus_id = :corpus AND d.deleting = 0 AND d.state IN (1, 2)
        AND d.replaces = 1 AND e.document_id IS NULL
"""


def begin(connection: sqlite3.Connection, key: CorpusKey, *, embedder: EmbedderIdentity, shadow_id: str) -> Reembedding:
    """See `Catalog.begin_reembedding`."""
    with transaction(connection):
        corpus = connection.execute(
            "SELECT * FROM corpora WHERE tenant = ? AND corpus_id = ? AND deleting = 0", [key.tenant, key.corpus_id]
        ).fetchone()
        if corpus is None:
            raise CorpusMissing(key.corpus_id)
        wanted = [
            *(embedder.name, embedder.fingerprint, embedder.dimension),
            *(corpus["max_characters"], corpus["overlap_characters"], corpus["language"]),
        ]
        row = _current(connection, key)
        if row is None or [row[name] for name in _COMPARED] != wanted:
            give_up(connection, key)
            connection.execute(
                f"INSERT INTO reembeddings (tenant, shadow_id, corpus_id, {', '.join(_COMPARED)}, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [key.tenant, shadow_id, key.corpus_id, *wanted, _UNDER_WAY],
            )
        return reembedding_of(_required(connection, key), taking_over=False)


def _current(connection: sqlite3.Connection, key: CorpusKey) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM reembeddings WHERE tenant = ? AND corpus_id = ? AND state < 3", [key.tenant, key.corpus_id]
    ).fetchone()
    return row


def _required(connection: sqlite3.Connection, key: CorpusKey) -> sqlite3.Row:
    row = _current(connection, key)
    if row is None:
        raise CorpusMissing(key.corpus_id)
    return row


def give_up(connection: sqlite3.Connection, key: CorpusKey) -> None:
    """Ends what is under way for a corpus; within the caller's transaction."""
    where = [key.tenant, key.corpus_id]
    connection.execute(
        "DELETE FROM reembedded WHERE (tenant, shadow_id) IN"
        " (SELECT tenant, shadow_id FROM reembeddings WHERE tenant = ? AND corpus_id = ?)",
        where,
    )
    connection.execute("UPDATE reembeddings SET state = ? WHERE tenant = ? AND corpus_id = ?", [_GIVEN_UP, *where])


def under_way(connection: sqlite3.Connection) -> Sequence[Reembedding]:
    """See `Catalog.list_reembeddings`."""
    rows = connection.execute("SELECT * FROM reembeddings WHERE state < 3 ORDER BY tenant, corpus_id")
    return [reembedding_of(row, taking_over=row["state"] == _TAKING_OVER) for row in rows]


def given_up(connection: sqlite3.Connection) -> Sequence[CorpusKey]:
    """See `Catalog.given_up_shadows`."""
    rows = connection.execute("SELECT tenant, shadow_id FROM reembeddings WHERE state = 3")
    return [CorpusKey(row["tenant"], row["shadow_id"]) for row in rows]


def forget(connection: sqlite3.Connection, shadow: CorpusKey) -> None:
    """See `Catalog.forget_shadow`."""
    with transaction(connection):
        connection.execute(
            "DELETE FROM reembeddings WHERE tenant = ? AND shadow_id = ? AND state = 3",
            [shadow.tenant, shadow.corpus_id],
        )


def steps(
    connection: sqlite3.Connection, reembedding: Reembedding, *, after: str, limit: int
) -> Sequence[ReembeddingStep]:
    """See `Catalog.reembedding_steps`."""
    parameters = {**_parameters(reembedding), "after": after, "limit": limit}
    corpus = reembedding.corpus
    found = []
    for row in connection.execute(
        f"{_TO_REMOVE} AND e.document_id > :after ORDER BY e.document_id LIMIT :limit", parameters
    ):
        key = DocumentKey(corpus.tenant, corpus.corpus_id, row["document_id"])
        found.append(ReembeddingStep(ReembeddingWork.REMOVE, key, None))
    for row in connection.execute(
        f"{_TO_MAKE} AND d.document_id > :after ORDER BY d.document_id LIMIT :limit", parameters
    ):
        document = document_of(row)
        work = ReembeddingWork.DESCRIBE if row["made"] else ReembeddingWork.REMAKE
        found.append(ReembeddingStep(work, document.key, document))
    return sorted(found, key=lambda step: step.key.document_id)[:limit]


def record(
    connection: sqlite3.Connection, shadow: CorpusKey, document: Document, *, passage_count: int | None, error: bytes
) -> bool:
    """See `Catalog.record_reembedded`."""
    with transaction(connection):
        if not _in_state(connection, shadow, _UNDER_WAY):
            return False
        where = [shadow.tenant, shadow.corpus_id, document.key.document_id]
        moment = to_microseconds(document.update_time)
        if passage_count is None:
            done = connection.execute(
                "UPDATE reembedded SET update_time = ?"
                " WHERE tenant = ? AND shadow_id = ? AND document_id = ? AND revision = ?",
                [moment, *where, document.revision],
            )
            return done.rowcount == 1
        connection.execute(
            "INSERT OR REPLACE INTO reembedded"
            " (tenant, shadow_id, document_id, revision, update_time, passage_count, error)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [*where, document.revision, moment, passage_count, error],
        )
        return True


def unrecord(connection: sqlite3.Connection, shadow: CorpusKey, document_id: str) -> None:
    """See `Catalog.forget_reembedded`."""
    with transaction(connection):
        connection.execute(
            "DELETE FROM reembedded WHERE tenant = ? AND shadow_id = ? AND document_id = ?",
            [shadow.tenant, shadow.corpus_id, document_id],
        )


def begin_takeover(connection: sqlite3.Connection, reembedding: Reembedding) -> bool:
    """See `Catalog.begin_takeover`."""
    with transaction(connection):
        if not _in_state(connection, reembedding.shadow, _UNDER_WAY):
            return False
        parameters = _parameters(reembedding)
        for statement in (_TO_MAKE, _TO_REMOVE, _TO_WAIT_FOR):
            if connection.execute(f"{statement} LIMIT 1", parameters).fetchone() is not None:
                return False
        _set_state(connection, reembedding.shadow, _TAKING_OVER)
        return True


def cancel_takeover(connection: sqlite3.Connection, shadow: CorpusKey) -> None:
    """See `Catalog.cancel_takeover`."""
    with transaction(connection):
        _set_state(connection, shadow, _UNDER_WAY)


def finish_takeover(connection: sqlite3.Connection, reembedding: Reembedding) -> None:
    """See `Catalog.finish_takeover`."""
    with transaction(connection):
        if not _in_state(connection, reembedding.shadow, _TAKING_OVER):
            return
        parameters = {**_parameters(reembedding), "now": now(), "failed": int(DocumentState.FAILED)}
        embedder = reembedding.embedder
        connection.execute(
            "UPDATE corpora SET embedder_name = ?, embedder = ?, dimension = ?, update_time = ?"
            " WHERE tenant = ? AND corpus_id = ?",
            [embedder.name, embedder.fingerprint, embedder.dimension, parameters["now"], *_key(reembedding.corpus)],
        )
        connection.execute(
            "UPDATE documents AS d SET passage_count = e.passage_count,"
            " state = CASE WHEN e.error = x'' THEN d.state ELSE :failed END, error = e.error,"
            " update_time = CASE WHEN e.error = x'' THEN d.update_time ELSE :now END"
            " FROM reembedded e WHERE e.tenant = :tenant AND e.shadow_id = :shadow"
            " AND d.tenant = :tenant AND d.corpus_id = :corpus AND d.document_id = e.document_id"
            " AND d.revision = e.revision AND d.state = 3",
            parameters,
        )
        give_up(connection, reembedding.corpus)
        connection.execute("DELETE FROM reembeddings WHERE tenant = ? AND shadow_id = ?", _key(reembedding.shadow))


def _parameters(reembedding: Reembedding) -> dict[str, str | int]:
    corpus = reembedding.corpus
    return {"tenant": corpus.tenant, "corpus": corpus.corpus_id, "shadow": reembedding.shadow.corpus_id}


def _key(corpus: CorpusKey) -> list[str]:
    return [corpus.tenant, corpus.corpus_id]


def _in_state(connection: sqlite3.Connection, shadow: CorpusKey, state: int) -> bool:
    row = connection.execute(
        "SELECT 1 FROM reembeddings WHERE tenant = ? AND shadow_id = ? AND state = ?", [*_key(shadow), state]
    ).fetchone()
    return row is not None


def _set_state(connection: sqlite3.Connection, shadow: CorpusKey, state: int) -> None:
    connection.execute("UPDATE reembeddings SET state = ? WHERE tenant = ? AND shadow_id = ?", [state, *_key(shadow)])
