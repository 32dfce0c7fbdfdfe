"""Taking turns: of many who come at once, a few in each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque

AT_ONCE = 2
"""How many may begin in one turn."""


class Turns:
    """Lets those who come go on in the order they came, some in each turn of the event loop.

    Work that is cut into steps, and whose steps take turns, is finished for all at the same time, the end. Answers that
    begin one after another have their first text one after another, half of them in half of the time.

    Args:
        at_once: How many go on in one turn; they do not wait unless more came in it.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._room = at_once
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def mine(self) -> None:
        """Returns when it is the caller's turn."""
        if self._room == self._at_once:
            asyncio.get_running_loop().call_soon(self._turn)
        if self._room and not self._waiting:
            self._room -= 1
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _turn(self) -> None:
        """Makes room for the next, and wakes them."""
        self._room = self._at_once
        while self._room and self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                self._room -= 1
        if self._room < self._at_once:
            asyncio.get_running_loop().call_soon(self._turn)
