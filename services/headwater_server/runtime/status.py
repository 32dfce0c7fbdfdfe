"""Errors as statuses, and statuses as errors: the one table.

The rows follow `headwater.v1.ErrorReason`, where each reason has its status and a full example. Details travel as a
`google.rpc.Status` in the trailing metadata `grpc-status-details-bin`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from headwater_server.errors import (
    AlreadyExists,
    FieldViolation,
    InvalidRequest,
    NotImplementedYet,
    OutOfRange,
    PreconditionFailed,
    Reason,
    RecordedFailure,
    ResourceNotFound,
    ServiceError,
    ServiceUnreachable,
)

log = structlog.get_logger("headwater.errors")

DOMAIN = "headwater"
DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
TAKEN_UP = ("headwater-taken-up", "1")
"""The header by which a service tells that it has taken up a call, before anything has come of it (`taking_up`)."""

Code = grpc.StatusCode

CODE_OF_REASON: dict[Reason, grpc.StatusCode] = {
    Reason.CHAT_BUSY: Code.ABORTED,
    Reason.REQUEST_ID_REUSED: Code.INVALID_ARGUMENT,
    Reason.ANSWER_DIVERGED: Code.ABORTED,
    Reason.OWNER_LOST: Code.UNAVAILABLE,
    Reason.SERVER_DRAINING: Code.UNAVAILABLE,
    Reason.OVERLOADED: Code.RESOURCE_EXHAUSTED,
    Reason.QUOTA_EXCEEDED: Code.RESOURCE_EXHAUSTED,
    Reason.RESOURCE_NOT_FOUND: Code.NOT_FOUND,
    Reason.CONTEXT_TOO_LARGE: Code.INVALID_ARGUMENT,
    Reason.FIRST_TOKEN_TIMEOUT: Code.DEADLINE_EXCEEDED,
    Reason.STREAM_STALLED: Code.DEADLINE_EXCEEDED,
    Reason.PROVIDER_UNAVAILABLE: Code.UNAVAILABLE,
    Reason.PROVIDER_RATE_LIMITED: Code.RESOURCE_EXHAUSTED,
    Reason.PROVIDER_REJECTED: Code.FAILED_PRECONDITION,
    Reason.PROVIDER_UNAUTHENTICATED: Code.FAILED_PRECONDITION,
    Reason.PROVIDER_TRUNCATED: Code.UNAVAILABLE,
    Reason.PROVIDER_PROTOCOL: Code.INTERNAL,
    Reason.DOCUMENT_UNREADABLE: Code.FAILED_PRECONDITION,
    Reason.DOCUMENT_TOO_LARGE: Code.INVALID_ARGUMENT,
    Reason.DOCUMENT_UNSUPPORTED: Code.INVALID_ARGUMENT,
    Reason.INVALID_FIELD: Code.INVALID_ARGUMENT,
    Reason.INTERNAL: Code.INTERNAL,
}

_CODE_OF_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class CallStatus:
    """How a call ends that did not succeed."""

    code: grpc.StatusCode
    message: str
    details: tuple[Message, ...] = ()
    retry_after: float | None = None

    def proto(self) -> status_pb2.Status:
        """The status as a message, its details packed."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in self.details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        return status

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """The trailing metadata that carries the details, and the push-back where there is one."""
        metadata: list[tuple[str, str | bytes]] = []
        if self.details:
            metadata.append((DETAILS_KEY, self.proto().SerializeToString()))
        if self.retry_after is not None:
            metadata.append((PUSHBACK_KEY, str(max(0, round(self.retry_after * 1000)))))
        return tuple(metadata)


class UnauthenticatedError(Exception):
    """The call carries no credential, or one that the server does not know."""


class RemoteStatusError(Exception):
    """A status of another service that has no row in our table; it goes on to the caller as it is."""

    def __init__(self, status: CallStatus) -> None:
        super().__init__(status.message)
        self.status = status


def status_of(error: Exception, *, request_id: str = "") -> CallStatus | None:  # noqa: PLR0911 (one row a kind of error)
    """The status an error ends a call with; None for a defect, whose words must not reach a caller."""
    match error:
        case RemoteStatusError():
            return error.status
        case RecordedFailure():
            return _recorded(error.status)
        case OutOfRange():
            wrong_field = _service_error_status(InvalidRequest("after_sequence", str(error)), request_id)
            return CallStatus(Code.OUT_OF_RANGE, str(error), wrong_field.details)
        case ServiceError():
            return _service_error_status(error, request_id)
        case AlreadyExists():
            return CallStatus(
                Code.ALREADY_EXISTS, str(error), (error_details_pb2.ResourceInfo(resource_name=error.resource),)
            )
        case NotImplementedYet():
            return CallStatus(Code.UNIMPLEMENTED, str(error))
        case PreconditionFailed():
            return CallStatus(Code.FAILED_PRECONDITION, str(error))
        case UnauthenticatedError():
            return CallStatus(Code.UNAUTHENTICATED, str(error))
        case _:
            return None


def defect_status() -> tuple[str, CallStatus]:
    """An opaque id for a defect, and the status that shows the id and nothing else."""
    error_id = secrets.token_hex(4)
    info = error_info(Reason.INTERNAL, {"error_id": error_id})
    return error_id, CallStatus(Code.INTERNAL, f"internal error {error_id}", (info,))


def described(error: Exception, request_id: str) -> status_pb2.Status:
    """The status of a failure, to be kept; a defect is logged, and becomes an opaque id."""
    status = status_of(error, request_id=request_id)
    if status is None:
        error_id, status = defect_status()
        log.error("answer.defect", error_id=error_id, request_id=request_id, exc_info=error)
    return status.proto()


