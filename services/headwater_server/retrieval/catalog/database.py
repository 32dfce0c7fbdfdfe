"""A SQLite database used from one event loop: one connection writes, one reads, each in one thread at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from headwater_server.disk_full import says_full
from headwater_server.retrieval.catalog import checksums
from headwater_server.retrieval.catalog.errors import CatalogFull
from headwater_server.sqlite_wal import write_ahead

T = TypeVar("T")

_BUSY_SECONDS = 10.0


class Database:
    """Two connections to one file, in WAL mode, so that reading never waits for the disk to confirm a write.

    `synchronous=FULL` makes every commit survive a loss of power.
    """

    def __init__(self, path: Path) -> None:
        self.writer = _connect(path)
        try:
            write_ahead(self.writer, patience=_BUSY_SECONDS)
            self.writer.execute("PRAGMA synchronous = FULL")
            self.writer.execute("PRAGMA foreign_keys = ON")
            self._reader = _connect(path)
        except BaseException:
            self.writer.close()
            raise
        self._writing = CapacityLimiter(1)
        self._reading = CapacityLimiter(1)
        # A task that asyncio itself cancels leaves its limiter while its thread goes on: the threads need their own.
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` in a thread, alone; it makes its own transactions. Once begun it is done to its end."""

        def alone() -> T:
            with self._write_lock:
                return work(self.writer)

        return await to_thread.run_sync(alone, limiter=self._writing)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work`, which writes nothing, in a thread, within one snapshot of the database."""

        def in_snapshot() -> T:
            with self._read_lock:
                self._reader.execute("BEGIN")
                try:
                    return work(self._reader)
                finally:
                    self._reader.execute("ROLLBACK")

        return await to_thread.run_sync(in_snapshot, limiter=self._reading)

    async def aclose(self) -> None:
        """Closes both connections, once what is under way has ended."""
        await to_thread.run_sync(self.close)

    def close(self) -> None:
        """As `aclose`, blocking."""
        with self._read_lock, self._write_lock:
            self._reader.close()
            self.writer.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    checksums.register(connection)
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """What is within happens as a whole, or not at all.

    Raises:
        CatalogFull: There is no room on the disk.
    """
    with disk_full_reported():
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite ends some by itself, when the disk is full
                connection.execute("ROLLBACK")
            raise


@contextmanager
def disk_full_reported() -> Iterator[None]:
    """Turns what the operating system and SQLite say of a full disk into `CatalogFull`."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        if says_full(error):
            raise CatalogFull("there is no room on the disk for the document and what is known of it") from error
        raise
