"""What a disk may hold after the power went: what was synced, and of the rest whatever chance has left.

The rules are those that POSIX gives, and harder than most file systems: what was written to a file is safe once the
file was synced, and a name once its folder was. Of later writes each may be there, be missing, or be there in part, in
sectors of 512 bytes, in any order; a name may be any of those it has been since its folder was synced.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.power_loss.recording import Op, Record

_SECTOR = 512


@dataclass(eq=False, slots=True)
class _File:
    """A file: what is safe of it, and what was done to it since."""

    safe: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Where and what was written; None in the place of bytes: cut to that size."""

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.safe, change)
        self.pending.clear()

    def after_loss(self, chance: random.Random) -> bytes:
        """What may be left of it."""
        left = bytearray(self.safe)
        fate = chance.choice(("all", "none", "first", "any"))
        changes = self.pending
        if fate == "none":
            changes = []
        elif fate == "first":
            changes = changes[: chance.randint(0, len(changes))]
        for number, change in enumerate(changes):
            if fate == "any" and chance.random() < 0.5:
                continue
            torn = fate == "any" or (fate == "first" and number == len(changes) - 1)
            _apply(left, _torn(change, chance) if torn else change)
        return bytes(left)


class _Folder:
    """Marks a name as a folder's."""


_FOLDER = _Folder()
_Entry = _File | _Folder | None


class Disk:
    """The files of a folder, as records tell of them.

    Args:
        root: The folder; it is there, and safe.
    """

    def __init__(self, root: Path) -> None:
        self._root = PurePosixPath(root)
        self._names: dict[PurePosixPath, list[_Entry]] = {self._root: [_FOLDER]}
        self._by_inode: dict[int, _File] = {}

    def replay(self, records: Iterable[Record]) -> None:
        """Takes what happened next."""
        for record in records:
            self._take(record)

    def _take(self, record: Record) -> None:
        path = PurePosixPath(record.path)
        match record.op:
            case Op.OPENED:
                self._open(path, record)
            case Op.WRITTEN:
                self._by_inode[record.inode].pending.append((record.offset, record.data))
            case Op.TRUNCATED:
                self._by_inode[record.inode].pending.append((record.offset, None))
            case Op.SYNCED:
                self._sync(path, record.inode)
            case Op.RENAMED:
                self._set(PurePosixPath(record.other), self._names[path][-1])
                self._set(path, None)
            case Op.UNLINKED | Op.REMOVED:
                self._set(path, None)
            case Op.MADE:
                self._set(path, _FOLDER)
            case Op.MARKED:
                pass

    def _open(self, path: PurePosixPath, record: Record) -> None:
        if record.created:
            file = self._by_inode[record.inode] = _File()
            self._set(path, file)
        elif record.offset and record.inode in self._by_inode:
            self._by_inode[record.inode].pending.append((0, None))

    def _set(self, path: PurePosixPath, entry: _Entry) -> None:
        self._names.setdefault(path, [None]).append(entry)

    def _sync(self, path: PurePosixPath, inode: int) -> None:
        if inode in self._by_inode and not isinstance(self._names.get(path, [None])[-1], _Folder):
            self._by_inode[inode].sync()
            return
        for name, history in self._names.items():
            if name.parent == path:
                del history[:-1]

    def write_after_loss(self, target: Path, chance: random.Random) -> None:
        """Writes to a folder, which it makes, what may be left."""
        made: set[PurePosixPath] = set()
        for path in sorted(self._names, key=lambda each: len(each.parts)):
            entry = _chosen(self._names[path], chance)
            if entry is None or (path != self._root and path.parent not in made):
                continue
            place = target / path.relative_to(self._root)
            if isinstance(entry, _Folder):
                place.mkdir(parents=True)
                made.add(path)
            elif path.name.endswith("-shm"):  # not meant to be durable: there may be nothing of it, or anything
                if chance.random() < 0.5:
                    place.write_bytes(chance.randbytes(32768))
            else:
                place.write_bytes(entry.after_loss(chance))


def _chosen(history: list[_Entry], chance: random.Random) -> _Entry:
    return chance.choice((history[-1], history[0], chance.choice(history)))


def _torn(change: tuple[int, bytes | None], chance: random.Random) -> tuple[int, bytes | None]:
    offset, data = change
    if data is None:
        return change
    sectors = -(-len(data) // _SECTOR)
    return offset, data[: chance.randint(0, sectors) * _SECTOR]


def _apply(content: bytearray, change: tuple[int, bytes | None]) -> None:
    offset, data = change
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data
