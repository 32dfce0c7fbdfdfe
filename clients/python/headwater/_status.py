"""From the status of a call to an exception: one table, which is also what the docs show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from headwater import _exceptions as exc

_Detail = TypeVar("_Detail", bound=Message)

DOMAIN = "headwater"
_DETAILS_KEY = "grpc-status-details-bin"
# The words of grpcio for a message of the peer's that is no protobuf; it has no other sign for that.
_UNREADABLE = "Exception deserializing response!"
# And for a connection that was never made, so that nothing can have been done; a proxy's words are not among them.
_NEVER_CONNECTED = ("failed to connect", "DNS resolution failed", "empty address list")
_CUT_OFF = frozenset({"UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    code: str
    """The name of the gRPC status."""
    reason: str
    """The reason in the ErrorInfo. Empty: any other, or none."""
    exception: type[exc.CallError]
    """What is raised."""


TABLE: tuple[Row, ...] = (
    Row("CANCELLED", "", exc.CallCancelled),
    Row("UNKNOWN", "", exc.InternalError),
    Row("INVALID_ARGUMENT", "", exc.InvalidRequest),
    Row("INVALID_ARGUMENT", "INVALID_FIELD", exc.InvalidRequest),
    Row("INVALID_ARGUMENT", "REQUEST_ID_REUSED", exc.RequestIdReused),
    Row("INVALID_ARGUMENT", "CONTEXT_TOO_LARGE", exc.ContextTooLarge),
    Row("INVALID_ARGUMENT", "DOCUMENT_TOO_LARGE", exc.DocumentTooLarge),
    Row("INVALID_ARGUMENT", "DOCUMENT_UNSUPPORTED", exc.DocumentUnsupported),
    Row("DEADLINE_EXCEEDED", "", exc.DeadlineExceeded),
    Row("DEADLINE_EXCEEDED", "FIRST_TOKEN_TIMEOUT", exc.FirstTokenTimeout),
    Row("DEADLINE_EXCEEDED", "STREAM_STALLED", exc.StreamStalled),
    Row("NOT_FOUND", "", exc.NotFound),
    Row("NOT_FOUND", "RESOURCE_NOT_FOUND", exc.NotFound),
    Row("ALREADY_EXISTS", "", exc.AlreadyExists),
    Row("PERMISSION_DENIED", "", exc.PermissionDenied),
    Row("UNAUTHENTICATED", "", exc.Unauthenticated),
    Row("RESOURCE_EXHAUSTED", "", exc.ResourceExhausted),
    Row("RESOURCE_EXHAUSTED", "OVERLOADED", exc.Overloaded),
    Row("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", exc.QuotaExceeded),
    Row("RESOURCE_EXHAUSTED", "PROVIDER_RATE_LIMITED", exc.ProviderRateLimited),
    Row("FAILED_PRECONDITION", "", exc.FailedPrecondition),
    Row("FAILED_PRECONDITION", "PROVIDER_REJECTED", exc.ProviderRejected),
    Row("FAILED_PRECONDITION", "PROVIDER_UNAUTHENTICATED", exc.ProviderUnauthenticated),
    Row("FAILED_PRECONDITION", "DOCUMENT_UNREADABLE", exc.DocumentUnreadable),
    Row("ABORTED", "", exc.Aborted),
    Row("ABORTED", "CHAT_BUSY", exc.ChatBusy),
    Row("ABORTED", "ANSWER_DIVERGED", exc.AnswerDiverged),
    Row("OUT_OF_RANGE", "", exc.OutOfRange),
    Row("OUT_OF_RANGE", "INVALID_FIELD", exc.OutOfRange),
    Row("UNIMPLEMENTED", "", exc.NotImplementedByServer),
    Row("INTERNAL", "", exc.InternalError),
    Row("INTERNAL", "INTERNAL", exc.InternalError),
    Row("INTERNAL", "PROVIDER_PROTOCOL", exc.ProviderProtocol),
    Row("UNAVAILABLE", "", exc.Unavailable),
    Row("UNAVAILABLE", "SERVER_DRAINING", exc.ServerDraining),
    Row("UNAVAILABLE", "OWNER_LOST", exc.OwnerLost),
    Row("UNAVAILABLE", "PROVIDER_UNAVAILABLE", exc.ProviderUnavailable),
    Row("UNAVAILABLE", "PROVIDER_TRUNCATED", exc.ProviderTruncated),
    Row("DATA_LOSS", "", exc.InternalError),
)

_BY_CODE_AND_REASON = {(row.code, row.reason): row.exception for row in TABLE}
# A reason says more than a status: where a server sends one with another status, the reason decides.
_BY_REASON = {row.reason: row.exception for row in reversed(TABLE) if row.reason}


def exception_table() -> str:
    """Renders the table from status and reason to exception as Markdown."""
    lines = ["| status | reason | exception | when |", "|---|---|---|---|"]
    for row in TABLE:
        reason = f"`{row.reason}`" if row.reason else "–"
        when = (row.exception.__doc__ or "").splitlines()[0]
        lines.append(f"| `{row.code}` | {reason} | `{row.exception.__name__}` | {when} |")
    lines.append(
        "| `UNAVAILABLE` | without ErrorInfo, where no connection could be made | `ConnectionFailed` "
        f"| {(exc.ConnectionFailed.__doc__ or '').splitlines()[0]} |"
    )
    lines.append(
        f"| {', '.join(f'`{code}`' for code in sorted(_CUT_OFF))} | without ErrorInfo, in the middle of a stream; "
        "`UNAVAILABLE` also before it "
        f"| `ConnectionLost` | {(exc.ConnectionLost.__doc__ or '').splitlines()[0]} |"
    )
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class CallContext:
    """What is known about a call that failed."""

    target: str = ""
    """The address of the server."""
    begun: bool = False
    """Whether the server had sent a message already."""
    answer: str = ""
    """The name of the answer."""
    partial: str = ""
    """The text of the answer so far."""
    request_id: str = ""
    """The request_id of the answer."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The status of a failed call, apart from grpcio's types."""

    code: str
    """The name of the gRPC status."""
    message: str
    """The status's message."""
    details: status_pb2.Status
    """Its details; empty if there are none."""

    @property
    def is_ours(self) -> bool:
        """Whether a Headwater server said so: the details have an ErrorInfo of its domain."""
        return any(info.domain == DOMAIN for info in _unpack(self.details, error_details_pb2.ErrorInfo))


