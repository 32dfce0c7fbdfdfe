"""Streams that are about the transport alone, over Headwater's own front: `python -m tests.sdks.transport_server`.

It prints the port it listens on (127.0.0.1) as its only line, and stops when its standard input is closed.
`--tls-certificate` and `--tls-key` (PEM) secure it. `StreamAnswer` does what the prompt says:

- `count N`: N pieces of text, each with its number; `large N`: N pieces of a mebibyte;
- `size …`: one piece, the prompt's length;
- `fail`: one piece, and then a status with details;
- `hang`: one piece, and then nothing until the caller goes; `gone`: one piece, once a caller of `hang` has gone;
- `goaway`: one piece, then GOAWAY to every connection, and two pieces after that.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from headwater.v1 import answer_pb2, answer_service_pb2
from headwater_server.runtime.front_http2 import Http2Server
from headwater_server.runtime.front_http2.tls import http2_context

FAILURE = "langsam, 20 % – später"
_MEBIBYTE = "x" * 1024 * 1024


class Answers:
    """Plays what is asked for."""

    def __init__(self, server: Http2Server) -> None:
        self._server = server
        self._gone = asyncio.Event()

    async def stream(  # noqa: C901 (a line or two for each prompt)
        self, request: answer_service_pb2.StreamAnswerRequest, context: Any
    ) -> AsyncIterator[answer_pb2.AnswerChunk]:
        """Plays a prompt."""
        what, _, rest = request.prompt.partition(" ")
        match what:
            case "count":
                for number in range(int(rest)):
                    yield _piece(str(number))
            case "large":
                for _ in range(int(rest)):
                    yield _piece(_MEBIBYTE)
            case "size":
                yield _piece(str(len(request.prompt)))
            case "fail":
                yield _piece("part")
                await _abort(context)
            case "hang":
                yield _piece("one")
                try:
                    await asyncio.Event().wait()
                finally:
                    self._gone.set()
            case "gone":
                await self._gone.wait()
                self._gone.clear()
                yield _piece("gone")
            case "goaway":
                yield _piece("before")
                for transport in list(self._server._everything.open):
                    transport.drain()
                await asyncio.sleep(0.3)
                yield _piece("after")
                yield _piece("last")
            case _:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"nobody knows how to play {what[:20]!r}")


def _piece(text: str) -> answer_pb2.AnswerChunk:
    return answer_pb2.AnswerChunk(text=answer_pb2.TextDelta(text=text))


async def _abort(context: Any) -> None:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="PROVIDER_RATE_LIMITED", domain="headwater"))
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    status = status_pb2.Status(code=code.value[0], message=FAILURE, details=[detail])
    await context.abort(code, FAILURE, (("grpc-status-details-bin", status.SerializeToString()),))


async def serve(certificate: Path | None, key: Path | None) -> None:
    """Serves until standard input is closed."""
    server = Http2Server()
    handler = grpc.unary_stream_rpc_method_handler(
        Answers(server).stream,
        request_deserializer=answer_service_pb2.StreamAnswerRequest.FromString,
        response_serializer=answer_pb2.AnswerChunk.SerializeToString,
    )
    server.add_registered_method_handlers("headwater.v1.AnswerService", {"StreamAnswer": handler})
    port = server.listen("127.0.0.1:0", http2_context(certificate, key) if certificate and key else None)
    await server.start()
    print(port, flush=True)  # noqa: T201 (how callers learn the port)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sdks.transport_server", description=__doc__)
    parser.add_argument("--tls-certificate", type=Path)
    parser.add_argument("--tls-key", type=Path)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.tls_certificate, arguments.tls_key))


if __name__ == "__main__":
    main()
