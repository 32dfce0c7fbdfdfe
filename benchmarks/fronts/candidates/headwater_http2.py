"""Headwater's own front, made of what `own_frames` has shown: with all its limits, and a handler as grpc.aio has it."""

from __future__ import annotations

from typing import Any

import grpc

from benchmarks.fronts.answers import METHOD, Answer
from headwater_server.runtime.front_http2 import Http2Server, Limits


async def serve(answer: Answer) -> int:
    """Begins to serve; returns the port."""

    async def stream(request: bytes, context: Any) -> None:
        async for chunk in answer(request):
            await context.write(chunk)

    service, _, name = METHOD[1:].partition("/")
    server = Http2Server(limits=Limits(max_streams=10_000))
    server.add_registered_method_handlers(service, {name: grpc.unary_stream_rpc_method_handler(stream)})
    port = server.listen("127.0.0.1:0")
    await server.start()
    return port
