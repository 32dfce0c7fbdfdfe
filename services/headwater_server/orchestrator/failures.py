"""How answers fail for reasons that are the server's."""

from __future__ import annotations

from collections.abc import Callable

from google.rpc import status_pb2

from headwater_server.errors import Reason, ServiceError

DescribeFailure = Callable[[Exception, str], status_pb2.Status]
"""Makes of an exception, and the id under which logs mention the call, the status that a caller would get; a defect is
logged, and becomes an opaque id."""


def draining(answer: str) -> ServiceError:
    """The server stops; another goes on with the answer, or has it ended."""
    return _ask_again(answer, "the server stops; ask again")


def taken_over(answer: str) -> ServiceError:
    """Another server has the answer by now; this one was believed to be dead."""
    return _ask_again(answer, "another server has taken the answer over; ask again")


def waiting(answer: str) -> ServiceError:
    """The answer's owner has died, and nobody has had the time to go on with it."""
    return _ask_again(
        answer, "the server that was making the answer has gone, and another will go on with it; ask again"
    )


def elsewhere(answer: str) -> ServiceError:
    """Another server makes the answer, and its events are there."""
    return _ask_again(answer, "another server makes the answer; ask that one, or again when it has ended")


def ending(answer: str) -> ServiceError:
    """The answer was told to stop, and has not in time."""
    return _ask_again(answer, "the answer stops, and has not ended yet; ask again")


def unreadable(answer: str) -> ServiceError:
    """What was said of the answer cannot be read now."""
    return ServiceError(
        Reason.PROVIDER_UNAVAILABLE,
        f"what was said of {answer} cannot be read now; try again soon",
        metadata={"service": "answer log", "answer": answer},
        retry_after=1.0,
    )


def missed(answer: str, *, after: int, last: int) -> ServiceError:
    """Events that the reader has not got are lost, though the answer goes on."""
    return ServiceError(
        Reason.ANSWER_DIVERGED,
        f"what {answer} said after {after} cannot be read any more: ask for a snapshot",
        metadata={"answer": answer, "after_sequence": str(after), "last_sequence": str(last)},
    )


def owner_lost(answer: str, *, why: str = "the assistant cannot go on where it stopped") -> ServiceError:
    """The server that made the answer is gone, and nobody can go on."""
    return ServiceError(
        Reason.OWNER_LOST,
        f"the server that was making the answer has gone, and {why}; the part that was made is kept",
        metadata={"answer": answer},
    )


def _ask_again(answer: str, message: str) -> ServiceError:
    return ServiceError(Reason.SERVER_DRAINING, message, metadata={"answer": answer}, retry_after=1.0)
