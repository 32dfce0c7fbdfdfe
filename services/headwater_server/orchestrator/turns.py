"""Taking turns: of many who come at once, a few in each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque

AT_ONCE = 2
"""How many may begin in one turn."""

EVENTS_A_TURN = 128
"""How many events of a burst are worked through before others have a turn."""

LATE_SECONDS = 0.005
"""How long the others' turn takes where there is more to do than can be done."""

_TURNS = 4
"""How many turns one who writes leaves to others then."""

_LONGEST_SECONDS = 0.1
"""How long at most."""


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


async def leave_turns() -> None:
    """Lets others have their turn; where that takes long, some more of them.

    What comes meanwhile for a reader goes to it as one message, so who is behind catches up.
    """
    clock = asyncio.get_running_loop().time
    before = clock()
    await asyncio.sleep(0)
    if (late := clock() - before) > LATE_SECONDS:
        await asyncio.sleep(min(_TURNS * late, _LONGEST_SECONDS))


def gives_way(count: int) -> bool:
    """Whether readers, and everybody else, get a turn of the event loop now, after so many events of one stream.

    A burst is worked through without a wait. After its first event its readers have a turn, so that the first text does
    not come with the last; then after twice as many each time, up to a bound, because what waits for longer is merged
    and costs less.
    """
    return count & (count - 1) == 0 or count % EVENTS_A_TURN == 0
