"""What a process did to the files of a folder, recorded by a library that is compiled here and loaded before others."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("recorder.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")

_HEAD = struct.Struct("<BQQQIII")


class Op(IntEnum):
    """What a record tells of; the numbers are those of `recorder.c`."""

    OPENED = 1
    WRITTEN = 2
    TRUNCATED = 3
    SYNCED = 4
    RENAMED = 5
    UNLINKED = 6
    MADE = 7
    REMOVED = 8
    MARKED = 100
    """A note of the program's own."""


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened."""

    op: Op
    inode: int
    offset: int
    """Where it was written, or the size it was cut to; for OPENED, whether it was emptied."""
    created: bool
    path: str
    other: str
    data: bytes

    @property
    def note(self) -> Any:
        """What the program has noted."""
        return json.loads(self.data)


def compile_recorder(folder: Path) -> Path:
    """Compiles the library."""
    if COMPILER is None:
        raise RuntimeError("there is no C compiler")
    library = folder / "recorder.so"
    subprocess.run([COMPILER, "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def recording_environment(library: Path, *, root: Path, log: Path, skip: Path) -> dict[str, str]:
    """The variables of a process that is to be recorded."""
    return {
        "LD_PRELOAD": str(library),
        "RECORD_ROOT": str(root),
        "RECORD_LOG": str(log),
        "RECORD_SKIP": str(skip),
    }


class Notes:
    """Notes of the recorded program, in the order of all that happens."""

    def __init__(self, log: Path) -> None:
        self._file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def add(self, note: Any) -> None:
        """Adds one."""
        data = json.dumps(note).encode()
        os.write(self._file, _HEAD.pack(Op.MARKED, 0, 0, 0, 0, 0, len(data)) + data)


def read_log(log: Path) -> list[Record]:
    """All records, in order."""
    return list(_records(log.read_bytes()))


def _records(data: bytes) -> Iterator[Record]:
    at = 0
    while at < len(data):
        op, inode, offset, created, *lengths = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        parts = []
        for length in lengths:
            parts.append(data[at : at + length])
            at += length
        path, other, content = parts
        yield Record(Op(op), inode, offset, bool(created), os.fsdecode(path), os.fsdecode(other), content)
