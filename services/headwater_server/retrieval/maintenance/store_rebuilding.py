"""The store's database made anew of what is intact in the old one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from headwater_server.retrieval.catalog.records import Document, DocumentKey, DocumentState
from headwater_server.retrieval.maintenance.salvage import Row, salvaged
from headwater_server.retrieval.maintenance.store_examination import PASSAGE_COLUMNS
from headwater_server.retrieval.presentation import record_of
from headwater_server.retrieval.store.filter_sql import value_rows
from headwater_server.retrieval.store.protocol import CorpusKey
from headwater_server.retrieval.store.truth.checksums import is_intact_document, is_intact_passage
from headwater_server.retrieval.store.truth.connection import open_writer
from headwater_server.retrieval.store.truth.records import DOCUMENT_COLUMNS, to_document

_DOCUMENT_NAMES = ("corpus_row", *DOCUMENT_COLUMNS.split(", "))
_PASSAGE_NAMES = tuple(PASSAGE_COLUMNS.split(", "))


@dataclass(frozen=True, slots=True)
class CorpusToKeep:
    """A corpus as the catalog has it."""

    key: CorpusKey
    embedder: str
    dimension: int | None
    """Of its vectors; None where the catalog does not know."""


def rebuild_store(
    old: sqlite3.Connection | None,
    target: Path,
    *,
    corpora: list[CorpusToKeep],
    documents: Mapping[DocumentKey, Document],
) -> set[DocumentKey]:
    """Makes a store of the READY documents whose passages are all there and as they were written.

    Rows keep their numbers, which their checksums are of.

    Args:
        old: The damaged database, read-only; None where nothing of it can be read.
        target: The new database.
        corpora: The corpora that there are.
        documents: The documents of the catalog.

    Returns:
        The documents that the new store has.
    """
    connection = open_writer(target)
    try:
        connection.execute("BEGIN IMMEDIATE")
        rebuilding = _Rebuilding(old, connection)
        rows = rebuilding.add_corpora(corpora)
        kept = rebuilding.add_documents(rows, documents)
        rebuilding.finish(rows)
        connection.execute("COMMIT")
    finally:
        connection.close()
    return kept


class _Rebuilding:
    """The old database and the new one."""

    def __init__(self, old: sqlite3.Connection | None, new: sqlite3.Connection) -> None:
        self._old = old
        self._new = new

    def add_corpora(self, corpora: list[CorpusToKeep]) -> dict[int, CorpusKey]:
        """Adds corpora under the rows that they had; returns them by row."""
        stored = {(row["tenant"], row["corpus_id"]): row for row in self._salvaged("corpora")}
        free = max((row["id"] for row in stored.values() if isinstance(row["id"], int)), default=0) + 1
        taken: dict[int, CorpusKey] = {}
        for corpus in corpora:
            row = stored.get((corpus.key.tenant, corpus.key.corpus_id), {})
            number = row.get("id")
            if not isinstance(number, int) or number in taken:
                number, free = free, free + 1
            dimension = corpus.dimension or (row.get("dimension") if row.get("embedder") == corpus.embedder else None)
            if not isinstance(dimension, int):
                continue  # made with its first document, once a server knows the embedder
            taken[number] = corpus.key
            self._new.execute(
                "INSERT INTO corpora (id, tenant, corpus_id, dimension, embedder, version, passages)"
                " VALUES (?, ?, ?, ?, ?, 0, 0)",
                [number, corpus.key.tenant, corpus.key.corpus_id, dimension, corpus.embedder],
            )
        return taken

    def add_documents(
        self, corpora: Mapping[int, CorpusKey], documents: Mapping[DocumentKey, Document]
    ) -> set[DocumentKey]:
        """Adds the documents that are wholly intact."""
        kept = set()
        for row in self._salvaged("documents"):
            corpus = corpora.get(row["corpus_row"]) if isinstance(row["corpus_row"], int) else None
            if corpus is None or not is_intact_document([row[name] for name in _DOCUMENT_NAMES], row.get("checksum")):
                continue
            key = DocumentKey(corpus.tenant, corpus.corpus_id, row["document_id"])
            document = documents.get(key)
            if document is None or document.state is not DocumentState.READY:
                continue
            passages = self._passages(row["id"])
            if len(passages) != document.passage_count or to_document(
                [row[name] for name in _DOCUMENT_NAMES[1:]]
            ) != record_of(document):
                continue
            row["tenant"] = corpus.tenant  # which no checksum is of
            self._insert("documents", row)
            self._add_values(row)
            for passage in passages:
                self._insert("passages", {**passage, "tenant": corpus.tenant})
            kept.add(key)
        return kept

    def finish(self, corpora: Mapping[int, CorpusKey]) -> None:
        """Counts what is there."""
        for number, corpus in corpora.items():
            version = self._new.execute(
                "INSERT INTO changes (tenant, corpus_row) VALUES (?, ?) RETURNING version", [corpus.tenant, number]
            ).fetchone()[0]
            self._new.execute(
                "UPDATE corpora SET version = ?,"
                " passages = (SELECT count(*) FROM passages WHERE corpus_row = corpora.id) WHERE id = ?",
                [version, number],
            )

    def _salvaged(self, table: str) -> list[Row]:
        return [] if self._old is None else salvaged(self._old, table)

    def _passages(self, document: int) -> list[Row]:
        """A document's passages that are intact, by place."""
        found: dict[object, Row] = {}
        for row in self._read("passages", "document_row", document):
            if row["document_row"] == document and is_intact_passage(
                [row.get(name, "") for name in _PASSAGE_NAMES],  # the first versions had no languages
                row.get("checksum"),
            ):
                found[row["ordinal"]] = row
        return list(found.values())

    def _read(self, table: str, column: str, value: int) -> Iterator[Row]:
        if self._old is None:
            return
        try:
            cursor = self._old.execute(f"SELECT * FROM {table} WHERE {column} = ?", [value])  # noqa: S608 (our own names)
            names = [each[0] for each in cursor.description]
            for row in cursor:
                yield dict(zip(names, row, strict=True))
        except (sqlite3.Error, ValueError):
            return

    def _insert(self, table: str, row: Row) -> None:
        known = {each[1] for each in self._new.execute(f"PRAGMA table_info({table})")}
        names = [name for name in row if name in known]
        marks = ", ".join("?" * len(names))
        sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 (names of the table's own)
        self._new.execute(sql, [row[name] for name in names])

    def _add_values(self, row: Row) -> None:
        record = to_document([row[name] for name in _DOCUMENT_NAMES[1:]])
        self._new.executemany(
            "INSERT INTO document_values (tenant, corpus_row, document_row, key, kind, value)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [(row["tenant"], row["corpus_row"], row["id"], *value) for value in value_rows(record)],
        )
