"""How much a status may say.

Statuses travel in HTTP/2 trailers, of which a gRPC client takes some 8 KiB by default; a larger status would reach it
as another one. The bounds leave room for base64 around the details and for percent-encoding of the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message
from google.rpc import error_details_pb2

from headwater_server.runtime.status import CallStatus

MAX_MESSAGE_BYTES = 1000
MAX_DETAILS_BYTES = 2500
_MAX_VIOLATIONS_BYTES = 1500
_MAX_VALUE_BYTES = 300
_ANY_BYTES = 60
"""What a detail's packing adds: its type's URL."""


def bounded(status: CallStatus) -> CallStatus:
    """The status, its texts cut where they are too long; the ErrorInfo comes first and is always kept."""
    return replace(
        status,
        message=_cut(status.message, MAX_MESSAGE_BYTES),
        details=tuple(_fitting(map(_shortened, status.details))),
    )


def _fitting(details: Iterable[Message]) -> Iterator[Message]:
    room = MAX_DETAILS_BYTES
    for detail in details:
        room -= detail.ByteSize() + _ANY_BYTES
        if room >= 0:
            yield detail


def _shortened(detail: Any) -> Any:
    match detail:
        case error_details_pb2.ErrorInfo():
            metadata = {_cut(key): _cut(value) for key, value in list(detail.metadata.items())[:8]}
            return error_details_pb2.ErrorInfo(reason=detail.reason, domain=detail.domain, metadata=metadata)
        case error_details_pb2.BadRequest():
            return error_details_pb2.BadRequest(field_violations=_first_violations(detail))
        case error_details_pb2.ResourceInfo():
            return error_details_pb2.ResourceInfo(
                resource_type=_cut(detail.resource_type),
                resource_name=_cut(detail.resource_name),
                description=_cut(detail.description),
            )
        case _:
            return detail


def _first_violations(detail: error_details_pb2.BadRequest) -> Iterator[error_details_pb2.BadRequest.FieldViolation]:
    room = _MAX_VIOLATIONS_BYTES
    for violation in detail.field_violations:
        short = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(violation.field), description=_cut(violation.description)
        )
        room -= short.ByteSize()
        if room < 0:
            return
        yield short


def _cut(text: str, size: int = _MAX_VALUE_BYTES) -> str:
    encoded = text.encode()
    if len(encoded) <= size:
        return text
    return encoded[: size - 3].decode(errors="ignore") + "…"
