"""One worker process, seen from the service."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, BinaryIO

from anyio import CapacityLimiter, to_thread, wait_readable

from headwater_server.parent import environment
from headwater_server.retrieval.workers.errors import WorkerDied
from headwater_server.retrieval.workers.limits import WorkerLimits
from headwater_server.retrieval.workers.messages import MOST_BYTES, Answer, Job, NotUnderstood, Setup, Task, decode
from headwater_server.retrieval.workers.sandbox import readable_paths

_EXIT_SECONDS = 5
_LAST_WORDS = 2000


class Worker:
    """A worker process and its channel; used by one task at a time.

    Blocking calls run in threads that are given up when their caller is cancelled. Whoever is cancelled kills the
    worker, which ends the thread too; the channel's descriptor is closed when the last of them has let go of it.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], channel: Connection[Setup | Job, Any], errors: IO[bytes]
    ) -> None:
        self._process = process
        self._channel = channel
        self._errors = errors
        self._limiter = CapacityLimiter(2)  # a thread that was given up, and one for the farewell

    @classmethod
    def start(cls, task: Task, limits: WorkerLimits, *, private: Path | None = None) -> Worker:
        """Starts a worker; it says `Ready` when it is. Blocks for some milliseconds.

        Args:
            task: What it does with each request.
            limits: What it may use.
            private: The folder with the documents, of which it may read only what it is handed.

        Raises:
            OSError: No process can be started.
        """
        import_path = tuple(os.path.abspath(each) for each in sys.path)  # noqa: PTH100 (of an empty one, the folder)
        setup = Setup(import_path, readable_paths(import_path, private=private), limits, pickle.dumps(task))
        errors = _file_for_errors(private)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                    [sys.executable, "-P", "-m", "headwater_server.retrieval.workers.process", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=environment(),
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                errors.close()
                raise
        channel: Connection[Setup | Job, Any] = Connection(ours.detach())
        worker = cls(process, channel, errors)
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

    async def send(self, job: Job, file: BinaryIO | None) -> None:
        """Gives the worker a job.

        Args:
            job: The job; it says whether there is a file.
            file: An open file for it.

        Raises:
            WorkerDied: It is no more.
        """

        def send() -> None:
            self._channel.send(job)
            if file is not None:
                reduction.send_handle(self._channel, file.fileno(), self._process.pid)

        try:
            await to_thread.run_sync(send, abandon_on_cancel=True, limiter=self._limiter)
        except OSError as error:
            raise WorkerDied(await self._cause_of_death()) from error

    async def receive(self) -> Answer:
        """The worker's next message.

        Raises:
            WorkerDied: It is no more, or what it says has no meaning.
        """
        try:
            await wait_readable(self._channel.fileno())
            os.set_blocking(self._channel.fileno(), True)  # uvloop leaves what it has waited for without
            message = await to_thread.run_sync(
                self._channel.recv_bytes, MOST_BYTES, abandon_on_cancel=True, limiter=self._limiter
            )
            return decode(message)
        except NotUnderstood as error:
            raise WorkerDied(f"the worker cannot be understood: {error}") from error
        except (EOFError, OSError) as error:
            raise WorkerDied(await self._cause_of_death()) from error

    def last_words(self) -> str:
        """The end of what it wrote to its standard error; for the log, because documents may stand in it."""
        descriptor = self._errors.fileno()
        start = max(os.fstat(descriptor).st_size - _LAST_WORDS, 0)
        # Not by seeking: the worker writes where the descriptor stands, which it shares.
        return os.pread(descriptor, _LAST_WORDS, start).decode(errors="replace").strip()

    async def kill(self) -> None:
        """Ends the process at once, whatever it does."""
        self._process.kill()
        await to_thread.run_sync(self._reap, limiter=self._limiter)
        self._errors.close()

    async def stop(self) -> None:
        """Ends a process that has no job."""
        self._channel.close()
        await to_thread.run_sync(self._reap, limiter=self._limiter)
        self._errors.close()

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


def _file_for_errors(folder: Path | None) -> IO[bytes]:
    """A file without a name for what a worker says on standard error; none where there is no room for one."""
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError:
        return Path(os.devnull).open("w+b")
