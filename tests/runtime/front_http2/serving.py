"""A front on loopback with what is around every call of ours, over services that are scripted."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from headwater_server.runtime.activity import Activity
from headwater_server.runtime.front_http2 import Http2Server, Limits
from headwater_server.runtime.infrastructure import InfrastructureInterceptor
from headwater_server.runtime.interceptors import CallerInterceptor, ErrorInterceptor, ValidationInterceptor
from headwater_server.runtime.servicers import ANSWER, ASSISTANT, RETRIEVAL, add_servicer
from tests.orchestrator.backends import Services
from tests.runtime.serving import Stubs, connected

WAIT_SECONDS = 20


@asynccontextmanager
async def answering(
    services: Services, *, limits: Limits | None = None, tokens: Mapping[str, str] | None = None
) -> AsyncGenerator[tuple[Http2Server, str]]:
    """All our services, and health and reflection, behind a front; yields it and its address."""
    async with services.orchestrator(None) as orchestrator:
        server = Http2Server(
            [
                InfrastructureInterceptor(),
                ErrorInterceptor(Activity()),
                CallerInterceptor(tokens or {}),
                ValidationInterceptor(),
            ],
            limits,
        )
        served = {ANSWER: orchestrator, RETRIEVAL: services.retrieval, ASSISTANT: services.assistants}
        for service, implementation in served.items():
            add_servicer(server, service, implementation)
        health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
        names = [health.SERVICE_NAME, reflection.SERVICE_NAME, ANSWER.full_name]
        reflection.enable_server_reflection(names, server)
        async with started(server) as address:
            yield server, address


@asynccontextmanager
async def started(server: Http2Server, context: ssl.SSLContext | None = None) -> AsyncGenerator[str]:
    """A server that serves; yields its address."""
    port = server.listen("127.0.0.1:0", context)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def asked(services: Services, **options: Any) -> AsyncGenerator[Stubs]:
    """Stubs for services behind a front."""
    async with answering(services, **options) as (_, address), connected(address) as stubs:
        yield stubs


@asynccontextmanager
async def raw(address: str, **options: Any) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which nothing is read or written but what a test does."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), **options)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


def method(stubs: Stubs, kind: str) -> Any:
    """What calls `/test.Echo/KIND` with bytes: those that a stub would have types for."""
    snake = {"UnaryUnary": "unary_unary", "UnaryStream": "unary_stream", "StreamUnary": "stream_unary"}
    return getattr(stubs.channel, snake.get(kind, "stream_stream"))(f"/test.Echo/{kind}")


def echo(server: Http2Server, behaviors: Mapping[str, Any]) -> None:
    """Adds handlers of bytes, each for `/test.Echo/NAME`, of the kind that its name says."""
    makers = {
        "UnaryUnary": grpc.unary_unary_rpc_method_handler,
        "UnaryStream": grpc.unary_stream_rpc_method_handler,
        "StreamUnary": grpc.stream_unary_rpc_method_handler,
        "StreamStream": grpc.stream_stream_rpc_method_handler,
    }
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        name: makers[name](behavior) for name, behavior in behaviors.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
