"""Calls by the bytes of their messages, so that whatever a server sends can be looked at: messages, status, headers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from headwater.v1 import answer_service_pb2, assistant_service_pb2, retrieval_service_pb2

TIME_LIMIT_S = 60.0
_LOST_BY_US = "Internal error from Core"
"""What grpc.aio says of itself where a stream of requests is refused while it still writes."""
_TRIES = 5
_DETAILS = "grpc-status-details-bin"
_CALL_IDS = re.compile(r"answers/[A-Za-z0-9_-]+|\b[0-9a-f]{32}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
"""What is new in each call."""
assert error_details_pb2  # known to whoever reads a status


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC."""

    name: str
    path: str
    request: type[Message]
    response: type[Message]
    request_streaming: bool
    response_streaming: bool


METHODS = {
    method.name: Method(
        method.name,
        f"/{service.full_name}/{method.name}",
        GetMessageClass(method.input_type),
        GetMessageClass(method.output_type),
        method.client_streaming,
        method.server_streaming,
    )
    for file in (answer_service_pb2, assistant_service_pb2, retrieval_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked."""

    method: str
    message: Message | Sequence[Message]
    """Several, where the method takes a stream."""
    leave_after: int | None = None
    """After how many messages of the server's the caller hangs up."""


@dataclass(slots=True)
class Reply:
    """All that came back."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    messages: list[bytes] = field(default_factory=list)
    words: str = ""
    """Of the status."""
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    """At the begin and at the end."""
    status: status_pb2.Status = field(default_factory=status_pb2.Status)

    @property
    def reason(self) -> str:
        """Of its ErrorInfo; empty where there is none."""
        info = error_details_pb2.ErrorInfo()
        return next((info.reason for detail in self.status.details if detail.Unpack(info)), "")

    def parsed(self, method: str) -> list[Any]:
        """Its messages."""
        return [METHODS[method].response.FromString(message) for message in self.messages]

    def places(self) -> Iterable[bytes]:
        """All bytes there are of it."""
        yield from self.messages
        yield self.words.encode()
        for name, value in self.headers:
            yield name.encode() + b": " + value

    def likeness(self, *names: str) -> str:
        """What it says, without the names that were asked for and the ids that every call has of its own."""
        said = [self.code.name, self.words, MessageToDict(self.status)]
        text = json.dumps(said, sort_keys=True)
        for name in sorted(names, key=len, reverse=True):
            text = text.replace(name, "NAME")
        return _CALL_IDS.sub("ID", text)


class Channel:
    """A tenant's connection.

    Args:
        target: The server.
        token: The tenant's.
    """

    def __init__(self, target: str, token: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=(("grpc.use_local_subchannel_pool", 1),))
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def close(self) -> None:
        """Closes it."""
        await self._channel.close()

    async def ask(self, request: Request) -> Reply:
        """Makes a call, and returns all that came of it; makes it again where this side's grpcio has lost its end."""
        for _ in range(_TRIES):
            reply = await self._ask(request)
            if reply.words != _LOST_BY_US:
                break
        return reply

    async def _ask(self, request: Request) -> Reply:
        method = METHODS[request.method]
        kinds = ("unary", "stream")
        multi: Any = getattr(
            self._channel, f"{kinds[method.request_streaming]}_{kinds[method.response_streaming]}"
        )  # without serializers grpc takes bytes, and gives bytes
        sent = (
            [message.SerializeToString() for message in request.message]
            if not isinstance(request.message, Message)
            else request.message.SerializeToString()
        )
        call = multi(method.path)(_streamed(sent), metadata=self._metadata, timeout=TIME_LIMIT_S)
        reply = Reply()
        try:
            if method.response_streaming:
                async for message in call:
                    reply.messages.append(message)
                    if request.leave_after is not None and len(reply.messages) > request.leave_after:
                        call.cancel()
                        return reply
            else:
                reply.messages.append(await call)
            reply.headers += [(name, _bytes(value)) for name, value in await call.trailing_metadata()]
        except grpc.aio.AioRpcError as error:
            reply.code, reply.words = error.code(), error.details() or ""
            headers = (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ()))
            reply.headers += [(name, _bytes(value)) for name, value in headers]
            packed = dict(reply.headers).get(_DETAILS)
            if packed is not None:
                reply.status.ParseFromString(packed)
        finally:
            call.cancel()
        return reply


def _streamed(sent: bytes | list[bytes]) -> bytes | AsyncIterator[bytes]:
    if isinstance(sent, bytes):
        return sent

    async def each() -> AsyncIterator[bytes]:
        for message in sent:
            yield message
            await asyncio.sleep(0)

    return each()


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
