"""When to resume an answer, and when to give up; shared by the sync and the async reader. Nothing here does I/O.

That an answer is resumed is unseen, but for the logger `headwater.client`: it says so once for each break, as INFO.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from headwater import _exceptions as exc
from headwater._transcript import Transcript
from headwater.v1 import answer_service_pb2

WINDOW = 20.0
"""How long the server keeps an answer going without a reader, and how long a reader tries to come back, in seconds."""

_log = logging.getLogger("headwater.client")

_ASKED_AGAIN = 2
"""How often a server is asked again that has refused to begin an answer because it has too much to do."""
_LONGEST_REFUSAL = 5.0
"""A server that says to come back later than that, in seconds, is not waited for."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


class Resumption:
    """Decides after each failure of a stream whether, and when, to go on with it.

    A broken connection and a server that stops are worth another try, for as long as the server keeps the answer;
    every other status of a Headwater server is final. A server that does not know the answer any more, or cannot
    resume, leaves it at the failure that came first.

    One that has too much to do, and has begun nothing, is asked again twice, after the time it says and some more, so
    that those who were refused together do not come back together.

    Args:
        enabled: Whether to resume at all.
        window: How long to try, in seconds, from the last message on.
        clock: Gives the time in seconds.
    """

    def __init__(self, *, enabled: bool, window: float = WINDOW, clock: Callable[[], float] = time.monotonic) -> None:
        self._enabled = enabled
        self._window = window
        self._clock = clock
        self._first: exc.HeadwaterError | None = None
        self._until = 0.0
        self._tries = 0
        self._refusals = 0

    def progressed(self) -> None:
        """Notes that a message came."""
        self._first = None

    def pause_after(self, error: exc.HeadwaterError, *, begun: bool) -> float:
        """How long to wait before the next try, in seconds.

        Args:
            error: Why the stream has ended.
            begun: Whether anything of the answer has come yet.

        Raises:
            HeadwaterError: There is none: this failure, or the one that came first, is final.
        """
        if self._enabled and not begun and isinstance(error, exc.Overloaded):
            return self._pause_after_refusal(error)
        if not self._enabled or not self._is_worth_a_try(error, begun=begun):
            raise self._final(error) from None
        now = self._clock()
        if self._first is None:
            self._first, self._until, self._tries = error, now + self._window, 0
            _log.info(
                "%s; going on with %s", error.message.rstrip(". "), getattr(error, "answer", "") or "the question"
            )
        if now >= self._until:
            raise self._final(error) from None
        pause = min(_FIRST_PAUSE * 2.0**self._tries, _LONGEST_PAUSE) * random.random()  # noqa: S311 (no secret)
        if not self._tries and not isinstance(error, exc.ServerDraining):
            pause = 0.0
        self._tries += 1
        return min(max(pause, getattr(error, "retry_after", None) or 0.0), self._until - now)

    def _pause_after_refusal(self, refusal: exc.Overloaded) -> float:
        self._refusals += 1
        wait = refusal.retry_after
        if wait is None or wait > _LONGEST_REFUSAL or self._refusals > _ASKED_AGAIN:
            raise refusal from None
        return wait * random.uniform(1.0, 1.5)  # noqa: S311 (no secret)

    def _is_worth_a_try(self, error: exc.HeadwaterError, *, begun: bool) -> bool:
        if isinstance(error, exc.ServerDraining | exc.ConnectionLost):
            return True
        return isinstance(error, exc.ConnectionFailed) and (begun or self._first is not None)

    def _final(self, error: exc.HeadwaterError) -> exc.HeadwaterError:
        gave_nothing = isinstance(error, exc.NotFound | exc.NotImplementedByServer | exc.ConnectionFailed)
        return self._first if self._first is not None and gave_nothing else error


class Deadline:
    """When the calls of one answer must have ended, together.

    Args:
        timeout: Seconds from now. None: never.
    """

    def __init__(self, timeout: float | None) -> None:
        self._at = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Seconds that are left for the next call; never 0."""
        return None if self._at is None else max(self._at - time.monotonic(), 0.001)


def leaves_it_running(error: exc.HeadwaterError) -> bool:
    """Whether the server may still be making an answer that a client has given up for this reason.

    It may where the client's own deadline has passed, or where it cannot make sense of what comes. Where the server
    itself has said what happened, the answer has ended; and where it cannot be reached, it cannot be told.
    """
    if isinstance(error, exc.AnswerClosed | exc.ConnectionFailed | exc.ConnectionLost | exc.ClientClosed):
        return False
    return not getattr(error, "reason", "")


def resume_request(transcript: Transcript) -> answer_service_pb2.ResumeAnswerRequest:
    """Asks for what follows what has come so far: everything, where nothing has."""
    return answer_service_pb2.ResumeAnswerRequest(name=transcript.name, after_sequence=transcript.last_sequence)
