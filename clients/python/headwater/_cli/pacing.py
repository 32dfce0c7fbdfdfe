"""How many uploads run at a time, and how long a server that does not answer is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

FIRST_UPLOADS = 4
MOST_UPLOADS = 16
_LONGEST_WAIT = 30.0
_FIRST_WAIT = 0.5


class Turns:
    """Lets so many uploads run as the server takes: one more after each round that went well, half after a refusal.

    This is TCP's additive increase, multiplicative decrease (RFC 5681, section 3.1).
    """

    def __init__(self, *, first: int = FIRST_UPLOADS, most: int = MOST_UPLOADS) -> None:
        self._limit = float(first)
        self._most = most
        self._running = 0
        self._stopped = False
        self._changed = threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Waits for a turn, and has it as long as the context lasts. False: it was stopped, so there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._running < int(self._limit))
            if not self._stopped:
                self._running += 1
            stopped = self._stopped
        try:
            yield not stopped
        finally:
            if not stopped:
                with self._changed:
                    self._running -= 1
                    self._changed.notify()

    def went_well(self) -> None:
        """An upload was taken."""
        with self._changed:
            self._limit = min(float(self._most), self._limit + 1 / self._limit)
            self._changed.notify()

    def refused(self) -> None:
        """The server had too much to do."""
        with self._changed:
            self._limit = max(1.0, self._limit / 2)

    def stop(self) -> None:
        """Gives no turns any longer."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


class Patience:
    """How long to go on trying while nothing succeeds. For several threads; any success of one restores that of all."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._failing_since: float | None = None
        self._lock = threading.Lock()

    def failed(self) -> bool:
        """Something failed. True: it is the first failure after a success."""
        with self._lock:
            first = self._failing_since is None
            if self._failing_since is None:
                self._failing_since = time.monotonic()
            return first

    def succeeded(self) -> bool:
        """Something succeeded. True: it is the first success after a failure."""
        with self._lock:
            first = self._failing_since is not None
            self._failing_since = None
            return first

    @property
    def is_over(self) -> bool:
        """Whether it has lasted too long."""
        with self._lock:
            return self._failing_since is not None and time.monotonic() - self._failing_since > self.seconds


def waiting_time(tried: int, asked: float | None) -> float:
    """Seconds until the next try: what the server asks for, or twice as long each time; at most 30.

    Args:
        tried: How many tries there were.
        asked: What the server says, if anything.
    """
    return min(asked or _FIRST_WAIT * 2.0 ** min(tried - 1, 10), _LONGEST_WAIT)