def _recorded(status: status_pb2.Status) -> CallStatus:
    """A status that was kept."""
    info, rest = _unpacked(status)
    retry_after: float | None = None
    if info is not None and info.reason == Reason.OVERLOADED:
        for detail in rest:
            if isinstance(detail, error_details_pb2.RetryInfo):
                retry_after = detail.retry_delay.ToTimedelta().total_seconds()
    code = _CODE_OF_NUMBER.get(status.code, Code.UNKNOWN)
    return CallStatus(code, status.message, tuple(rest) if info is None else (info, *rest), retry_after)


def error_info(reason: Reason, metadata: dict[str, str], request_id: str = "") -> error_details_pb2.ErrorInfo:
    """The ErrorInfo of a reason; `request_id` is added unless the metadata has one."""
    if request_id:
        metadata = {"request_id": request_id, **metadata}
    return error_details_pb2.ErrorInfo(reason=reason.value, domain=DOMAIN, metadata=metadata)


def _service_error_status(error: ServiceError, request_id: str) -> CallStatus:
    details: list[Message] = [error_info(error.reason, error.metadata, request_id)]
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=item.field, description=item.description)
                    for item in error.violations
                ]
            )
        )
    if isinstance(error, ResourceNotFound):
        details.append(error_details_pb2.ResourceInfo(resource_name=error.resource, description=error.message))
    if error.reason is Reason.QUOTA_EXCEEDED:
        violation = error_details_pb2.QuotaFailure.Violation(
            subject=error.metadata.get("quota", ""), description=error.message
        )
        details.append(error_details_pb2.QuotaFailure(violations=[violation]))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    retry_after = error.retry_after if error.reason is Reason.OVERLOADED else None
    return CallStatus(CODE_OF_REASON[error.reason], error.message, tuple(details), retry_after)


def error_of(failure: grpc.aio.AioRpcError, *, service: str) -> Exception:
    """The core's error for a failed call to another of our services.

    Args:
        failure: What grpc raised.
        service: What was called, "retrieval" or "assistant".

    Returns:
        The error that `status_of` would turn into the same status, or one that says that `service` cannot be reached.
    """
    info, rest = _unpacked_details(failure)
    message = failure.details() or failure.code().name
    if info is None:
        return _error_without_reason(failure, message, rest, service)
    try:
        reason = Reason(info.reason)
    except ValueError:
        return RemoteStatusError(CallStatus(failure.code(), message, (info, *rest)))
    if failure.code() is not CODE_OF_REASON[reason] or reason is Reason.INTERNAL:
        return RemoteStatusError(CallStatus(failure.code(), message, (info, *rest)))
    metadata = dict(info.metadata)
    if reason is Reason.RESOURCE_NOT_FOUND:
        return ResourceNotFound(metadata.get("resource", ""), message)
    violations: list[FieldViolation] = []
    retry_after: float | None = None
    for detail in rest:
        if isinstance(detail, error_details_pb2.BadRequest):
            violations += [FieldViolation(item.field, item.description) for item in detail.field_violations]
        elif isinstance(detail, error_details_pb2.RetryInfo):
            retry_after = detail.retry_delay.ToTimedelta().total_seconds()
    return ServiceError(reason, message, metadata=metadata, retry_after=retry_after, violations=violations)


def _error_without_reason(failure: grpc.aio.AioRpcError, message: str, rest: list[Message], service: str) -> Exception:
    match failure.code():
        case Code.UNIMPLEMENTED:
            return NotImplementedYet(message)
        case Code.FAILED_PRECONDITION:
            return PreconditionFailed(message)
        case Code.UNAUTHENTICATED:
            return UnauthenticatedError(message)
        case Code.UNAVAILABLE | Code.CANCELLED | Code.INTERNAL | Code.UNKNOWN:
            # Not one of our own statuses, which have a reason: the connection, or the process at its other end.
            return ServiceUnreachable(service, taken_up=TAKEN_UP in set(failure.initial_metadata() or ()))
        case code:
            return RemoteStatusError(CallStatus(code, message, tuple(rest)))


_DETAIL_TYPES: dict[str, type[Message]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        error_details_pb2.ErrorInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.RetryInfo,
        error_details_pb2.QuotaFailure,
        error_details_pb2.ResourceInfo,
    )
}


def _unpacked_details(failure: grpc.aio.AioRpcError) -> tuple[error_details_pb2.ErrorInfo | None, list[Message]]:
    for key, value in failure.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return _unpacked(status_pb2.Status.FromString(value))
            except DecodeError:
                continue
    return None, []


def _unpacked(status: status_pb2.Status) -> tuple[error_details_pb2.ErrorInfo | None, list[Message]]:
    """Our ErrorInfo, if there is one, and the other details that we know."""
    info: error_details_pb2.ErrorInfo | None = None
    rest: list[Message] = []
    for packed in status.details:
        kind = _DETAIL_TYPES.get(packed.TypeName())
        if kind is None:
            continue
        detail = kind()
        packed.Unpack(detail)
        if isinstance(detail, error_details_pb2.ErrorInfo) and detail.domain == DOMAIN:
            info = detail
        else:
            rest.append(detail)
    return info, rest


__all__ = [
    "CODE_OF_REASON",
    "CallStatus",
    "InvalidRequest",
    "RemoteStatusError",
    "UnauthenticatedError",
    "defect_status",
    "described",
    "error_info",
    "error_of",
    "status_of",
]
