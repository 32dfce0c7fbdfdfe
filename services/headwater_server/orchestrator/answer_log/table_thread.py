"""The thread that uses the table of answers: what waits for it is done together.

To begin an answer, or to end one, is one statement. By itself each is a transaction, a hop to a thread and back, and
several turns of who runs, the thread or the event loop; when many begin at once that is most of what a beginning costs.
So the statements that have come while others were under way become one transaction.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from anyio import to_thread

from headwater_server.orchestrator.answer_log.protocol import LogUnavailable
from headwater_server.orchestrator.answer_log.table import AnswerTable

T = TypeVar("T")

MOST_TOGETHER = 32
"""How many statements are one transaction at most: none of them is done before all are."""


@dataclass(frozen=True, slots=True)
class Together:
    """How work is done together with other work."""

    first: Callable[[], object]
    """Its statement, in a transaction with those of others. It changes nothing but the table."""
    then: Callable[[], Any]
    """What follows once that is committed; returns what the work returns."""


@dataclass(slots=True, eq=False)
class _Work:
    """What is to be done, and who waits for it."""

    alone: Callable[[], Any]
    together: Together | None
    done: asyncio.Future[Any]
    result: Any = field(default=None, init=False)
    failure: BaseException | None = field(default=None, init=False)

    def run(self, step: Callable[[], Any]) -> None:
        """Does it, one way or the other."""
        try:
            self.result = step()
        except BaseException as error:  # it is whoever waits for it who gets it
            self.failure = error

    def settle(self) -> None:
        """Tells who waits, if anybody still does."""
        if self.done.done():
            return
        if self.failure is None:
            self.done.set_result(self.result)
        else:
            self.done.set_exception(self.failure)


class TableThread:
    """Does work on the table, one after another, in a thread of its own; belongs to the running event loop.

    Args:
        table: The table, which nobody else uses.
    """

    def __init__(self, table: AnswerTable) -> None:
        self._table = table
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="answer-log", daemon=True)
        self._thread.start()

    async def use(self, alone: Callable[[], T], *, together: Together | None = None) -> T:
        """Does work; once begun it is done to its end, whoever is cancelled meanwhile.

        Args:
            alone: The work.
            together: How it can be done together with other work; None: it cannot.

        Raises:
            LogUnavailable: The log is closed.
            Exception: What the work raises.
        """
        if self._closed:
            raise _closed()
        work = _Work(alone, together, self._loop.create_future())
        self._waiting.put(work)
        with anyio.CancelScope(shield=True):
            await work.done
        result: T = work.result
        return result

    async def aclose(self) -> None:
        """Ends the thread, after what it is at, and closes the table. Work that waits is not done."""
        self._closed = True
        self._waiting.put(None)
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._thread.join)
        self._table.close()

    def _work(self) -> None:
        while True:
            works = self._next()
            last = works[-1] is None
            todo = [work for work in works if work is not None and not work.done.cancelled()]
            self._do(todo)
            if todo:
                with suppress(RuntimeError):  # nobody waits any more: the event loop is closed
                    self._loop.call_soon_threadsafe(_settle, todo)
            if last:
                return

    def _next(self) -> list[_Work | None]:
        """The work that waits, up to what ends the thread; waits for some."""
        works = [self._waiting.get()]
        while works[-1] is not None and len(works) < MOST_TOGETHER:
            try:
                works.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return works

    def _do(self, works: Sequence[_Work]) -> None:
        several: list[_Work] = []
        for work in works:
            if work.together is not None:
                several.append(work)
                continue
            self._do_together(several)
            several = []
            self._do_alone(work)
        self._do_together(several)

    def _do_together(self, works: Sequence[_Work]) -> None:
        """Does work in one transaction; each by itself where that fails, so that each gets its own failure."""
        if len(works) <= 1 or not self._committed([work.together.first for work in works if work.together is not None]):
            for work in works:
                self._do_alone(work)
            return
        for work in works:
            if work.together is not None:
                work.run(work.together.then)

    def _committed(self, statements: Sequence[Callable[[], object]]) -> bool:
        """Whether statements could be done in one transaction; if not, nothing was changed."""
        if self._closed:
            return False
        try:
            with self._table.transaction():
                for statement in statements:
                    statement()
        except Exception:  # each gets its own when it is done by itself
            return False
        return True

    def _do_alone(self, work: _Work) -> None:
        work.run(_refused if self._closed else work.alone)


def _settle(works: Sequence[_Work]) -> None:
    for work in works:
        work.settle()


def _refused() -> None:
    raise _closed()


def _closed() -> LogUnavailable:
    return LogUnavailable("the answer log is closed")
