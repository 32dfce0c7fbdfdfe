"""Which calls are under way, so that a draining server knows when the last has ended."""

from __future__ import annotations

from types import TracebackType

import anyio


class Activity:
    """Counts the calls under way: each is a `with` block."""

    def __init__(self) -> None:
        self._calls = 0
        self._idle = anyio.Event()

    def __enter__(self) -> None:
        self._calls += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._calls -= 1
        if not self._calls:
            self._idle.set()

    async def idle(self) -> None:
        """Returns when no call is under way."""
        while self._calls:
            self._idle = anyio.Event()
            await self._idle.wait()
