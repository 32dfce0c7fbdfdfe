"""The embedded store: SQLite for the truth, qdrant-edge for the index, all in one directory."""

from __future__ import annotations

import logging
import math
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from headwater_server.retrieval.store.filters import check_filter
from headwater_server.retrieval.store.index.client import IndexClient
from headwater_server.retrieval.store.protocol import (
    CorpusKey,
    CorpusUnknown,
    DocumentRecord,
    PassageRecord,
    Query,
    SearchMode,
    SearchResult,
    StoreFull,
    StoreUnavailable,
)
from headwater_server.retrieval.store.truth.connection import open_reader, reading, translated_errors
from headwater_server.retrieval.store.truth.reader import find_corpus
from headwater_server.retrieval.store.truth.writer import TruthWriter

log = logging.getLogger(__name__)

GRAPH_FROM = 20_000
"""How many passages a graph pays from: to compare that many one by one, in 8 bits, takes no longer than a graph."""
MOST_HITS = 1_000
MOST_CORPORA = 10


class EmbeddedStore:
    """A `Store` in one directory of one machine; open it with `EmbeddedStore.open`.

    Durability: a write that has returned is on the disk (SQLite with a write-ahead log and synchronous=FULL) and
    survives a crash of any process, of the machine, and a loss of power, so far as the disk keeps what it has
    confirmed. The index is derived from that, flushed from time to time, and caught up or made anew from it when the
    store is opened, when its process died, or when it is found to differ; meanwhile searches find what it has so far,
    and say so (`SearchResult.current`).

    Visibility: a search first lets the index apply what was written to the corpora it searches, for at most a quarter
    of a second. So it sees every acknowledged write, unless there is more to apply than that; where there are so many
    new passages that it is not worth to begin, it does not wait.

    Search: exact in a corpus of fewer passages than `graph_from`: every one is compared. In a larger one what was
    written last is compared so too, and the rest is in a graph. The graph, and the smaller vectors that a corpus of
    10,000 has, are made anew in the background, in a process of low priority, when the corpus has grown or shrunk
    enough. Filters are resolved to documents by SQLite first. What they leave
    is compared one by one; or, where that is much, searched for among all documents, as deep as it takes.

    Ids, metadata and texts are valid Unicode; vectors have length 1 (to a thousandth).
    """

    def __init__(self, writer: TruthWriter, reader: sqlite3.Connection, index: IndexClient) -> None:
        self._writer = writer
        self._reader = reader
        self._index = index
        self._writing = anyio.CapacityLimiter(1)
        self._reading = anyio.CapacityLimiter(1)
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, *, max_bytes: int | None = None, flush_seconds: float = 2.0, graph_from: int = GRAPH_FROM
    ) -> AsyncIterator[EmbeddedStore]:
        """Opens the store in a directory, which is made if it is not there, and closes it again.

        One process at a time may open a directory: the caller holds a lock on it.

        Args:
            path: The directory.
            max_bytes: The most that documents and passages may take on the disk, the index apart; None for no quota.
            flush_seconds: How long the index must have had nothing to apply before it flushes what it has, which it
                does once a minute at the least; a crash of the index process makes it apply that again. No document
                depends on it.
            graph_from: From how many passages on a corpus has a graph, and its search is approximate.

        Raises:
            StoreUnavailable: The database cannot be opened, is damaged, was written by a newer version, or is not a
                store's.
        """
        database = path / "truth.sqlite3"
        writer, reader = await to_thread.run_sync(_open_truth, database, max_bytes)
        failure: Exception | None = None
        store = cls(
            writer, reader, IndexClient(database, path / "index", flush_seconds=flush_seconds, graph_from=graph_from)
        )
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store._index.run)
                tasks.start_soon(store._forget_changes)
                try:
                    yield store
                except Exception as error:  # raised again below, and not as a group
                    failure = error
                store._closed = True
                tasks.cancel_scope.cancel()
        finally:
            await store._close()
        if failure is not None:
            raise failure

    @property
    def index_pid(self) -> int | None:
        """The index process, for diagnosis; None while there is none."""
        return self._index.pid

    async def create_corpus(self, corpus: CorpusKey, *, dimension: int, embedder: str) -> int:
        """See `Store`."""
        return await self._write(lambda: self._writer.create_corpus(corpus, dimension=dimension, embedder=embedder))

    async def delete_corpus(self, corpus: CorpusKey) -> int:
        """See `Store`."""
        return await self._write(lambda: self._writer.delete_corpus(corpus))

    async def replace_corpus(self, corpus: CorpusKey, *, by: CorpusKey) -> int:
        """See `Store`."""
        return await self._write(lambda: self._writer.replace_corpus(corpus, by=by))

    async def replace_document(
        self, corpus: CorpusKey, document: DocumentRecord, passages: Sequence[PassageRecord]
    ) -> int:
        """See `Store`."""
        return await self._write(lambda: self._writer.replace_document(corpus, document, passages))

    async def update_document(self, corpus: CorpusKey, document: DocumentRecord) -> int:
        """See `Store`."""
        return await self._write(lambda: self._writer.update_document(corpus, document))

    async def delete_document(self, corpus: CorpusKey, document_id: str) -> int:
        """See `Store`."""
        return await self._write(lambda: self._writer.delete_document(corpus, document_id))

    async def count_passages(self, corpus: CorpusKey) -> int:
        """See `Store`."""
        self._check_open()
        return await to_thread.run_sync(self._count, corpus, limiter=self._reading)

    async def search(self, query: Query) -> SearchResult:
        """See `Store`.

        Raises:
            ValueError: The query contradicts itself; see `Query`.
            InvalidRequest: The filter has no meaning.
        """
        self._check_open()
        check_query(query)
        return await self._index.search(query)

    async def wait_applied(self, version: int) -> None:
        """See `Store`."""
        self._check_open()
        await self._index.wait_applied(version)

    async def applied_version(self) -> int:
        """See `Store`; 0 while the index process is starting."""
        self._check_open()
        return self._index.applied

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")

    async def _write(self, work: Callable[[], int]) -> int:
        """Runs a write in a thread, one at a time in the order of the calls.

        A caller who is cancelled waits until the write that has begun is over, whole or not at all.
        """
        self._check_open()
        async with self._writing:
            self._check_open()
            version = await to_thread.run_sync(work)
            self._index.changed()
        return version

    def _count(self, corpus: CorpusKey) -> int:
        with translated_errors(), reading(self._reader):
            state = find_corpus(self._reader, corpus)
        if state is None:
            raise CorpusUnknown(f"corpus {corpus.corpus_id!r} does not exist")
        return state.passages

    async def _forget_changes(self) -> None:
        """Removes the changes that the index has applied for good; another time will do as well."""
        while True:
            applied = await self._index.flushed()
            try:
                async with self._writing:
                    await to_thread.run_sync(self._writer.forget_changes, applied)
            except (StoreFull, StoreUnavailable) as error:
                log.warning("old changes could not be removed: %s", error)

    async def _close(self) -> None:
        """Closes the database, once the write in progress is over."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            async with self._writing, self._reading:
                await to_thread.run_sync(self._writer.close)
                await to_thread.run_sync(self._reader.close)


def _open_truth(database: Path, max_bytes: int | None) -> tuple[TruthWriter, sqlite3.Connection]:
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sync_folder(database.parent.parent)  # SQLite syncs the folder of its files, but not that folder's own name
    writer = TruthWriter(database, max_bytes=max_bytes)
    try:
        return writer, open_reader(database)
    except BaseException:
        writer.close()
        raise


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_query(query: Query) -> None:
    """Refuses a query that contradicts itself.

    Raises:
        ValueError: It does.
        InvalidRequest: Its filter has no meaning.
    """
    if not 1 <= len(query.corpora) <= MOST_CORPORA:
        raise ValueError(f"a query names {len(query.corpora)} corpora; it must be 1 to {MOST_CORPORA}")
    if len({corpus.tenant for corpus in query.corpora}) > 1:
        raise ValueError("the corpora of a query belong to one tenant")
    if not 1 <= query.limit <= MOST_HITS:
        raise ValueError(f"the limit of a query is {query.limit}; it must be 1 to {MOST_HITS}")
    lexical = query.mode is SearchMode.LEXICAL
    if lexical is not (query.vector is None):
        raise ValueError(f"a {query.mode} query takes {'no' if lexical else 'a'} vector")
    if query.min_score is not None and (lexical or not math.isfinite(query.min_score)):
        raise ValueError("min_score is a finite cosine, and a lexical query takes none")
    if query.filter is not None:
        check_filter(query.filter)
