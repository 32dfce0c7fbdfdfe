"""Memory that is free, given back to the system, and memory that stays, left in peace.

glibc keeps what was freed in the arenas of its threads: after a flood of large calls a process may hold a hundred times
what it uses, for good. Where there is no such function, as with other C libraries, nothing is done.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio import to_thread

INTERVAL_SECONDS = 15.0
GROWTH_BYTES = 64 * 1024 * 1024
"""How much more than after the last time a process has to hold: to look through its memory takes some milliseconds."""

_COLLECT_AFTER = 10_000
"""How many new objects are looked through for cycles at once."""


def leave_what_is_there() -> None:
    """Keeps the search for cycles away from what a started server has: it stays to the end.

    Otherwise all of it is looked through every now and then, which stops everything meanwhile, and more often the more
    answers begin. What they leave in cycles is little.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def trimmer() -> Callable[[], None] | None:
    """What gives free memory back; None where it cannot be done."""
    if sys.platform != "linux":
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if trim is None else lambda: trim(0)


def resident_bytes() -> int:
    """How much memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def give_back_free_memory(*, interval: float = INTERVAL_SECONDS, growth: int = GROWTH_BYTES) -> None:
    """Gives free memory back, now and then, whenever the process has grown; runs until it is cancelled.

    Args:
        interval: How often to look, in seconds.
        growth: By how much it has to have grown since the last time, in bytes.
    """
    trim = trimmer()
    if trim is None:
        return
    before = resident_bytes()
    while True:
        await anyio.sleep(interval)
        if resident_bytes() >= before + growth:
            await to_thread.run_sync(trim)
            before = resident_bytes()
