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
    return ServiceError(
        Reason.SERVER_DRAINING, "the server stops; ask again", metadata={"answer": answer}, retry_after=1.0
    )


def taken_over(answer: str) -> ServiceError:
    """Another server has the answer by now; this one was believed to be dead."""
    return ServiceError(
        Reason.SERVER_DRAINING,
        "another server has taken the answer over; ask again",
        metadata={"answer": answer},
        retry_after=1.0,
    )


def owner_lost(answer: str) -> ServiceError:
    """The server that made the answer is gone, and nobody can go on."""
    return ServiceError(
        Reason.OWNER_LOST,
        "the server that was making the answer has gone, and the assistant cannot go on where it stopped; the part"
        " that was made is kept",
        metadata={"answer": answer},
    )
