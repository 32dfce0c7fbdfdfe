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

    A broken connection and a server that stops are worth another try, for as long as the server keeps the answer, and
    so is CANCELLED, which gRPC gives calls that a server has taken when it closes: nobody here has cancelled this one.
    Every other status of a Headwater server is final. A server that does not know the answer any more, or cannot
    resume, leaves it at the failure that came first.

    One that has too much to do, and has begun nothing, is asked again twice, after the time it says and some more, so
    that those who were refused together do not come back together.

    No wait is longer than the caller's own timeout leaves it.

    Args:
        enabled: Whether to resume at all.
        deadline: When the caller wants it to have ended.
        window: How long to try, in seconds, from the last message on.
        clock: Gives the time in seconds.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        deadline: Deadline,
        window: float = WINDOW,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._enabled = enabled
        self._deadline = deadline
        self._too_late: exc.DeadlineExceeded | None = None
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
        pause = self._wanted_pause(error, begun=begun)
        left = self._deadline.left()
        if left is None or pause < left:
            return pause
        self._too_late = _too_late(error)
        return left

    def require_time(self) -> None:
        """Makes sure, after a pause, that there is time for another try.

        Raises:
            DeadlineExceeded: The caller's timeout was over with the pause.
        """
        if self._too_late is not None:
            raise self._too_late

    def _wanted_pause(self, error: exc.HeadwaterError, *, begun: bool) -> float:
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
        if isinstance(error, exc.ServerDraining | exc.ConnectionLost | exc.CallCancelled):
            return True
        return isinstance(error, exc.ConnectionFailed) and (begun or self._first is not None)

    def _final(self, error: exc.HeadwaterError) -> exc.HeadwaterError:
        gave_nothing = isinstance(error, exc.NotFound | exc.NotImplementedByServer | exc.ConnectionFailed)
        return self._first if self._first is not None and gave_nothing else error


def _too_late(error: exc.HeadwaterError) -> exc.DeadlineExceeded:
    """What a caller gets whose timeout was over while a failure was waited out."""
    made = exc.DeadlineExceeded(
        f"the timeout was over before another try; the last one failed: {error.message}",
        code="DEADLINE_EXCEEDED",
        answer=getattr(error, "answer", ""),
        partial=getattr(error, "partial", ""),
        request_id=getattr(error, "request_id", ""),
    )
    made.__cause__ = error
    return made


class Deadline:
    """When the calls of one answer, and the waits between them, must have ended.

    Args:
        timeout: Seconds from the first `left` on. None: never.
        clock: Gives the time in seconds.
    """

    def __init__(self, timeout: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout
        self._clock = clock
        self._at: float | None = None

    def left(self) -> float | None:
        """Seconds that are left; 0 when there are none. None: without limit."""
        if self._timeout is None:
            return None
        now = self._clock()
        if self._at is None:
            self._at = now + self._timeout
        return max(self._at - now, 0.0)


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
