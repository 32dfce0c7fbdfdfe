"""Writing the truth: each method is one transaction, durable when it returns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from headwater_server.languages.detection import with_neighbours
from headwater_server.retrieval.store.filter_sql import value_rows
from headwater_server.retrieval.store.protocol import CorpusKey, CorpusUnknown, DocumentRecord, PassageRecord
from headwater_server.retrieval.store.terms import detected_language
from headwater_server.retrieval.store.truth.checksums import document_checksum, passage_checksum
from headwater_server.retrieval.store.truth.connection import open_writer, translated_errors, writing
from headwater_server.retrieval.store.truth.reader import latest_version
from headwater_server.retrieval.store.truth.records import (
    check_document,
    check_passages,
    document_row,
    dump_location,
    dump_vector,
)

_RESERVE_PAGES = 256
"""What a quota leaves to writes that remove: 1 MiB."""

PassageRange = tuple[int | None, int | None]


class TruthWriter:
    """The one writer. Not thread-safe: one call at a time.

    Args:
        path: The database; made if it is not there.
        max_bytes: The most the database may take, without its write-ahead log; None for no quota.

    Raises:
        StoreUnavailable: The database cannot be opened, is damaged, of a newer version, or not a store's.
    """

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        self._connection = open_writer(path)
        (page_size,) = self._connection.execute("PRAGMA page_size").fetchone()
        self._max_pages = None if max_bytes is None else max(max_bytes // page_size, _RESERVE_PAGES)

    def close(self) -> None:
        """Closes the database."""
        self._connection.close()

    def version(self) -> int:
        """The version of the last write; 0 before the first."""
        with translated_errors():
            return latest_version(self._connection)

    def create_corpus(self, corpus: CorpusKey, *, dimension: int, embedder: str) -> int:
        """See `Store.create_corpus`."""
        if dimension < 1:
            raise ValueError(f"the dimension of corpus {corpus.corpus_id!r} is {dimension}; it must be at least 1")
        with self._writing(adds=True) as connection:
            row = connection.execute(
                "SELECT dimension, embedder FROM corpora WHERE tenant = ? AND corpus_id = ?",
                (corpus.tenant, corpus.corpus_id),
            ).fetchone()
            if row == (dimension, embedder):
                return latest_version(connection)
            if row is not None:
                raise ValueError(
                    f"corpus {corpus.corpus_id!r} has vectors of dimension {row[0]} made by {row[1]!r};"
                    f" it cannot take dimension {dimension} made by {embedder!r}"
                )
            row_id = connection.execute(
                "INSERT INTO corpora (tenant, corpus_id, dimension, embedder, version, passages)"
                " VALUES (?, ?, ?, ?, 0, 0) RETURNING id",
                (corpus.tenant, corpus.corpus_id, dimension, embedder),
            ).fetchone()[0]
            return _changed(connection, corpus, row_id)

    def delete_corpus(self, corpus: CorpusKey) -> int:
        """See `Store.delete_corpus`."""
        with self._writing(adds=False) as connection:
            found = _find_corpus(connection, corpus)
            if found is None:
                return latest_version(connection)
            row_id, _ = found
            _remove_corpus(connection, row_id)
            return _changed(connection, corpus, row_id)

    def replace_corpus(self, corpus: CorpusKey, *, by: CorpusKey) -> int:
        """See `Store.replace_corpus`. Only the name of `by` changes: its rows, and so its index, are what they were."""
        if corpus == by or corpus.tenant != by.tenant:
            raise ValueError(f"corpus {by.corpus_id!r} cannot take the place of {corpus.corpus_id!r}")
        with self._writing(adds=False) as connection:
            row_id, _ = _known_corpus(connection, by)
            replaced = _find_corpus(connection, corpus)
            if replaced is not None:
                _remove_corpus(connection, replaced[0])
            connection.execute("UPDATE corpora SET corpus_id = ? WHERE id = ?", (corpus.corpus_id, row_id))
            return _changed(connection, corpus, row_id)

    def replace_document(self, corpus: CorpusKey, document: DocumentRecord, passages: Sequence[PassageRecord]) -> int:
        """See `Store.replace_document`."""
        check_document(document)
        languages = with_neighbours(passage.language or detected_language(passage.text) for passage in passages)
        with self._writing(adds=True) as connection:
            row_id, dimension = _known_corpus(connection, corpus)
            check_passages(passages, dimension=dimension)
            columns = document_row(document)
            document_id = connection.execute(
                "INSERT INTO documents (tenant, corpus_row, document_id, title, uri, media_type, metadata, checksum)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (corpus_row, document_id) DO UPDATE SET"
                " title = excluded.title, uri = excluded.uri, media_type = excluded.media_type,"
                " metadata = excluded.metadata, checksum = excluded.checksum RETURNING id",
                (corpus.tenant, row_id, *columns, document_checksum((row_id, *columns))),
            ).fetchone()[0]
            _write_values(connection, corpus.tenant, row_id, document_id, document)
            removed = _remove_passages(connection, document_id)
            _add_passages(connection, (corpus.tenant, row_id, document_id), passages, languages)
            return _changed(connection, corpus, row_id, removed=removed, added=len(passages))

    def update_document(self, corpus: CorpusKey, document: DocumentRecord) -> int:
        """See `Store.update_document`."""
        check_document(document)
        with self._writing(adds=True) as connection:
            row_id, _ = _known_corpus(connection, corpus)
            columns = document_row(document)
            updated = connection.execute(
                "UPDATE documents SET title = ?, uri = ?, media_type = ?, metadata = ?, checksum = ?"
                " WHERE corpus_row = ? AND document_id = ? RETURNING id",
                (*columns[1:], document_checksum((row_id, *columns)), row_id, document.document_id),
            ).fetchone()
            if updated is None:
                return latest_version(connection)
            _write_values(connection, corpus.tenant, row_id, updated[0], document)
            return _changed(connection, corpus, row_id)

    def delete_document(self, corpus: CorpusKey, document_id: str) -> int:
        """See `Store.delete_document`."""
        with self._writing(adds=False) as connection:
            row_id, _ = _known_corpus(connection, corpus)
            row = connection.execute(
                "SELECT id FROM documents WHERE corpus_row = ? AND document_id = ?", (row_id, document_id)
            ).fetchone()
            if row is None:
                return latest_version(connection)
            removed = _remove_passages(connection, row[0])
            connection.execute("DELETE FROM documents WHERE id = ?", row)
            return _changed(connection, corpus, row_id, removed=removed)

    def forget_changes(self, applied: Iterable[tuple[int, int]]) -> None:
        """Removes the changes that an index has applied for good.

        Args:
            applied: The row of a corpus, and the version up to which its index will never ask again.
        """
        with self._writing(adds=False) as connection:
            connection.executemany("DELETE FROM changes WHERE corpus_row = ? AND version <= ?", applied)

    @contextmanager
    def _writing(self, *, adds: bool) -> Iterator[sqlite3.Connection]:
        if self._max_pages is not None:
            pages = self._max_pages - (_RESERVE_PAGES if adds else 0)
            self._connection.execute(f"PRAGMA max_page_count = {max(pages, 1)}")
        with writing(self._connection):
            yield self._connection


def _find_corpus(connection: sqlite3.Connection, corpus: CorpusKey) -> tuple[int, int] | None:
    """The row and the dimension of a corpus."""
    row: tuple[int, int] | None = connection.execute(
        "SELECT id, dimension FROM corpora WHERE tenant = ? AND corpus_id = ?", (corpus.tenant, corpus.corpus_id)
    ).fetchone()
    return row


def _known_corpus(connection: sqlite3.Connection, corpus: CorpusKey) -> tuple[int, int]:
    found = _find_corpus(connection, corpus)
    if found is None:
        raise CorpusUnknown(f"corpus {corpus.corpus_id!r} does not exist")
    return found


def _remove_corpus(connection: sqlite3.Connection, row_id: int) -> None:
    for table in ("passages", "document_values", "documents", "changes"):
        connection.execute(f"DELETE FROM {table} WHERE corpus_row = ?", (row_id,))  # noqa: S608 (our own names)
    connection.execute("DELETE FROM corpora WHERE id = ?", (row_id,))


def _write_values(
    connection: sqlite3.Connection, tenant: str, corpus_row: int, document: int, record: DocumentRecord
) -> None:
    connection.execute("DELETE FROM document_values WHERE document_row = ?", (document,))
    connection.executemany(
        "INSERT INTO document_values (tenant, corpus_row, document_row, key, kind, value) VALUES (?, ?, ?, ?, ?, ?)",
        [(tenant, corpus_row, document, *row) for row in value_rows(record)],
    )


def _remove_passages(connection: sqlite3.Connection, document: int) -> tuple[PassageRange, int]:
    """Removes a document's passages; returns the range of their ids, and how many they were."""
    first, last, count = connection.execute(
        "SELECT min(id), max(id), count(*) FROM passages WHERE document_row = ?", (document,)
    ).fetchone()
    connection.execute("DELETE FROM passages WHERE document_row = ?", (document,))
    return (first, last), count


