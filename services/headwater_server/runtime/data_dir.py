"""The data folder and its one owner."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = "owner.lock"


class DataDirError(Exception):
    """The data folder cannot be used; the message says why and what to do."""


@contextmanager
def owned(path: Path, *, what: str) -> Iterator[Path]:
    """Owns the data folder for as long as the context lasts; it is created if need be.

    The lock is the kernel's (flock), so it goes with the process however that ends; the file's content only says
    whose it is.

    Args:
        path: The folder.
        what: What this process is, for the message another one gets.

    Raises:
        DataDirError: Another process owns it, or it cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirError(
            f"cannot use the data folder {path}: {error.strerror}; choose another with --data-dir"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataDirError(
                f"the data folder {path} is in use by {_owner(descriptor)}: stop it, or choose another with --data-dir"
            ) from error
        _sign(descriptor, path, what)
        yield path
    finally:
        os.close(descriptor)


def _owner(descriptor: int) -> str:
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {owner['pid']} ({owner['what']})"
    except (ValueError, KeyError, TypeError, OSError):
        return "another process"


def _sign(descriptor: int, path: Path, what: str) -> None:
    text = json.dumps({"pid": os.getpid(), "what": what}).encode()
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)
    except OSError as error:
        raise DataDirError(f"cannot write to the data folder {path}: {error.strerror}") from error
