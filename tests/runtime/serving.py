"""Real servers on loopback over scripted services, and what one needs to call them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from headwater.v1 import answer_service_pb2_grpc, assistant_service_pb2_grpc, retrieval_service_pb2_grpc
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.runtime.server import Server
from headwater_server.runtime.servicers import ANSWER, ASSISTANT, RETRIEVAL
from headwater_server.runtime.settings import Settings, load
from tests.orchestrator.backends import Services

WAIT_SECONDS = 20
Detail = TypeVar("Detail", bound=Message)


class Stubs:
    """All three services behind one address."""

    def __init__(self, channel: grpc.aio.Channel, address: str) -> None:
        self.channel = channel
        self.address = address
        self.answers: Any = answer_service_pb2_grpc.AnswerServiceStub(channel)
        self.assistants: Any = assistant_service_pb2_grpc.AssistantServiceStub(channel)
        self.retrieval: Any = retrieval_service_pb2_grpc.RetrievalServiceStub(channel)


def settings(**flags: Any) -> Settings:
    """Settings for a free port of this machine."""
    return load(flags={"address": "127.0.0.1:0", **flags})


@asynccontextmanager
async def serving(
    services: Services, *, config: OrchestratorConfig | None = None, **flags: Any
) -> AsyncGenerator[Stubs]:
    """Serves an orchestrator over these services, and them beside it."""
    async with services.orchestrator(config) as orchestrator:
        server = Server(
            settings(**flags), {ANSWER: orchestrator, RETRIEVAL: services.retrieval, ASSISTANT: services.assistants}
        )
        address = await server.start()
        try:
            async with connected(address) as stubs:
                yield stubs
        finally:
            await server.stop()


@asynccontextmanager
async def connected(address: str, credentials: grpc.ChannelCredentials | None = None) -> AsyncGenerator[Stubs]:
    """Stubs for a server."""
    options = (("grpc.enable_http_proxy", 0),)
    channel = (
        grpc.aio.insecure_channel(address, options=options)
        if credentials is None
        else grpc.aio.secure_channel(address, credentials, options=options)
    )
    async with channel:
        yield Stubs(channel, address)


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The google.rpc.Status in the trailing metadata; empty if there is none."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            return status_pb2.Status.FromString(value)
    return status_pb2.Status()


def detail(error: grpc.aio.AioRpcError, kind: type[Detail]) -> Detail:
    """The one detail of this kind."""
    (found,) = details(error, kind)
    return found


def details(error: grpc.aio.AioRpcError, kind: type[Detail]) -> Sequence[Detail]:
    """All details of this kind."""
    found = []
    for packed in status_of(error).details:
        if packed.Is(kind.DESCRIPTOR):
            message = kind()
            packed.Unpack(message)
            found.append(message)
    return found


def info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """The ErrorInfo, which is ours."""
    found = detail(error, error_details_pb2.ErrorInfo)
    assert found.domain == "headwater"
    return found


async def exhaust(stream: AsyncIterable[Any], into: list[Any] | None = None) -> None:
    """Reads a stream to its end; what comes before a failure is kept."""
    kept = [] if into is None else into
    async for message in stream:
        kept.append(message)
