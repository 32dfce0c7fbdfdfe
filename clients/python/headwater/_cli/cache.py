"""The cache of `headwater ask "…" PATH…`: a data folder for each set of PATHs, the oldest removed beyond a limit."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater._cli.failures import CommandFailed
from headwater._cli.server_extra import server_module
from headwater._cli.terminal import note

VARIABLE = "HEADWATER_CACHE_DIR"
MOST_FOLDERS = 20
MOST_BYTES = 2_000_000_000
_LOCK = "ask.lock"
WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.1


@contextmanager
def cached_folder(paths: Iterable[Path]) -> Iterator[Path]:
    """The data folder that belongs to these paths, for this process alone as long as the context lasts.

    Raises:
        CommandFailed: Another process has it and does not let go, or it cannot be written.
    """
    root = cache_root()
    folder = root / _key(paths)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / _LOCK).open("a+b") as lock:
            _acquire(lock.fileno(), folder)
            os.utime(lock.fileno())  # when it was last used
            remove_oldest(root, keep=folder)
            yield folder / "data"
    except OSError as error:
        if error.filename is None or not str(error.filename).startswith(str(root)):
            raise
        raise CommandFailed(
            f"the cache {root} cannot be used: {error.strerror}; {VARIABLE} names another folder"
        ) from error


def cache_root() -> Path:
    """Where all caches lie: what HEADWATER_CACHE_DIR says, or the platform's cache folder of the user."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given) / "ask"
    root: Path = server_module("runtime.settings").platformdirs.user_cache_path("headwater", appauthor=False) / "ask"
    return root


def remove_oldest(root: Path, *, keep: Path) -> None:
    """Removes folders, those first that have not been used for longest, until the limits are kept.

    A folder that another process uses stays, and so does `keep`.
    """
    folders = sorted((folder for folder in root.iterdir() if folder.is_dir()), key=_last_used, reverse=True)
    count, total = 1, _size(keep)
    for folder in folders:
        if folder == keep:
            continue
        count, total = count + 1, total + (size := _size(folder))
        if (count > MOST_FOLDERS or total > MOST_BYTES) and _remove_unused(folder):
            count, total = count - 1, total - size


def _key(paths: Iterable[Path]) -> str:
    resolved = sorted({os.fsencode(path.resolve()) for path in paths})
    return hashlib.sha256(b"\0".join(resolved)).hexdigest()[:32]


def _acquire(descriptor: int, folder: Path) -> None:
    until = time.monotonic() + WAIT_SECONDS
    waiting = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise CommandFailed(
                    f"another `headwater ask` about the same paths is still at work (it holds {folder / _LOCK}): "
                    "wait for it, or stop it"
                ) from None
            if not waiting:
                note("waiting for another `headwater ask` about the same paths …")
                waiting = True
            time.sleep(_POLL_SECONDS)
        else:
            return


def _last_used(folder: Path) -> float:
    try:
        return (folder / _LOCK).stat().st_mtime
    except OSError:
        return 0.0


def _size(folder: Path) -> int:
    total = 0
    for directory, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += (Path(directory) / name).lstat().st_size
    return total


def _remove_unused(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("a+b") as lock:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return False
    return True
