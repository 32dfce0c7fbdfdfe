"""What an error of SQLite means, for all who keep something in it."""

from __future__ import annotations

import sqlite3

_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})  # the second for limits of size, quotas of disk


def says_full(error: object) -> bool:
    """Whether an error says that there is no room on the disk; False for errors of anything else than SQLite."""
    return getattr(error, "sqlite_errorcode", None) in _FULL
