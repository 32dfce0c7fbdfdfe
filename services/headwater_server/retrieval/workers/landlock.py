"""What a process may read, by the kernel's Landlock: some folders, and nothing else; nothing may be written.

The kernel's interface is `linux/landlock.h`; each of its versions knows more kinds of access. A process that has
restricted itself cannot lift that, and cannot look into, or send signals to, processes that have not.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from headwater_server.retrieval.workers.kernel import call_number

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every processor
_VERSION = 1
_PATH_BENEATH = 1

_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""By the version that brought the last of them: how many kinds of access to files there are, the low bits."""
_NETWORK_SINCE, _NETWORK = 4, 0b11  # binding and connecting TCP
_SCOPE_SINCE, _SCOPE = 6, 0b11  # abstract Unix sockets of others, and signals to others


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scope", ctypes.c_uint64))


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("folder", ctypes.c_int32))


def version() -> int:
    """The kernel's version of Landlock, 1 or more.

    Raises:
        OSError: The kernel has none, or it is turned off.
    """
    return call_number(_CREATE_RULESET, 0, 0, _VERSION)


def allow_reading_only(paths: Iterable[str]) -> None:
    """Lets this process, and the threads that it will start, read what is at or beneath `paths`, and nothing else.

    Descriptors that are open stay as they are. Needs `kernel.refuse_new_privileges` before it.

    Args:
        paths: Folders and files; those that are not there are left out.

    Raises:
        OSError: The kernel has no Landlock, or it is turned off.
    """
    known = version()
    ruleset = _Ruleset(
        files=(1 << max(count for since, count in _FILE_RIGHTS.items() if since <= known)) - 1,
        network=_NETWORK if known >= _NETWORK_SINCE else 0,
        scope=_SCOPE if known >= _SCOPE_SINCE else 0,
    )
    descriptor = call_number(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
    try:
        for path in paths:
            _allow(descriptor, path)
        call_number(_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)


def _allow(ruleset: int, path: str) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        is_folder = stat.S_ISDIR(os.fstat(opened).st_mode)
        rule = _Rule(_READ_FILE | _READ_FOLDER if is_folder else _READ_FILE, opened)
        call_number(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(opened)


def paths_without(folder: Path, private: Path) -> Iterator[Path]:
    """What to allow so that all of `folder` can be read but what is beneath `private`.

    What is put into a folder above `private` afterwards is not covered.

    Args:
        folder: Any folder, or a file.
        private: A folder; need not be there.
    """
    folder, private = folder.resolve(), private.resolve()
    if folder == private or private in folder.parents:
        return
    if folder not in private.parents:
        yield folder
        return
    try:
        children = sorted(folder.iterdir())
    except OSError:
        return
    for child in children:
        yield from paths_without(child, private)
