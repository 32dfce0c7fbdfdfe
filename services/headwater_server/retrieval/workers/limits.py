"""What a worker process may use."""

from __future__ import annotations

import math
import os
import resource
import sys
import time
from dataclasses import dataclass

_CPU_RESERVE = 30
"""Seconds of CPU that a worker may use beyond its job's time on every core: its own start, and the model's."""
_MOST_WRITTEN = 64 * 1024
"""How large a file may grow that a worker writes to: there is one, for what it says on standard error."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Limits of one worker process, set by itself before its first job."""

    memory_bytes: int = 2 * 1024 * 1024 * 1024
    """Of its data (RLIMIT_DATA; where that is not counted, of its address space)."""
    open_files: int = 128
    niceness: int = 10
    """How much less important than the service the work is, 0 to 19."""


def apply_limits(limits: WorkerLimits) -> None:
    """Limits this process; what it may use already is never raised."""
    os.nice(limits.niceness)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, _MOST_WRITTEN)
    _lower(resource.RLIMIT_NOFILE, limits.open_files)
    _lower(resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS, limits.memory_bytes)


def limit_cpu(seconds: float) -> None:
    """Ends this process after `seconds` of CPU on every core, counted from now.

    The service ends a job that takes too long; this is for the worker whose service has died while it was in a loop.
    """
    allowed = time.process_time() + seconds * (os.cpu_count() or 1) + _CPU_RESERVE
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(allowed)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
