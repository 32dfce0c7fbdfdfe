"""grpc.aio, as Headwater uses it: a handler that writes, and no serializer."""

from __future__ import annotations

from typing import Any

import grpc

from benchmarks.fronts.answers import METHOD, Answer


async def serve(answer: Answer) -> int:
    """Begins to serve; returns the port."""

    async def stream(request: bytes, context: Any) -> None:
        async for chunk in answer(request):
            await context.write(chunk)

    service, _, name = METHOD[1:].partition("/")
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    handler = grpc.method_handlers_generic_handler(service, {name: grpc.unary_stream_rpc_method_handler(stream)})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _running.append(server)
    return port


_running: list[grpc.aio.Server] = []  # a server that nobody holds stops
