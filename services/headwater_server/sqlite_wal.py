"""SQLite's write-ahead log, bounded, for files that several processes open at once."""

from __future__ import annotations

import sqlite3
import time

_LOG_BYTES = 16 << 20
"""What is left of the log once a large transaction has been taken in."""


def write_ahead(connection: sqlite3.Connection, *, patience: float) -> None:
    """Has a database written ahead (https://sqlite.org/wal.html).

    To change a new file to that takes a lock for which SQLite does not wait, whatever the connection's timeout says.

    Args:
        connection: To the database.
        patience: How long to try while others have the lock, in seconds.

    Raises:
        sqlite3.Error: They have it for longer, or the database cannot be used.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
            return
