"""Which processes share a folder of answers, which of them live, and where each is reached.

Each holds the kernel's lock (flock) on a file of its own, which goes with the process however that ends: whoever can
lock the file of another knows that the other is dead. No clock is asked, so one that is only slow or frozen is not
taken for dead.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headwater_server.names import new_id
from headwater_server.orchestrator.answer_log.files import translated_errors

_SUFFIX = ".owner"


class Owners:
    """The processes that share a folder; made by `joined`. For any thread.

    Args:
        folder: Where their files are.
        me: This process's id, one that no other ever had.
    """

    def __init__(self, folder: Path, me: str) -> None:
        self._folder = folder
        self.me = me
        """This process among the owners."""
        self._leading = -1

    @classmethod
    @contextmanager
    def joined(cls, folder: Path, *, target: str) -> Iterator[Owners]:
        """Counts among the owners for as long as the context lasts; after that as dead, until another has forgotten it.

        Args:
            folder: Where the files of owners are; made if it is not there.
            target: Where siblings reach this process.

        Raises:
            LogUnavailable: The folder cannot be used.
            LogFull: There is no room.
        """
        owners = cls(folder, new_id())
        with translated_errors():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = _locked_file(folder, owners.me, json.dumps({"pid": os.getpid(), "target": target}))
        try:
            yield owners
        finally:
            os.close(descriptor)  # its file stays: others see by it that there may be something to take over
            if owners._leading >= 0:
                os.close(owners._leading)

    def is_alive(self, owner: str) -> bool:
        """Whether a process lives; one that nobody knows does not."""
        return owner == self.me or _is_locked(self._path(owner))

    def living(self) -> set[str]:
        """All that live, this one among them.

        Raises:
            LogUnavailable: The folder cannot be read.
        """
        return {owner for owner in self._known() if self.is_alive(owner)} | {self.me}

    def dead(self) -> set[str]:
        """Those that have died and were not forgotten yet.

        Raises:
            LogUnavailable: The folder cannot be read.
        """
        return {owner for owner in self._known() if not self.is_alive(owner)}

    def target(self, owner: str) -> str:
        """Where a process is reached; empty where that is not known."""
        try:
            return str(json.loads(self._path(owner).read_bytes())["target"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def forget(self, owner: str) -> None:
        """Forgets one that has died, and of which nothing is left to take over."""
        with suppress(OSError):
            self._path(owner).unlink(missing_ok=True)

    def leads(self) -> bool:
        """Whether this process is the one that does what one has to do for all; when it dies, another is."""
        if self._leading < 0:
            with suppress(OSError):
                self._leading = _lock(self._folder / "leader.lock", wait=False)
        return self._leading >= 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps the others out of such a block of theirs.

        Raises:
            LogUnavailable: The folder cannot be used.
        """
        with translated_errors():
            descriptor = _lock(self._folder / "alone.lock", wait=True)
        try:
            yield
        finally:
            os.close(descriptor)

    def _known(self) -> list[str]:
        with translated_errors():
            return [path.stem for path in self._folder.iterdir() if path.suffix == _SUFFIX]

    def _path(self, owner: str) -> Path:
        return self._folder / f"{owner}{_SUFFIX}"


def _locked_file(folder: Path, name: str, content: str) -> int:
    """Makes a file that is locked as soon as others can see it; returns the descriptor that holds the lock."""
    new = folder / f"{name}.new"
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content.encode())
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        new.rename(folder / f"{name}{_SUFFIX}")
    except BaseException:
        os.close(descriptor)
        new.unlink(missing_ok=True)
        raise
    return descriptor


def _lock(path: Path, *, wait: bool) -> int:
    """Locks a file, made if it is not there; returns the descriptor that holds the lock.

    Raises:
        BlockingIOError: Another has it, and it was not to be waited for.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_locked(path: Path) -> bool:
    """Whether somebody holds the lock of a file. The look itself takes a shared one, which keeps no other look out.

    Where nobody can tell, as in a process that has no descriptor left, somebody does: who lives must not be taken for
    dead.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
