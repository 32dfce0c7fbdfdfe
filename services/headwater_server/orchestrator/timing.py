"""How long the parts of an answer took."""

from __future__ import annotations

import time
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from headwater.v1 import answer_pb2
from headwater_server.orchestrator.watchdog import Watchdog


@dataclass(frozen=True, slots=True)
class Clock:
    """When an answer began, by `time.monotonic`."""

    start: float
    """When the request arrived."""
    taken_over: float | None = None
    """When it was taken over from an owner who died; None where it began here."""

    @classmethod
    def since(cls, created: float) -> Clock:
        """The clock of an answer taken over now, which was begun at a time in seconds since 1970.

        Between two processes only the wall clock tells how long it has run; one that was set back counts as none.
        """
        now = time.monotonic()
        return cls(now - max(0.0, time.time() - created), now)


class Stopwatch:
    """Notes when the parts of one answer ended, by the monotonic clock.

    Args:
        clock: When it began.
        watchdog: Knows when the first token came.
        spoken: Whether an earlier owner had heard the first token: nobody knows when.
    """

    def __init__(self, clock: Clock, watchdog: Watchdog, *, spoken: bool) -> None:
        self._start = clock.start
        self._watchdog = watchdog
        self._spoken = spoken
        self._retrieved: float | None = None
        self._condensed: float | None = None

    @property
    def elapsed(self) -> float:
        """The time since the request arrived, in seconds."""
        return time.monotonic() - self._start

    def retrieved(self) -> None:
        """Notes that the search has ended."""
        self._retrieved = time.monotonic()

    def condensed(self, seconds: float) -> None:
        """Notes how long it took to make a query of the conversation."""
        self._condensed = seconds

    def timings(self) -> answer_pb2.Timings:
        """How long the parts took up to now."""
        now = time.monotonic()
        first = None if self._spoken else self._watchdog.first_token
        timings = answer_pb2.Timings(total=_duration(now - self._start))
        if self._retrieved is not None:
            timings.retrieval.CopyFrom(_duration(self._retrieved - self._start))
        if self._condensed is not None:
            timings.condensation.CopyFrom(_duration(self._condensed))
        if first is not None:
            timings.first_token.CopyFrom(_duration(first - self._start))
            timings.generation.CopyFrom(_duration(now - first))
        return timings


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(max(0, round(seconds * 1_000_000)))
    return duration
