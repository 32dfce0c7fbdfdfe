"""grpclib: gRPC in Python, on h2."""

from __future__ import annotations

from typing import Any

from grpclib.const import (  # type: ignore[import-not-found]  # in a venv of its own
    Cardinality,
    Handler,
)
from grpclib.encoding.base import CodecBase  # type: ignore[import-not-found]  # in a venv of its own
from grpclib.server import Server  # type: ignore[import-not-found]  # in a venv of its own

from benchmarks.fronts.answers import METHOD, Answer


class _Raw(CodecBase):  # type: ignore[misc]  # the base has no types here
    """Messages as bytes."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, _: object) -> bytes:
        return message

    def decode(self, data: bytes, _: object) -> bytes:
        return data


class _Service:
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def stream(self, call: Any) -> None:
        request = await call.recv_message()
        async for chunk in self._answer(request):
            await call.send_message(chunk)

    def __mapping__(self) -> dict[str, Any]:
        return {METHOD: Handler(self.stream, Cardinality.UNARY_STREAM, bytes, bytes)}


async def serve(answer: Answer) -> int:
    """Begins to serve; returns the port."""
    server = Server([_Service(answer)], codec=_Raw())
    await server.start("127.0.0.1", 0)
    port: int = server._server.sockets[0].getsockname()[1]  # it has no public way to tell
    return port
