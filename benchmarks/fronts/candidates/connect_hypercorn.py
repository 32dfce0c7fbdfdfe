"""connectrpc's application (gRPC by its ASGI side) on hypercorn."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

from connectrpc.method import (  # type: ignore[import-not-found]  # in a venv of its own
    IdempotencyLevel,
    MethodInfo,
    StreamType,
)
from connectrpc.server import (  # type: ignore[import-not-found]  # in a venv of its own
    ConnectASGIApplication,
    Endpoint,
)
from hypercorn.asyncio import serve as serve_asgi  # type: ignore[import-not-found]  # in a venv of its own
from hypercorn.config import Config  # type: ignore[import-not-found]  # in a venv of its own

from benchmarks.fronts.answers import METHOD, Answer


class _Raw:
    """Messages as bytes."""

    def name(self) -> str:
        return "proto"

    def encode(self, message: bytes) -> bytes:
        return message

    def decode(self, data: bytes | bytearray, _: object) -> bytes:
        return bytes(data)


class _Application(ConnectASGIApplication):  # type: ignore[misc]  # the base has no types here
    @property
    def path(self) -> str:
        return METHOD.rpartition("/")[0]


async def serve(answer: Answer) -> int:
    """Begins to serve; returns the port."""

    async def stream(request: bytes, _: object) -> AsyncIterator[bytes]:
        async for chunk in answer(request):
            yield chunk

    service, _, name = METHOD[1:].partition("/")
    info = MethodInfo(
        name=name,
        service_name=service,
        input=bytes,
        output=bytes,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.SERVER_STREAM,
    )

    def endpoints(_: object) -> dict[str, Any]:
        return {METHOD: Endpoint.server_stream(info, stream)}

    application = _Application(service=None, endpoints=endpoints, codecs=[_Raw()], compressions=())
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.h2_max_concurrent_streams = 10_000
    _running.append(asyncio.create_task(serve_asgi(application, config, shutdown_trigger=asyncio.Event().wait)))
    return port


_running: list[asyncio.Task[None]] = []  # a task that nobody holds may vanish
