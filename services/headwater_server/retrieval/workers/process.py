"""A worker process: `python -m headwater_server.retrieval.workers.process DESCRIPTOR`, started by `worker.Worker`.

It does one job at a time until the other end of its socket is closed: on purpose, or because the service has died.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback
from multiprocessing import reduction
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO

from headwater_server.retrieval.workers.limits import apply_limits, limit_cpu
from headwater_server.retrieval.workers.messages import (
    Answer,
    Done,
    Job,
    OutOfMemory,
    Piece,
    Raised,
    Ready,
    Setup,
    Task,
    encode,
)
from headwater_server.retrieval.workers.sandbox import enter_sandbox

if TYPE_CHECKING:
    Channel = Connection[Any, Setup | Job]
    Jobs = SimpleQueue[tuple[Job, BinaryIO | None]]


def main(descriptor: int) -> None:
    """Works until the service has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel: Channel = Connection(descriptor)
    setup = channel.recv()
    if not isinstance(setup, Setup):
        raise TypeError(f"the first message is {type(setup).__name__}, not Setup")
    sys.path[:] = setup.import_path
    apply_limits(setup.limits)
    protections = enter_sandbox(setup.readable)  # before any thread, and before a document
    task: Task = pickle.loads(setup.task)  # noqa: S301 (from our own parent process)
    jobs: Jobs = SimpleQueue()
    threading.Thread(target=_receive, args=(channel, jobs), daemon=True).start()
    _say(channel, Ready(protections))
    while True:
        _work(task, *jobs.get(), channel)


def _receive(channel: Channel, jobs: Jobs) -> None:
    """Reads in a thread of its own, so that the worker ends with the service even in the middle of a job."""
    try:
        while True:
            job = channel.recv()
            if isinstance(job, Job):
                jobs.put((job, os.fdopen(reduction.recv_handle(channel), "rb") if job.has_file else None))
    except (EOFError, OSError):
        os._exit(0)


def _work(task: Task, job: Job, file: BinaryIO | None, channel: Channel) -> None:
    limit_cpu(job.seconds)
    try:
        for piece in task(job.request, file):
            _say(channel, Piece(piece))
    except BrokenPipeError:
        os._exit(0)
    except MemoryError:
        _say(channel, OutOfMemory())
        os._exit(1)  # what is left of its memory may be in pieces: another worker takes the next job
    except Exception as error:
        _say(channel, Raised(type(error).__name__, traceback.format_exc()))
    else:
        _say(channel, Done())
    finally:
        if file is not None:
            file.close()


def _say(channel: Channel, answer: Answer) -> None:
    channel.send_bytes(encode(answer))


if __name__ == "__main__":
    main(int(sys.argv[1]))
