"""Connections to the truth."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headwater_server.disk_full import says_full
from headwater_server.retrieval.store.protocol import StoreFull, StoreUnavailable
from headwater_server.retrieval.store.truth.schema import migrate
from headwater_server.sqlite_wal import write_ahead

_BUSY_SECONDS = 10.0


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes; creates the database or brings it to this version.

    A commit is on the disk when it returns: WAL with synchronous=FULL.
    """
    with translated_errors():
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            write_ahead(connection, patience=_BUSY_SECONDS)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads; each `reading` sees one moment."""
    with translated_errors():
        uri = f"{path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA query_only = ON")
        connection.text_factory = _text
        return connection


def _text(data: bytes) -> str:
    """A text; what a damaged disk has made of it may be no UTF-8, which its row's checksum will tell."""
    return data.decode("utf-8", "replace")


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """A read transaction: all that is read inside is of one moment, not earlier than the entry.

    Inside another it is a part of that, and of its moment.

    Raises:
        StoreUnavailable: The database cannot be read, because its pages are damaged.
    """
    if connection.in_transaction:
        yield
        return
    with translated_errors():
        connection.execute("BEGIN")
        try:
            connection.execute("SELECT 1 FROM corpora LIMIT 1").fetchone()  # a deferred transaction begins with a read
            yield
        finally:
            connection.execute("ROLLBACK")


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """A write transaction: committed when the block ends, undone when it raises.

    Raises:
        StoreFull: The disk or the quota is exhausted; nothing was written.
        StoreUnavailable: The database cannot be written for another reason; nothing was written.
    """
    with translated_errors():
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:  # SQLite undoes some failed transactions by itself
                connection.execute("ROLLBACK")
            if says_full(error):
                _empty_log(connection)
            raise


@contextmanager
def translated_errors() -> Iterator[None]:
    """SQLite's errors as the store's."""
    try:
        yield
    except sqlite3.Error as error:
        if says_full(error):
            raise StoreFull(f"the disk or the store's quota is full; nothing was written ({error})") from error
        if isinstance(error, sqlite3.OperationalError | sqlite3.DatabaseError):
            raise StoreUnavailable(f"the store's database failed: {error}") from error
        raise


def _empty_log(connection: sqlite3.Connection) -> None:
    """Gives the disk back what an undone transaction has filled the write-ahead log with, which would keep its size."""
    with suppress(sqlite3.Error):  # what has failed before is to be told, and not this
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