def read_failure(error: grpc.RpcError) -> Failure:
    """Takes the status out of grpcio's exception, which is not kept: it holds the whole call."""
    # grpcio has two types for this, one for each of its two halves; both iterate over pairs.
    metadata = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    details = status_pb2.Status()
    for key, value in metadata:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                details.ParseFromString(value)
            except DecodeError:
                details.Clear()  # the status itself still says what happened
    return Failure(error.code().name, error.details() or "", details)


def is_connection_loss(failure: Failure) -> bool:
    """Whether a stream that had begun was cut off, rather than ended by a Headwater server."""
    return failure.code in _CUT_OFF and not failure.is_ours and _UNREADABLE not in failure.message


def to_exception(failure: Failure, context: CallContext) -> exc.HeadwaterError:
    """Makes the exception for a failed call."""
    if failure.code == "INTERNAL" and _UNREADABLE in failure.message:
        return exc.ProtocolError(
            "the server sent a message that cannot be read",
            answer=context.answer,
            partial=context.partial,
            request_id=context.request_id,
        )
    exception = _choose(failure, context)
    return _build(exception, failure, context)


def from_status(status: status_pb2.Status, *, resource: str) -> exc.CallError:
    """Makes the exception for a google.rpc.Status that stands in a message, such as a failed document's error."""
    code = code_pb2.Code.Name(status.code) if status.code in code_pb2.Code.values() else "UNKNOWN"
    failure = Failure(code, status.message, status)
    error = _build(_by_table(failure), failure, CallContext())
    error.resource = resource
    return error


def _choose(failure: Failure, context: CallContext) -> type[exc.CallError]:
    if not failure.is_ours:
        if context.begun and is_connection_loss(failure):
            return exc.ConnectionLost
        if failure.code == "UNAVAILABLE":
            never_connected = failure.message.startswith(_NEVER_CONNECTED)
            return exc.ConnectionFailed if never_connected else exc.ConnectionLost
    return _by_table(failure)


def _by_table(failure: Failure) -> type[exc.CallError]:
    info = _first(failure.details, error_details_pb2.ErrorInfo)
    reason = info.reason if info is not None and info.domain == DOMAIN else ""
    exception = _BY_CODE_AND_REASON.get((failure.code, reason)) or _BY_REASON.get(reason)
    return exception or _BY_CODE_AND_REASON.get((failure.code, ""), exc.CallError)


def _build(exception: type[exc.CallError], failure: Failure, context: CallContext) -> exc.CallError:
    info = _first(failure.details, error_details_pb2.ErrorInfo) or error_details_pb2.ErrorInfo()
    retry = _first(failure.details, error_details_pb2.RetryInfo)
    resource = _first(failure.details, error_details_pb2.ResourceInfo)
    return exception(
        _message(exception, failure, context),
        code=failure.code,
        reason=info.reason,
        metadata=dict(info.metadata),
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if retry is not None else None,
        violations=[
            exc.FieldViolation(violation.field, violation.description)
            for request in _unpack(failure.details, error_details_pb2.BadRequest)
            for violation in request.field_violations
        ],
        resource=resource.resource_name if resource is not None else info.metadata.get("resource", ""),
        answer=context.answer or info.metadata.get("answer", ""),
        partial=context.partial,
        request_id=context.request_id or info.metadata.get("request_id", ""),
    )


def _message(exception: type[exc.CallError], failure: Failure, context: CallContext) -> str:
    said = failure.message or failure.code
    if exception is exc.ConnectionFailed:
        return f"cannot reach a Headwater server at {context.target}: {said}"
    if exception is exc.ConnectionLost:
        return f"the connection to {context.target} broke in mid-call: {said}"
    return said


def _first(status: status_pb2.Status, kind: type[_Detail]) -> _Detail | None:
    return next(iter(_unpack(status, kind)), None)


def _unpack(status: status_pb2.Status, kind: type[_Detail]) -> list[_Detail]:
    found = []
    for detail in status.details:
        message = kind()
        try:
            if detail.Unpack(message):
                found.append(message)
        except DecodeError:
            continue  # details are an addition: what cannot be read is left out
    return found
