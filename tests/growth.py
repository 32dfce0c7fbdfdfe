"""How the work that something does grows with what it is given."""

from __future__ import annotations

import time
from collections.abc import Callable


def _cpu_seconds(work: Callable[[], object]) -> float:
    """The least of three, as whatever disturbs it adds to it."""
    took = []
    for _ in range(3):
        begun = time.thread_time()
        work()
        took.append(time.thread_time() - begun)
    return min(took)


def grows_in_proportion(work: Callable[[int], object], *, size: int) -> bool:
    """Whether eight times as much takes about eight times as long; where it is compared pairwise it is 64 times."""
    return _cpu_seconds(lambda: work(8 * size)) < 24 * max(_cpu_seconds(lambda: work(size)), 0.001)
