"""What goes between the service and a worker, pickled, over a pair of sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from headwater_server.retrieval.workers.limits import WorkerLimits

Task = Callable[[Any], Iterator[Any]]
"""What a worker does with each request: yields the pieces of the result. Picklable, as requests and pieces are.

It lives as long as its worker and may keep what is dear to make.
"""


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a worker."""

    import_path: tuple[str, ...]
    """The service's `sys.path`."""
    limits: WorkerLimits
    task: bytes
    """The pickled task, to be read once the path is set."""


@dataclass(frozen=True, slots=True)
class Job:
    """A request to a worker, one at a time."""

    request: Any
    seconds: float
    """How long it may take at most."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has set itself up."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the result."""

    value: Any


@dataclass(frozen=True, slots=True)
class Done:
    """The result is whole; the worker waits for the next job."""


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """The job needed more memory than the worker has; it ends itself."""


@dataclass(frozen=True, slots=True)
class Raised:
    """The task raised; the worker waits for the next job."""

    kind: str
    """The name of the exception's type."""
    traceback: str


Answer = Ready | Piece | Done | OutOfMemory | Raised
