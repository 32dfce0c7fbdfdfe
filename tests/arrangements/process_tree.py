"""A server with all the processes that it has started, by way of /proc."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def tree(pid: int) -> list[int]:
    """The ids of a process and of all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:  # grows while it is read
        found += children.get(each, [])
    return found


def kill_tree(pid: int) -> None:
    """Ends a process and all that descend from it, without a chance to tidy up."""
    for each in tree(pid):
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