def _add_passages(
    connection: sqlite3.Connection,
    owner: tuple[str, int, int],
    passages: Iterable[PassageRecord],
    languages: Iterable[str],
) -> None:
    connection.executemany(
        "INSERT INTO passages (tenant, corpus_row, document_row, passage_id, ordinal, heading, location, text, vector,"
        " language, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (_passage_row(owner, passage, language) for passage, language in zip(passages, languages, strict=True)),
    )


def _passage_row(owner: tuple[str, int, int], passage: PassageRecord, language: str) -> tuple[object, ...]:
    tenant, corpus_row, document = owner
    columns = (
        corpus_row,
        document,
        passage.passage_id,
        passage.ordinal,
        passage.heading,
        dump_location(passage.location),
        passage.text,
        dump_vector(passage.vector),
        language,
    )
    return tenant, *columns, passage_checksum(columns)


def _changed(
    connection: sqlite3.Connection,
    corpus: CorpusKey,
    corpus_row: int,
    *,
    removed: tuple[PassageRange, int] = ((None, None), 0),
    added: int = 0,
) -> int:
    """Records a change and returns its version."""
    passages, removed_count = removed
    version: int = connection.execute(
        "INSERT INTO changes (tenant, corpus_row, removed_first, removed_last) VALUES (?, ?, ?, ?) RETURNING version",
        (corpus.tenant, corpus_row, *passages),
    ).fetchone()[0]
    connection.execute(
        "UPDATE corpora SET version = ?, passages = passages + ? WHERE id = ?",
        (version, added - removed_count, corpus_row),
    )
    return version
