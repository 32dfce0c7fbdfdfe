"""How a full disk is told, by the operating system and by SQLite, for all who keep something on it."""

from __future__ import annotations

import errno
import sqlite3

# The last of each stand for limits on a file's size: no disk is full, and yet there is no room.
_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SQLITE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})


def says_full(error: object) -> bool:
    """Whether an error says that there is no room on the disk; False for errors of anything else."""
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    return getattr(error, "sqlite_errorcode", None) in _SQLITE
