"""How many answers the server can carry, by how late it is with its work.

A server that takes more answers than it can carry serves none of them well. So while many run, the lateness of the
event loop is measured: how much later than asked for a timer fires. That is what each token then waits, and what a
caller waits who is refused. Where it stays over its bound, the number of answers that may run sinks a little below that
of those that do; where it is under it again, the number grows slowly (additive increase, multiplicative decrease, as in
TCP's congestion control). Answers that run are never ended for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from statistics import median

import anyio

from headwater_server.errors import Overloaded

RETRY_SECONDS = 1.0
"""When to try again, as a refused caller is told."""

TICK_SECONDS = 0.1
_IDLE_SECONDS = 0.25
"""How often to look where few answers run; never in step with what looks every tenth of a second, as tests do."""
_SAMPLES_A_TICK = 4
_WINDOW = 5 * _SAMPLES_A_TICK
"""Over how many samples the median is taken: half a second, so that a single long step, such as a collection of
garbage, is no overload."""
_SHRINK = 0.95
_GROW = 0.01
_RESERVED_PART = 8
"""Which part of the limit may run beyond it, of those who have less than their share."""


class Pressure:
    """Says whether one more answer may begin.

    Args:
        most: How many answers may run at once.
        least: How many may run whatever the lateness is.
        lateness: How late the loop may be, in seconds; the median over half a second.
        buffer_bytes: How much may wait for readers, of all answers together.
    """

    def __init__(self, *, most: int, least: int, lateness: float, buffer_bytes: int) -> None:
        self._most = most
        self._least = min(least, most)
        self._lateness = lateness
        self._buffer_bytes = buffer_bytes
        self._limit = float(most)
        self._late: deque[float] = deque(maxlen=_WINDOW)
        self._buffers_full = False

    @property
    def limit(self) -> int:
        """How many answers may run at once, as things are."""
        return int(self._limit)

    def refusal(self, running: int, *, behind: bool = False) -> Overloaded | None:
        """Why one more answer may not begin, or None.

        Args:
            running: How many run already.
            behind: Whether whoever asks has less than its share of them: then a few more may run than otherwise, so
                that those who take all there is shut nobody out.
        """
        if behind:
            running -= max(1, self.limit // _RESERVED_PART)
        if running >= self._most:
            return Overloaded(
                f"{self._most} answers are running, which is all this server takes; try again soon",
                retry_after=RETRY_SECONDS,
                metadata={"limit": "answers", "maximum": str(self._most)},
            )
        if running >= self.limit:
            return Overloaded(
                "as many answers are running as this server can carry; try again soon",
                retry_after=RETRY_SECONDS,
                metadata={"limit": "lateness", "maximum_seconds": f"{self._lateness:g}"},
            )
        if self._buffers_full:
            return Overloaded(
                "too much of the answers that run waits for slow readers; try again soon",
                retry_after=RETRY_SECONDS,
                metadata={"limit": "buffer_bytes", "maximum": str(self._buffer_bytes)},
            )
        return None

    def tick(self, late: list[float], *, running: int, buffered: int) -> None:
        """Takes what a tick has shown.

        Args:
            late: How late timers fired, in seconds.
            running: How many answers run.
            buffered: How many bytes of them wait for readers.
        """
        self._late.extend(late)
        self._buffers_full = buffered > self._buffer_bytes
        if len(self._late) == _WINDOW and median(self._late) > self._lateness:
            self._limit = max(self._least, min(self._limit, running) * _SHRINK)
        else:
            self._limit = min(self._most, self._limit * (1 + _GROW) + 1)

    async def measure(self, running: Callable[[], int], buffered: Callable[[], int]) -> None:
        """Measures, while enough answers run, until it is cancelled."""
        loop = asyncio.get_running_loop()
        step = TICK_SECONDS / _SAMPLES_A_TICK
        while True:
            if running() < self._least and self._limit >= self._most:
                self._late.clear()
                self._buffers_full = buffered() > self._buffer_bytes
                await anyio.sleep(_IDLE_SECONDS)
                continue
            late = []
            for _ in range(_SAMPLES_A_TICK):
                due = loop.time() + step
                await anyio.sleep(step)
                late.append(loop.time() - due)
            self.tick(late, running=running(), buffered=buffered())
