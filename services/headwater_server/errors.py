"""The errors of the services' core, which knows nothing of gRPC.

    ServiceError                an expected failure, with a reason callers can act on
    ├── InvalidRequest          the caller's request is not as it must be (INVALID_FIELD)
    ├── ResourceNotFound        a named resource does not exist, or is another's (RESOURCE_NOT_FOUND)
    ├── Overloaded              no room for more work now (OVERLOADED)
    └── ServiceUnreachable      another of our services cannot be reached, or broke off (PROVIDER_UNAVAILABLE)
    NotImplementedYet           the contract has it, this version has not
    PreconditionFailed          the resource is not in a state that allows this
    AlreadyExists               the name is taken
    OutOfRange                  what was asked for lies beyond the end
    RecordedFailure             a failure that was written down earlier, with its status

`headwater_server.runtime.status` has the one table from these to statuses. Any other exception is a defect and reaches
a caller as INTERNAL with an opaque id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from google.rpc import status_pb2


class Reason(StrEnum):
    """Why a call failed: the names of `headwater.v1.ErrorReason`, without their prefix."""

    CHAT_BUSY = "CHAT_BUSY"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    ANSWER_DIVERGED = "ANSWER_DIVERGED"
    OWNER_LOST = "OWNER_LOST"
    SERVER_DRAINING = "SERVER_DRAINING"
    OVERLOADED = "OVERLOADED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    RESOURCE_NOT_FOUND = "RESOURCE_NOT_FOUND"
    CONTEXT_TOO_LARGE = "CONTEXT_TOO_LARGE"
    FIRST_TOKEN_TIMEOUT = "FIRST_TOKEN_TIMEOUT"  # noqa: S105 (the name of a reason, not a secret)
    STREAM_STALLED = "STREAM_STALLED"
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"
    PROVIDER_RATE_LIMITED = "PROVIDER_RATE_LIMITED"
    PROVIDER_REJECTED = "PROVIDER_REJECTED"
    PROVIDER_UNAUTHENTICATED = "PROVIDER_UNAUTHENTICATED"
    PROVIDER_TRUNCATED = "PROVIDER_TRUNCATED"
    PROVIDER_PROTOCOL = "PROVIDER_PROTOCOL"
    DOCUMENT_UNREADABLE = "DOCUMENT_UNREADABLE"
    DOCUMENT_TOO_LARGE = "DOCUMENT_TOO_LARGE"
    DOCUMENT_UNSUPPORTED = "DOCUMENT_UNSUPPORTED"
    INVALID_FIELD = "INVALID_FIELD"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is not as it must be."""

    field: str
    """The path of the field, such as `retrieval.corpora[0]`."""
    description: str
    """What is wrong with it, and what would be right."""


class ServiceError(Exception):
    """An expected failure, with a reason that callers can act on.

    Attributes:
        reason: Why, as it stands in the status's ErrorInfo.
        message: What happened, to what, and what to do; shown to callers, so it holds no secret.
        metadata: More facts for the ErrorInfo, as strings.
        retry_after: Seconds after which to try again, or None if nothing is known.
        violations: The fields that are not as they must be; for INVALID_FIELD.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        violations: Sequence[FieldViolation] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.violations = tuple(violations)


class InvalidRequest(ServiceError):
    """A field of the caller's request is not as it must be."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(
            Reason.INVALID_FIELD,
            f"{field}: {description}",
            metadata={"field": field},
            violations=[FieldViolation(field, description)],
        )


class ResourceNotFound(ServiceError):
    """A named resource does not exist, has expired, or belongs to another."""

    def __init__(self, resource: str, message: str = "") -> None:
        super().__init__(
            Reason.RESOURCE_NOT_FOUND, message or f"{resource} does not exist", metadata={"resource": resource}
        )
        self.resource = resource


class Overloaded(ServiceError):
    """The server has as much work as it can carry; nothing was done."""

    def __init__(self, message: str, *, retry_after: float, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(Reason.OVERLOADED, message, metadata=metadata, retry_after=retry_after)


class ServiceUnreachable(ServiceError):
    """Another of our services cannot be reached, or its connection broke off; what it had begun is not known.

    Attributes:
        service: Which.
        taken_up: Whether it had taken up what it was asked, and may have died of it. False, too, where nobody knows.
    """

    def __init__(self, service: str, *, taken_up: bool = False) -> None:
        super().__init__(
            Reason.PROVIDER_UNAVAILABLE,
            f"the {service} service cannot be reached, or broke off; try again soon",
            metadata={"service": service},
            retry_after=1.0,
        )
        self.service = service
        self.taken_up = taken_up


class NotImplementedYet(Exception):
    """The contract has this, and this version does not do it yet."""


class PreconditionFailed(Exception):
    """The resource is not in a state that allows this, such as a corpus that still has documents."""


class OutOfRange(Exception):
    """What was asked for lies beyond the end, and will never be there."""


class RecordedFailure(Exception):
    """A failure that was written down with its status: whoever meets it, now or later, gets the same.

    Attributes:
        status: The status, with its details.
    """

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


class AlreadyExists(Exception):
    """The name is taken.

    Attributes:
        resource: The name that is taken.
    """

    def __init__(self, resource: str, message: str = "") -> None:
        super().__init__(message or f"{resource} exists already")
        self.resource = resource
