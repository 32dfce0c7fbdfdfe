"""A front of our own on h2: its state machine for the protocol, one write for all that one turn of the loop brings."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from h2.config import H2Configuration  # type: ignore[import-not-found]  # in a venv of its own
from h2.connection import H2Connection  # type: ignore[import-not-found]  # in a venv of its own
from h2.events import (  # type: ignore[import-not-found]  # in a venv of its own
    DataReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError  # type: ignore[import-not-found]  # in a venv of its own
from h2.settings import SettingCodes  # type: ignore[import-not-found]  # in a venv of its own

from benchmarks.fronts.answers import METHOD, Answer

_HEADERS = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_MAX_REQUEST_BYTES = 4 * 1024 * 1024


class _Connection(asyncio.Protocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._requests: dict[int, bytearray] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Event()  # set when a window or the transport may have opened
        self._paused = False
        self._flush_is_due = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._h2.initiate_connection()
        self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 10_000})
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
        except ProtocolError:
            self._flush()
            self._transport.close()
            return
        self._flush()

    def _take(self, event: Any) -> None:
        stream = getattr(event, "stream_id", 0)
        if isinstance(event, RequestReceived):
            path = next((value for name, value in event.headers if name == b":path"), b"")
            if path == METHOD.encode():
                self._requests[stream] = bytearray()
            else:
                status = [*_HEADERS, (b"grpc-status", b"12")]
                self._h2.send_headers(stream, status, end_stream=True)
        elif isinstance(event, DataReceived) and stream in self._requests:
            self._requests[stream] += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
            if len(self._requests[stream]) > _MAX_REQUEST_BYTES:
                raise ProtocolError("a request that is too large")
        elif isinstance(event, StreamEnded) and stream in self._requests:
            request = bytes(self._requests.pop(stream)[5:])
            self._tasks[stream] = self._loop.create_task(self._run(stream, request))
        elif isinstance(event, StreamReset):
            self._requests.pop(stream, None)
            if task := self._tasks.pop(stream, None):
                task.cancel()
        elif isinstance(event, WindowUpdated):
            self._room.set()

    async def _run(self, stream: int, request: bytes) -> None:
        self._h2.send_headers(stream, _HEADERS)
        async for chunk in self._answer(request):
            message = b"\0" + len(chunk).to_bytes(4, "big") + chunk
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            while self._paused or room < len(message):
                if room > 0 and not self._paused:
                    self._h2.send_data(stream, message[:room])
                    message = message[room:]
                    self._flush_soon()
                self._room.clear()
                await self._room.wait()
                room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            self._h2.send_data(stream, message)
            self._flush_soon()
        self._h2.send_headers(stream, [(b"grpc-status", b"0")], end_stream=True)
        del self._tasks[stream]
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if data := self._h2.data_to_send():
            self._transport.write(data)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._room.set()

    def connection_lost(self, _: Exception | None) -> None:
        for task in self._tasks.values():
            task.cancel()


async def serve(answer: Answer) -> int:
    """Begins to serve; returns the port."""
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(answer), "127.0.0.1", 0)
    _running.append(server)
    port: int = server.sockets[0].getsockname()[1]
    return port


_running: list[asyncio.Server] = []
