"""Locks by corpus."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from anyio import Lock

from headwater_server.retrieval.store.protocol import CorpusKey


class CorpusLocks:
    """One lock a corpus, for whoever changes the catalog and the store together.

    Catalog and store are two databases. Within the lock, what the one says of a document is true until the other has
    been told. Creating and deleting a corpus, changing and deleting a document, and handing a finished job's passages
    to the store take it; receiving, reading and searching do not.
    """

    def __init__(self) -> None:
        self._locks: dict[CorpusKey, tuple[Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, corpus: CorpusKey) -> AsyncGenerator[None]:
        """Waits for the lock, in the order of arrival, and holds it."""
        lock, users = self._locks.get(corpus, (Lock(), 0))
        self._locks[corpus] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[corpus]
            if users == 1:
                del self._locks[corpus]
            else:
                self._locks[corpus] = (lock, users - 1)
