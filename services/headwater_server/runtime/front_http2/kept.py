"""How much of what callers have sent is kept until it is read."""

from __future__ import annotations

MAX_KEPT_BYTES = 64 * 1024 * 1024
"""By the calls of one connection."""
MAX_KEPT_BYTES_OF_ALL = 512 * 1024 * 1024
"""By those of all connections of a server."""


class Kept:
    """Counts the bytes of one connection, or, without `of_all`, of all of them."""

    __slots__ = ("_limit", "_of_all", "total")

    def __init__(self, of_all: Kept | None = None) -> None:
        self._of_all = of_all
        self._limit = MAX_KEPT_BYTES_OF_ALL if of_all is None else MAX_KEPT_BYTES
        self.total = 0

    def add(self, size: int) -> None:
        """Counts so many more, or less."""
        self.total += size
        if self._of_all is not None:
            self._of_all.add(size)

    @property
    def too_much(self) -> bool:
        """Whether it is more than may be kept."""
        return self.total > self._limit or (self._of_all is not None and self._of_all.too_much)
