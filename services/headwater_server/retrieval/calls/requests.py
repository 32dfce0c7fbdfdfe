"""Request ids: what a call that may be sent twice stands for."""

from __future__ import annotations

import hashlib

from google.protobuf.message import Message

from headwater_server.retrieval.catalog import RequestMark


def mark_of(request: Message, request_id: str, *, resource: str) -> RequestMark | None:
    """What to record with a request's result; None where the caller sent no request id.

    Args:
        request: The request, which has a field `request_id`.
        request_id: That field's value.
        resource: The name of what the request makes.
    """
    if not request_id:
        return None
    rest = type(request)()
    rest.CopyFrom(request)
    rest.ClearField("request_id")
    kind = request.DESCRIPTOR.full_name
    digest = hashlib.sha256(kind.encode() + b"\0" + rest.SerializeToString(deterministic=True))
    return RequestMark(request_id.lower(), digest.hexdigest(), resource)
