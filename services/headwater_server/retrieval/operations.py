"""Work that is done to its end even if the caller who asked for it goes away."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from anyio import Event
from anyio.abc import TaskGroup

from headwater_server.errors import Reason, ServiceError
from headwater_server.owned_tasks import owned_tasks

T = TypeVar("T")

_RETRY_SECONDS = 1.0


class _Outcome(Generic[T]):
    """What became of a piece of work."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._results: list[T] = []
        self._error: Exception | None = None
        self._ended = Event()

    async def run(self) -> None:
        try:
            self._results.append(await self._work())
        except Exception as error:
            self._error = error
        finally:
            self._ended.set()

    async def wait(self) -> T:
        await self._ended.wait()
        if self._error:
            raise self._error
        if not self._results:
            raise ServiceError(Reason.SERVER_DRAINING, "the server is stopping", retry_after=_RETRY_SECONDS)
        return self._results[0]


class Operations:
    """Runs work in tasks of the service's own.

    For what changes the catalog and the store one after the other: between the two, no cancellation of a call may stop
    it. A shielded scope is not enough, because grpc cancels the task itself, which no scope holds off.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncGenerator[Operations]:
        """Operations that are all ended when this is left; new ones must not begin by then."""
        async with owned_tasks(cancel=False) as tasks:
            yield cls(tasks)

    async def complete(self, work: Callable[[], Awaitable[T]]) -> T:
        """Does the work, and returns or raises what it does; where the caller is cancelled, the work still goes on.

        Raises:
            ServiceError: The service is ending, and has stopped the work (SERVER_DRAINING).
        """
        outcome = _Outcome(work)
        self._tasks.start_soon(outcome.run)
        return await outcome.wait()
