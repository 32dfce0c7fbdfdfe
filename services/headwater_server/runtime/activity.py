"""Which calls are under way, so that a draining server knows when the last has ended, and can end the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import anyio


class RunningCall:
    """One call that is under way, in the task that serves it; a `with` block."""

    __slots__ = ("_activity", "_task", "_undisturbed", "failure", "method")

    def __init__(self, activity: Activity, method: str) -> None:
        self._activity = activity
        self._task: asyncio.Task[Any] | None = None
        self._undisturbed = False
        self.method = method
        """Its path, such as `/headwater.v1.AnswerService/StreamAnswer`."""
        self.failure: Exception | None = None
        """What it was ended with by `end`."""

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._activity.entered(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._activity.left(self)
        if self.failure is not None and self._task is not None and isinstance(error, asyncio.CancelledError):
            self._task.uncancel()
            raise self.failure from None

    def end(self, failure: Exception) -> None:
        """Makes the block raise a failure.

        Its task is cancelled once, as it is when a caller goes away, so it can wait for what it has to tidy up.
        """
        if self.failure is None and self._task is not None:
            self.failure = failure
            if not self._undisturbed:
                self._task.cancel()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """A part of the block that `end` waits for."""
        self._undisturbed = True
        try:
            yield
        finally:
            self._undisturbed = False
            if self.failure is not None and self._task is not None:
                self._task.cancel()


class Activity:
    """The calls under way."""

    def __init__(self) -> None:
        self._calls: set[RunningCall] = set()
        self._idle = anyio.Event()

    def call(self, method: str) -> RunningCall:
        """A call of this path, to be entered by the task that serves it."""
        return RunningCall(self, method)

    def entered(self, call: RunningCall) -> None:
        """Counts a call."""
        self._calls.add(call)

    def left(self, call: RunningCall) -> None:
        """Counts it no more."""
        self._calls.discard(call)
        if not self._calls:
            self._idle.set()
            self._idle = anyio.Event()  # one for all who wait, set once

    def end(self, failure: Exception, *, methods: frozenset[str] | None = None) -> None:
        """Ends calls with a failure.

        Args:
            failure: What their callers get.
            methods: Only calls of these paths; None: all.
        """
        for call in list(self._calls):
            if methods is None or call.method in methods:
                call.end(failure)

    async def idle(self) -> None:
        """Returns when no call is under way."""
        while self._calls:
            await self._idle.wait()
