"""One worker process, seen from the service."""

from __future__ import annotations

import pickle
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from anyio import CapacityLimiter, to_thread, wait_readable

from headwater_server.retrieval.workers.errors import WorkerDied
from headwater_server.retrieval.workers.limits import WorkerLimits
from headwater_server.retrieval.workers.messages import Answer, Job, Setup, Task

_EXIT_SECONDS = 5


class Worker:
    """A worker process and its channel; used by one task at a time.

    Blocking calls run in threads that are given up when their caller is cancelled. Whoever is cancelled kills the
    worker, which ends the thread too; the channel's descriptor is closed when the last of them has let go of it.
    """

    def __init__(self, process: subprocess.Popen[bytes], channel: Connection[Setup | Job, Answer]) -> None:
        self._process = process
        self._channel = channel
        self._limiter = CapacityLimiter(2)  # a thread that was given up, and one for the farewell

    @classmethod
    def start(cls, task: Task, limits: WorkerLimits) -> Worker:
        """Starts a worker; it says `Ready` when it is. Blocks for some milliseconds.

        Raises:
            OSError: No process can be started.
        """
        setup = Setup(tuple(sys.path), limits, pickle.dumps(task))
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                    [sys.executable, "-P", "-m", "headwater_server.retrieval.workers.process", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        channel: Connection[Setup | Job, Answer] = Connection(ours.detach())
        worker = cls(process, channel)
        with suppress(OSError):  # it is dead already, and the first `receive` will say so
            channel.send(setup)
        return worker

    @property
    def process_id(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether a worker without a job is there; it has nothing to say, so that its channel is silent."""
        return not self._channel.poll() and self._process.poll() is None

    async def send(self, job: Job) -> None:
        """Gives the worker a job.

        Raises:
            WorkerDied: It is no more.
        """
        try:
            await to_thread.run_sync(self._channel.send, job, abandon_on_cancel=True, limiter=self._limiter)
        except OSError as error:
            raise WorkerDied(await self._cause_of_death()) from error

    async def receive(self) -> Answer:
        """The worker's next message.

        Raises:
            WorkerDied: It is no more.
        """
        try:
            await wait_readable(self._channel.fileno())
            return await to_thread.run_sync(self._channel.recv, abandon_on_cancel=True, limiter=self._limiter)
        except (EOFError, OSError) as error:
            raise WorkerDied(await self._cause_of_death()) from error

    async def kill(self) -> None:
        """Ends the process at once, whatever it does."""
        self._process.kill()
        await to_thread.run_sync(self._reap, limiter=self._limiter)

    async def stop(self) -> None:
        """Ends a process that has no job."""
        self._channel.close()
        await to_thread.run_sync(self._reap, limiter=self._limiter)

    async def _cause_of_death(self) -> str:
        code = await to_thread.run_sync(self._reap, limiter=self._limiter)
        if code < 0:
            try:
                return f"the worker was killed by {signal.Signals(-code).name}"
            except ValueError:
                return f"the worker was killed by signal {-code}"
        return f"the worker ended with exit code {code}"

    def _reap(self) -> int:
        try:
            return self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
