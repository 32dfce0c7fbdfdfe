"""The data folder and its one owner."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater._version import __version__

LOCK_NAME = "owner.lock"
FORMAT_NAME = "format.json"
"""Says for people, and for older programs, what has written the folder."""
FORMAT = 3
"""The number of this program's format; see `retrieval.maintenance.versions.FORMATS` for what each is."""


class DataDirError(Exception):
    """The data folder cannot be used; the message says why and what to do."""


class DataDirInUse(DataDirError):
    """Another process owns the data folder."""


class DataDirNewer(DataDirError):
    """A newer version of this program has written the data folder."""


@contextmanager
def owned(path: Path, *, what: str) -> Iterator[Path]:
    """Owns the data folder for as long as the context lasts; it is created if need be.

    The lock is the kernel's (flock), so it goes with the process however that ends; the file's content only says
    whose it is.

    Args:
        path: The folder.
        what: What this process is, for the message another one gets.

    Raises:
        DataDirInUse: Another process owns it.
        DataDirNewer: A newer version of this program has written it; nothing in it was changed.
        DataDirError: It cannot be created or written.
    """
    with held(path, what=what):
        yield path


@contextmanager
def held(path: Path, *, what: str) -> Iterator[int]:
    """As `owned`; yields the descriptor of the lock, which holds for as long as any process has it open.

    Args:
        path: The folder.
        what: As `owned`.

    Raises:
        DataDirError: As `owned`.
    """
    descriptor = _opened(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataDirInUse(
                f"the data folder {path} is in use by {_owner(descriptor)}: stop it, or choose another with --data-dir"
            ) from error
        format_ = read_format(path)
        _sign(descriptor, path, what)
        if format_ != FORMAT:
            _write_format(path)
        yield descriptor
    finally:
        os.close(descriptor)


def made(path: Path) -> Path:
    """A folder of which the process that has started this one is the owner; it is made if it is not there.

    Raises:
        DataDirError: It cannot be made.
    """
    try:
        _make(path)
    except OSError as error:
        raise _unusable(path, error) from error
    return path


def read_format(path: Path) -> int | None:
    """The format of a data folder; None where it does not say, as those of the first format do not.

    Raises:
        DataDirNewer: This program does not know it.
    """
    try:
        found = json.loads((path / FORMAT_NAME).read_bytes())["format"]
    except (OSError, ValueError, KeyError, TypeError):  # the databases have versions of their own
        return None
    if isinstance(found, int) and found > FORMAT:
        raise DataDirNewer(
            f"the data folder {path} was written by a newer Headwater (its format is {found}, and this program knows"
            f" {FORMAT}): use that one, choose another folder with --data-dir, or restore a backup"
        )
    return found if isinstance(found, int) else None


def _opened(path: Path) -> int:
    try:
        _make(path)
        return os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> DataDirError:
    return DataDirError(f"cannot use the data folder {path}: {error.strerror}; choose another with --data-dir")


def _make(path: Path) -> None:
    """Makes a folder, and sees to it that a loss of power does not take its name away again."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in missing:
        _sync(folder.parent)


def _write_format(path: Path) -> None:
    new = path / f"{FORMAT_NAME}.new"
    written = {"format": FORMAT, "written_by": f"headwater {__version__}"}
    try:
        with new.open("w") as file:
            file.write(json.dumps(written) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path / FORMAT_NAME)
        _sync(path)
    except OSError as error:
        raise DataDirError(f"cannot write to the data folder {path}: {error.strerror}") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
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
