"""The other services over gRPC, behind the same interfaces as in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Self, cast

import grpc
from anyio.lowlevel import checkpoint_if_cancelled
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from headwater_server.interfaces import Assistants, Caller, Retrieval
from headwater_server.runtime.interceptors import REQUEST_ID_HEADER
from headwater_server.runtime.servicers import ANSWER, ASSISTANT, RETRIEVAL, method_name
from headwater_server.runtime.status import error_of

Metadata = tuple[tuple[str, str], ...]


def remote_retrieval(channel: grpc.aio.Channel) -> Retrieval:
    """The retrieval service at the other end of `channel`."""
    return cast("Retrieval", _RemoteService(channel, RETRIEVAL, "retrieval"))


def remote_assistants(channel: grpc.aio.Channel) -> Assistants:
    """The assistant service at the other end of `channel`."""
    return cast("Assistants", _RemoteService(channel, ASSISTANT, "assistant"))


def remote_answers(channel: grpc.aio.Channel) -> Any:
    """The answer service at the other end of `channel`: a method an RPC."""
    return _RemoteService(channel, ANSWER, "answer")


class _RemoteService:
    """Has a method for each RPC of a service, of the shape that `headwater_server.interfaces` describes."""

    def __init__(self, channel: grpc.aio.Channel, service: ServiceDescriptor, label: str) -> None:
        for method in service.methods:
            setattr(self, method_name(method), _call(channel, method, label))


def _call(channel: grpc.aio.Channel, method: MethodDescriptor, label: str) -> Any:
    path = f"/{method.containing_service.full_name}/{method.name}"
    serialize = GetMessageClass(method.input_type).SerializeToString
    deserialize = GetMessageClass(method.output_type).FromString
    if method.client_streaming:
        return _streams_both_ways(channel.stream_stream(path, serialize, deserialize), label)
    if method.server_streaming:
        return _streams_back(channel.unary_stream(path, serialize, deserialize), label)
    unary = channel.unary_unary(path, serialize, deserialize)

    async def call(request: Any, caller: Caller) -> Any:
        try:
            return await unary(request, metadata=_metadata(caller))
        except asyncio.CancelledError:
            await checkpoint_if_cancelled()  # grpc raises an error of its own, which no scope of anyio knows
            raise
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure, service=label) from failure

    return call


def _streams_back(start: Any, label: str) -> Any:
    """A call of one request and many responses."""

    async def call(request: Any, caller: Caller) -> AsyncGenerator[Any]:
        responses = start(request, metadata=_metadata(caller))
        try:
            async for response in responses:
                yield response
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure, service=label) from failure
        finally:
            responses.cancel()  # leaving a loop over a call does not end it; after its end this does nothing

    return call


def _streams_both_ways(start: Any, label: str) -> Any:
    """A call of many requests and many responses."""

    async def call(incoming: AsyncIterator[Any], caller: Caller) -> AsyncGenerator[Any]:
        requests = _Requests(incoming)
        responses = start(requests, metadata=_metadata(caller))
        try:
            async for response in responses:
                requests.answered()
                yield response
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as failure:
            if requests.failure is not None:  # grpc cancels a call whose requests fail
                raise requests.failure from None
            if isinstance(failure, asyncio.CancelledError):
                raise
            raise error_of(failure, service=label) from failure
        finally:
            requests.end()
            responses.cancel()

    return call


class _Requests:
    """The requests of our own caller, on their way to the other service.

    The second goes only when the first has been answered, which `ImportDocument` does before any data: where a service
    refuses a call while more is being sent to it, grpc.aio loses the status and says INTERNAL.
    """

    def __init__(self, requests: AsyncIterator[Any]) -> None:
        self._requests = aiter(requests)
        self._first_is_gone = False
        self._ended = False
        self._go_on = asyncio.Event()
        self.failure: Exception | None = None
        """An error of the requests, such as a broken rule: grpc would only say CANCELLED."""

    def answered(self) -> None:
        """Notes that the other service has answered."""
        self._go_on.set()

    def end(self) -> None:
        """Notes that the call has ended: there are no more requests."""
        self._ended = True
        self._go_on.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._first_is_gone:
            await self._go_on.wait()
        if self._ended:
            raise StopAsyncIteration
        self._first_is_gone = True
        try:
            return await anext(self._requests)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.failure = error
            raise


def _metadata(caller: Caller) -> Metadata:
    metadata = [(REQUEST_ID_HEADER, caller.request_id)] if caller.request_id else []
    if caller.credential:
        metadata.append(("authorization", f"Bearer {caller.credential}"))
    return tuple(metadata)
