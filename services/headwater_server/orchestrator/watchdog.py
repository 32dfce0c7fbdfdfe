"""The three limits of an answer, kept by one timer instead of one for each token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

import anyio

from headwater_server.errors import Reason, ServiceError

_LEAST_PAUSE = 0.05
"""How often to look, in seconds, whether a slow reader is back, where `between_tokens` is shorter."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait, in seconds; see `headwater.v1.AnswerLimits`."""

    first_token: float
    between_tokens: float
    total: float


class Expired(Enum):
    """Which limit was reached."""

    FIRST_TOKEN = auto()
    BETWEEN_TOKENS = auto()
    TOTAL = auto()


class Watchdog:
    """Notes when something was said, and cancels a scope when a limit is reached.

    Args:
        limits: The limits.
        start: When the request arrived, by `time.monotonic`.
        taken_over: When an earlier owner's answer was taken over; the assistant's silence counts from then, because
            nobody could hear it before. None: it was begun here.
        spoken: Whether the assistant had begun by then.
    """

    def __init__(self, limits: Limits, *, start: float, taken_over: float | None = None, spoken: bool = False) -> None:
        self._limits = limits
        self._start = start
        self._listening = start if taken_over is None else taken_over
        self._last = taken_over if spoken else None
        self._paused = False
        self._scope: anyio.CancelScope | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # when the timer goes off
        self.first_token: float | None = None
        """When the first text or reasoning came here, by `time.monotonic`."""
        self.expired: Expired | None = None
        """Which limit was reached, once one was."""

    def heard(self) -> None:
        """Notes that text or reasoning came."""
        self._last = time.monotonic()
        if self.first_token is None:
            self.first_token = self._last
            self._hasten()  # from the first token on, another limit counts

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While the answer waits for its reader, the assistant's silence does not count; `total` goes on."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False
            self._last = time.monotonic()
            self._hasten()

    @contextmanager
    def watching(self, scope: anyio.CancelScope) -> Iterator[None]:
        """Cancels `scope` when a limit is reached, for as long as the context lasts.

        A bare timer of asyncio: a task, with the group and the scopes it needs, is nine callbacks of the event loop.
        """
        self._scope = scope
        self._look()
        try:
            yield
        finally:
            self._scope = None
            self._drop_timer()

    def _look(self) -> None:
        """Looks whether a limit is reached, and comes back when that may be so next."""
        if self._scope is None:
            return
        now = time.monotonic()
        due, limit = self._next()
        if now < due:
            self._come_back(due, now)
        elif self._paused and limit is Expired.BETWEEN_TOKENS:
            later = now + max(self._limits.between_tokens, _LEAST_PAUSE)
            self._come_back(min(later, self._start + self._limits.total), now)
        else:
            self.expired = limit
            self._scope.cancel()

    def _come_back(self, due: float, now: float) -> None:
        self._drop_timer()
        self._due = due
        self._timer = asyncio.get_running_loop().call_later(due - now, self._look)

    def _hasten(self) -> None:
        """Comes back earlier where another limit is due before the one that is waited for."""
        if self._timer is not None and self._next()[0] < self._due:
            self._look()

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> tuple[float, Expired]:
        total = self._start + self._limits.total
        if self._last is None:
            return min(
                (self._listening + self._limits.first_token, Expired.FIRST_TOKEN), (total, Expired.TOTAL), key=_when
            )
        return min(
            (self._last + self._limits.between_tokens, Expired.BETWEEN_TOKENS), (total, Expired.TOTAL), key=_when
        )

    def failure(self, *, answer: str, assistant: str) -> ServiceError:
        """The error that the limit that was reached ends a call with; `total`, before any text, counts as the first."""
        if self.expired is Expired.BETWEEN_TOKENS:
            limit, reason = self._limits.between_tokens, Reason.STREAM_STALLED
            message = f"{assistant} began, then said nothing for {limit:g} s"
        else:
            limit = self._limits.first_token if self.expired is Expired.FIRST_TOKEN else self._limits.total
            reason = Reason.FIRST_TOKEN_TIMEOUT
            message = f"{assistant} {'said nothing' if self.first_token is None else 'gave no text'} within {limit:g} s"
        metadata = {"answer": answer, "provider": assistant.partition("/")[0], "limit_seconds": f"{limit:g}"}
        return ServiceError(reason, message, metadata=metadata)


def _when(item: tuple[float, Expired]) -> float:
    return item[0]
