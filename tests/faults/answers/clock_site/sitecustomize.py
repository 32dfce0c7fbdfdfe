"""Gives every Python that is started with this folder in its path a wall clock that is wrong by as much as a file says.

The monotonic clock is left alone, and so is the clock of code that is not Python: a wait of gRPC's core is told to the
kernel, whose clock is right.
"""

from __future__ import annotations

import mmap
import os
import struct
import time


def _turn(path: str) -> None:
    with open(path, "rb") as file:  # noqa: PTH123 (before anything else is imported)
        error = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
    true_time, true_time_ns = time.time, time.time_ns

    def seconds() -> float:
        return float(struct.unpack("<d", error[:8])[0])

    time.time = lambda: true_time() + seconds()
    time.time_ns = lambda: true_time_ns() + round(seconds() * 1e9)


if "HEADWATER_FAULTS_CLOCK" in os.environ:
    _turn(os.environ["HEADWATER_FAULTS_CLOCK"])
