"""How a job in a worker can fail.

WorkerError
├── WorkerUnavailable   no worker can be started, or do any job; nothing is known of the job
├── TaskRaised          the task raised an exception; the worker lives
└── WorkerLost          the job has cost a worker
    ├── WorkerDied      it crashed, or was killed by another
    ├── WorkerHung      it took too long, or gave no sign of life, and was killed
    └── WorkerOutOfMemory
"""

from __future__ import annotations


class WorkerError(Exception):
    """A job in a worker failed."""


class WorkerUnavailable(WorkerError):
    """A worker cannot be started, or lacks what every job needs."""


class TaskRaised(WorkerError):
    """The task raised.

    Attributes:
        kind: The name of the exception's type.
        traceback: Where, in the worker; for the log.
    """

    def __init__(self, kind: str, traceback: str) -> None:
        super().__init__(f"the task raised {kind}")
        self.kind = kind
        self.traceback = traceback


class WorkerLost(WorkerError):
    """The job has cost a worker."""


class WorkerDied(WorkerLost):
    """The worker crashed, or was killed."""


class WorkerHung(WorkerLost):
    """The worker was killed because the job took too long."""


class WorkerOutOfMemory(WorkerLost):
    """The job needed more memory than a worker may use."""
