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
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TYPE_CHECKING

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
)

if TYPE_CHECKING:
    Channel = Connection[Answer, Setup | Job]


def main(descriptor: int) -> None:
    """Works until the service has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel: Channel = Connection(descriptor)
    task = _set_up(channel)
    jobs: SimpleQueue[Job] = SimpleQueue()
    threading.Thread(target=_receive, args=(channel, jobs), daemon=True).start()
    channel.send(Ready())
    while True:
        _work(task, jobs.get(), channel)


def _set_up(channel: Channel) -> Task:
    setup = channel.recv()
    if not isinstance(setup, Setup):
        raise TypeError(f"the first message is {type(setup).__name__}, not Setup")
    sys.path[:] = setup.import_path
    apply_limits(setup.limits)
    task: Task = pickle.loads(setup.task)  # noqa: S301 (from our own parent process)
    return task


def _receive(channel: Channel, jobs: SimpleQueue[Job]) -> None:
    """Reads in a thread of its own, so that the worker ends with the service even in the middle of a job."""
    try:
        while True:
            job = channel.recv()
            if isinstance(job, Job):
                jobs.put(job)
    except (EOFError, OSError):
        os._exit(0)


def _work(task: Task, job: Job, channel: Channel) -> None:
    limit_cpu(job.seconds)
    try:
        for piece in task(job.request):
            channel.send(Piece(piece))
    except BrokenPipeError:
        os._exit(0)
    except MemoryError:
        channel.send(OutOfMemory())
        os._exit(1)  # what is left of its memory may be in pieces: another worker takes the next job
    except Exception as error:
        channel.send(Raised(type(error).__name__, traceback.format_exc()))
    else:
        channel.send(Done())


if __name__ == "__main__":
    main(int(sys.argv[1]))
