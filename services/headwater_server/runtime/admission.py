"""Refusing new answers at the door, where there is no room for them.

A server that has too much to do must spend next to nothing on saying so: this comes before the request is decoded,
its caller known and its call logged, and costs a fraction of those; only the token of one who would be refused is
looked up, for its tenant's share. Only new answers are refused. Calls about answers that there are, health, and all
other calls pass.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import grpc
import structlog

from headwater.v1 import answer_pb2, answer_service_pb2
from headwater_server.errors import Overloaded
from headwater_server.interfaces import LOCAL_TENANT
from headwater_server.runtime.bounds import bounded
from headwater_server.runtime.door import Door
from headwater_server.runtime.interceptors import Context, Continuation, abort
from headwater_server.runtime.servicers import ANSWER
from headwater_server.runtime.status import CallStatus, status_of

log = structlog.get_logger("headwater.calls")

STREAM, UNARY = (f"/{ANSWER.full_name}/{method}" for method in ("StreamAnswer", "GenerateAnswer"))

_REQUEST_ID_TAG = answer_service_pb2.StreamAnswerRequest.DESCRIPTOR.fields_by_name["request_id"].number << 3 | 2
_LOG_SECONDS = 1.0


class AdmissionInterceptor(grpc.aio.ServerInterceptor):
    """Refuses new answers where there is no room for them; to be the outermost.

    A front may ask it beforehand, as `door.Gate`, and refuse what it would at less cost.

    Args:
        door: Knows whether there is.
        tokens: Tenant to bearer token. Empty: every caller is the tenant `local`.
    """

    def __init__(self, door: Door, tokens: Mapping[str, str]) -> None:
        self._door = door
        self._tenants = {token: tenant for tenant, token in tokens.items()}
        self._statuses: dict[str, CallStatus] = {}
        self._refused = 0
        self._logged = 0.0

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        """Replaces the handler where there is no room."""
        if self._closed(details) is None:
            return await continuation(details)

        async def behavior(request: bytes, context: Context) -> Any:
            status = self.refusal(details, request)
            if status is None:
                return await _pass_on(await continuation(details), request, context)
            return await abort(context, status)

        # What is handed to a handler without a deserializer are the bytes.
        if details.method == STREAM:
            return grpc.unary_stream_rpc_method_handler(
                behavior, response_serializer=answer_pb2.AnswerChunk.SerializeToString
            )
        return grpc.unary_unary_rpc_method_handler(behavior, response_serializer=answer_pb2.Answer.SerializeToString)

    def refusal(self, details: grpc.HandlerCallDetails, request: bytes) -> CallStatus | None:
        """What a call is refused with, and counted as refused; None where it is not.

        Args:
            details: Its method and metadata.
            request: Its message, encoded.
        """
        refusal = self._closed(details)
        if refusal is None or self._door.has_request(_request_id(request)):
            return None
        self._count()
        return self._status(refusal)

    def may_refuse(self, method: str) -> bool:
        """Whether there is a call of this method now that would be refused: a new answer of one who has its share."""
        return method in {STREAM, UNARY} and self._door.refusal() is not None

    def _closed(self, details: grpc.HandlerCallDetails) -> Overloaded | None:
        """Why no new answer may begin, or None."""
        return self._door.refusal(self._tenant_of(details)) if self.may_refuse(details.method) else None

    def _tenant_of(self, details: grpc.HandlerCallDetails) -> str | None:
        """Whose share the answer would be of; None for a token that is not known, which is refused further in."""
        if not self._tenants:
            return LOCAL_TENANT
        shown = next((value for key, value in details.invocation_metadata or () if key == "authorization"), "")
        return self._tenants.get(str(shown).partition(" ")[2])

    def _status(self, refusal: Overloaded) -> CallStatus:
        """The status of a refusal; those with the same words are made once."""
        status = self._statuses.get(refusal.message)
        if status is None:
            made = status_of(refusal)
            if made is None:
                raise AssertionError("an expected failure has a status")
            if len(self._statuses) > 64:
                self._statuses.clear()
            status = self._statuses[refusal.message] = bounded(made)
        return status

    def _count(self) -> None:
        """Logs refusals, once a second at most: as many as there are, they would cost more than they tell."""
        self._refused += 1
        now = time.monotonic()
        if now - self._logged >= _LOG_SECONDS:
            log.warning("server.overloaded", refused=self._refused)
            self._refused, self._logged = 0, now


async def _pass_on(handler: Any, request: bytes, context: Context) -> Any:
    """Serves the call as if it had not been held up."""
    behavior = handler.unary_stream or handler.unary_unary
    return await behavior(handler.request_deserializer(request), context)


def _request_id(request: bytes) -> str:
    """The request_id of an encoded request, without decoding the rest: it is the first field, as encoders write it.

    Empty where it is not, or there is none: such a request counts as new.
    """
    if len(request) < 2 or request[0] != _REQUEST_ID_TAG or request[1] >= 0x80:
        return ""
    return request[2 : 2 + request[1]].decode(errors="replace")
