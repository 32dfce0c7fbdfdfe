"""How much of a list is given at once."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, takewhile


def how_many(sizes: Iterable[int], *, max_bytes: int) -> int:
    """How many of the first items have no more bytes than so many; at least one, where there is one.

    Args:
        sizes: Of the items, in bytes, in order.
        max_bytes: The bound.
    """
    sizes = list(sizes)
    fitting = sum(1 for _ in takewhile(lambda total: total <= max_bytes, accumulate(sizes)))
    return max(fitting, min(len(sizes), 1))
