"""A few worker processes, started when they are needed and ended when they have long had nothing to do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import anyio
import structlog
from anyio import CancelScope, CapacityLimiter, Event, to_thread

from headwater_server.owned_tasks import owned_tasks
from headwater_server.retrieval.workers.errors import (
    TaskRaised,
    WorkerDied,
    WorkerHung,
    WorkerOutOfMemory,
    WorkerUnavailable,
)
from headwater_server.retrieval.workers.limits import WorkerLimits
from headwater_server.retrieval.workers.messages import Done, Job, OutOfMemory, Piece, Raised, Ready, Task
from headwater_server.retrieval.workers.sandbox import Protection
from headwater_server.retrieval.workers.worker import Worker

log = structlog.get_logger("headwater.workers")

T = TypeVar("T")

_START_SECONDS = 60.0


class WorkerPool:
    """Runs requests in at most `size` processes; the others wait in the order in which they came.

    A worker that dies, hangs or is given up in mid-job is lost with that job and nothing else; the next job gets
    another.

    Args:
        task: What workers do with a request.
        size: How many workers there are at most.
        limits: What each may use.
        idle_seconds: After so long without a job a worker is ended.
        private: The folder with the documents, of which a worker may read only what it is handed; None if there is
            none.
    """

    def __init__(
        self,
        task: Task,
        *,
        size: int,
        limits: WorkerLimits,
        idle_seconds: float = 300.0,
        private: Path | None = None,
    ) -> None:
        if size < 1:
            raise ValueError(f"size is {size}; it must be at least 1")
        self._task = task
        self._limits = limits
        self._idle_seconds = idle_seconds
        self._private = private
        self._protections: tuple[Protection, ...] | None = None
        self._slots = CapacityLimiter(size)
        self._idle: list[tuple[float, Worker]] = []  # since when; the last to have worked is the first to work again
        self._became_idle = Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        task: Task,
        *,
        size: int,
        limits: WorkerLimits,
        idle_seconds: float = 300.0,
        private: Path | None = None,
    ) -> AsyncGenerator[WorkerPool]:
        """A pool that ends its workers when it is left; by then no job may be running."""
        pool = cls(task, size=size, limits=limits, idle_seconds=idle_seconds, private=private)
        try:
            async with owned_tasks(cancel=True) as tasks:
                tasks.start_soon(pool._end_idle_workers)
                yield pool
        finally:
            with CancelScope(shield=True):  # bounded: a worker that does not go is killed
                async with anyio.create_task_group() as farewells:
                    while pool._idle:
                        farewells.start_soon(pool._idle.pop()[1].stop)

    @property
    def idle_workers(self) -> int:
        """How many workers wait for a job."""
        return len(self._idle)

    @property
    def busy_workers(self) -> int:
        """How many jobs run."""
        return self._slots.borrowed_tokens

    async def run(
        self,
        request: Any,
        *,
        file: Path | None = None,
        receive: Callable[[bytes], None],
        silence_seconds: float,
        total_seconds: float,
    ) -> None:
        """Does one job, once a worker is free. Cancelled, it kills the worker.

        Args:
            request: What the task is given.
            file: A file that it may read, besides what belongs to the program.
            receive: Called with each piece of the result, as it comes. What it raises ends the job and costs the
                worker.
            silence_seconds: How long the worker may take for a piece.
            total_seconds: How long it may take for all.

        Raises:
            WorkerUnavailable: No worker can be started.
            TaskRaised: The task raised.
            WorkerDied: The worker crashed.
            WorkerHung: It took too long.
            WorkerOutOfMemory: It needed too much memory.
            OSError: The file cannot be opened.
        """
        async with self._slots, _opened(file) as opened:
            worker = await self._take_worker()
            try:
                job = Job(request, total_seconds, has_file=opened is not None)
                answer = await self._converse(worker, job, opened, receive, silence_seconds)
            except BaseException as error:
                if isinstance(error, WorkerDied):
                    log.warning("worker died", process=worker.process_id, error=str(error), said=worker.last_words())
                await _kill(worker)
                raise
            self._put_back(worker)
            if isinstance(answer, Raised):
                raise TaskRaised(answer.kind, answer.traceback)

    async def _converse(
        self,
        worker: Worker,
        job: Job,
        file: BinaryIO | None,
        receive: Callable[[bytes], None],
        silence_seconds: float,
    ) -> Done | Raised:
        deadline = anyio.current_time() + job.seconds
        await _in_time(worker.send(job, file), silence_seconds, deadline)
        while True:
            match await _in_time(worker.receive(), silence_seconds, deadline):
                case Piece(value):
                    receive(value)
                case (Done() | Raised()) as last:
                    return last
                case OutOfMemory():
                    raise WorkerOutOfMemory(f"more than {self._limits.memory_bytes} bytes of memory were needed")
                case Ready():
                    raise WorkerDied("the worker said that it is ready in the middle of a job")

    def _note(self, protections: tuple[Protection, ...]) -> None:
        """Logs once what workers are kept from, and again should that change."""
        if protections == self._protections:
            return
        self._protections = protections
        kept = {each.deed.value: each.by for each in protections if each.by}
        missing = {each.deed.value: each.lacking for each in protections if not each.by}
        (log.warning if missing else log.info)("the sandbox of workers", kept_from=kept, not_kept_from=missing)

    async def _take_worker(self) -> Worker:
        while self._idle:
            _, worker = self._idle.pop()
            if worker.alive:
                return worker
            await worker.stop()
        try:
            start = partial(Worker.start, self._task, self._limits, private=self._private)
            worker = await to_thread.run_sync(start)
        except OSError as error:
            raise WorkerUnavailable(f"no worker process can be started: {error}") from error
        try:
            with anyio.fail_after(_START_SECONDS):
                first = await worker.receive()
        except (WorkerDied, TimeoutError) as error:
            log.warning("worker did not start", process=worker.process_id, said=worker.last_words())
            await _kill(worker)
            raise WorkerUnavailable(f"a worker process did not get ready: {error}") from error
        except BaseException:
            await _kill(worker)
            raise
        if not isinstance(first, Ready):
            await _kill(worker)
            raise WorkerUnavailable(f"a worker process began with {type(first).__name__}")
        self._note(first.protections)
        log.debug("worker started", process=worker.process_id)
        return worker

    def _put_back(self, worker: Worker) -> None:
        self._idle.append((anyio.current_time(), worker))
        self._became_idle.set()

    async def _end_idle_workers(self) -> None:
        while True:
            if not self._idle:
                self._became_idle = Event()
                await self._became_idle.wait()
                continue
            await anyio.sleep_until(self._idle[0][0] + self._idle_seconds)
            while self._idle and self._idle[0][0] + self._idle_seconds <= anyio.current_time():
                await self._idle.pop(0)[1].stop()


@asynccontextmanager
async def _opened(path: Path | None) -> AsyncGenerator[BinaryIO | None]:
    """A file, open to be read, if there is one."""
    if path is None:
        yield None
        return
    file = await to_thread.run_sync(_open_to_read, path)
    try:
        yield file
    finally:
        file.close()


def _open_to_read(path: Path) -> BinaryIO:
    return path.open("rb", buffering=0)


async def _in_time(step: Coroutine[Any, Any, T], silence_seconds: float, deadline: float) -> T:
    """Awaits a step of a job, for as long as a piece and the whole may take."""
    patience = min(silence_seconds, deadline - anyio.current_time())
    try:
        with anyio.fail_after(patience):
            return await step
    except TimeoutError as error:
        raise WorkerHung(f"the worker was silent for {silence_seconds:g} s, or took too long in all") from error


async def _kill(worker: Worker) -> None:
    with CancelScope(shield=True):  # short: the kernel ends it
        await worker.kill()
