"""What goes between the service and a worker, over a pair of sockets.

What a worker is sent is pickled. What it says never is, because unpickling runs what the sender wants, and a worker may
belong to a document by then: it sends a byte for the kind of message and the message's own bytes, with a bound.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Protocol

from headwater_server.retrieval.workers.limits import WorkerLimits
from headwater_server.retrieval.workers.sandbox import Deed, Protection

MOST_BYTES = 64 * 1024 * 1024
"""The most that a worker says in one message; longer ones cost it its life."""
_MOST_CHARACTERS = 16 * 1024
"""The most that is kept of a traceback."""


class Task(Protocol):
    """What a worker does with each request; picklable, as requests are.

    It lives as long as its worker and may keep what is dear to make.
    """

    def __call__(self, request: Any, file: BinaryIO | None, /) -> Iterator[bytes]:
        """Yields the pieces of the result, each of at most `MOST_BYTES` less one.

        Args:
            request: What the service asks.
            file: The file that the service has opened for it, to read; a worker can open none of its own.
        """
        ...


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a worker."""

    import_path: tuple[str, ...]
    """The service's `sys.path`."""
    readable: tuple[str, ...]
    """What it may read, with all that is beneath."""
    limits: WorkerLimits
    task: bytes
    """The pickled task, to be read once the path is set."""


@dataclass(frozen=True, slots=True)
class Job:
    """A request to a worker, one at a time."""

    request: Any
    seconds: float
    """How long it may take at most."""
    has_file: bool
    """Whether the descriptor of a file follows."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has set itself up."""

    protections: tuple[Protection, ...]
    """What keeps documents from doing harm in it, and what does not."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the result."""

    value: bytes


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


class NotUnderstood(Exception):
    """What a worker has said has no meaning."""


def encode(answer: Answer) -> bytes:
    """An answer's bytes."""
    match answer:
        case Piece(value):
            return b"P" + value
        case Ready(protections):
            return b"S" + json.dumps([asdict(each) for each in protections]).encode()
        case Done():
            return b"D"
        case OutOfMemory():
            return b"M"
        case Raised(kind, traceback):
            return b"R" + json.dumps([kind, traceback[-_MOST_CHARACTERS:]]).encode()


def decode(message: bytes) -> Answer:
    """The answer in a message.

    Raises:
        NotUnderstood: There is none.
    """
    kind, content = message[:1], message[1:]
    try:
        match kind:
            case b"P":
                return Piece(content)
            case b"S":
                return Ready(tuple(_protection(each) for each in json.loads(content)))
            case b"D":
                return Done()
            case b"M":
                return OutOfMemory()
            case b"R":
                name, traceback = json.loads(content)
                return Raised(str(name)[:100], str(traceback)[-_MOST_CHARACTERS:])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise NotUnderstood(f"a message of kind {kind!r} is not as it must be") from error
    raise NotUnderstood(f"there is no message of kind {kind!r}")


def _protection(value: Any) -> Protection:
    return Protection(Deed(value["deed"]), str(value["by"]), str(value["lacking"]))
