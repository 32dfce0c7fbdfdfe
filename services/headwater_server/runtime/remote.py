"""The other services over gRPC, behind the same interfaces as in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Self, cast

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from headwater_server.interfaces import Assistants, Caller, Retrieval
from headwater_server.runtime.interceptors import REQUEST_ID_HEADER
from headwater_server.runtime.servicers import ASSISTANT, RETRIEVAL, method_name
from headwater_server.runtime.status import error_of

Metadata = tuple[tuple[str, str], ...]


def remote_retrieval(channel: grpc.aio.Channel) -> Retrieval:
    """The retrieval service at the other end of `channel`."""
    return cast("Retrieval", _RemoteService(channel, RETRIEVAL, "retrieval"))


def remote_assistants(channel: grpc.aio.Channel) -> Assistants:
    """The assistant service at the other end of `channel`."""
    return cast("Assistants", _RemoteService(channel, ASSISTANT, "assistant"))


class _RemoteService:
    """Has a method for each RPC of a service, of the shape that `headwater_server.interfaces` describes."""

    def __init__(self, channel: grpc.aio.Channel, service: ServiceDescriptor, label: str) -> None:
        for method in service.methods:
            setattr(self, method_name(method), _call(channel, method, label))


def _call(channel: grpc.aio.Channel, method: MethodDescriptor, label: str) -> Any:
    path = f"/{method.containing_service.full_name}/{method.name}"
    serialize = GetMessageClass(method.input_type).SerializeToString
    deserialize = GetMessageClass(method.output_type).FromString

    if not method.server_streaming:
        unary = channel.unary_unary(path, serialize, deserialize)

        async def call_unary(request: Any, caller: Caller) -> Any:
            try:
                return await unary(request, metadata=_metadata(caller))
            except grpc.aio.AioRpcError as failure:
                raise error_of(failure, service=label) from failure

        return call_unary

    multi = channel.stream_stream if method.client_streaming else channel.unary_stream
    start: Any = multi(path, serialize, deserialize)

    async def call_stream(request: Any, caller: Caller) -> AsyncGenerator[Any]:
        failures: list[Exception] = []
        if method.client_streaming:
            request = _KeptFailure(request, failures)
        call = start(request, metadata=_metadata(caller))
        try:
            async for message in call:
                yield message
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as failure:
            if failures:  # grpc cancels a call whose requests fail
                raise failures[0] from None
            if isinstance(failure, asyncio.CancelledError):
                raise
            raise error_of(failure, service=label) from failure
        finally:
            call.cancel()  # leaving a loop over a call does not end it; after its end this does nothing

    return call_stream


class _KeptFailure:
    """Keeps an error of our own caller's requests, such as a broken rule: grpc would only say CANCELLED."""

    def __init__(self, requests: AsyncIterator[Any], failures: list[Exception]) -> None:
        self._requests = aiter(requests)
        self._failures = failures

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await anext(self._requests)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._failures.append(error)
            raise


def _metadata(caller: Caller) -> Metadata:
    metadata = [(REQUEST_ID_HEADER, caller.request_id)] if caller.request_id else []
    if caller.credential:
        metadata.append(("authorization", f"Bearer {caller.credential}"))
    return tuple(metadata)
