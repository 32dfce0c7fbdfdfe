"""A bare HTTP/2 server for gRPC: own frames, hpack for the headers that come in. The floor, not a server to be exposed.

It keeps to both windows and to the transport's pauses, and ends a connection that breaks the rules it knows of. It
counts nothing, so that a flood of what is allowed one by one goes unpunished.
"""

from __future__ import annotations

import asyncio
import struct
from typing import cast

import hpack

from benchmarks.fronts.answers import METHOD, Answer

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_MAX_FRAME = 16_384
_MAX_REQUEST_BYTES = 4 * 1024 * 1024
_MAX_HEADER_BYTES = 64 * 1024


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field that is not put into the table."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


_RESPONSE = b"\x88" + _literal(b"content-type", b"application/grpc")
_OK = _literal(b"grpc-status", b"0")
_UNIMPLEMENTED = _RESPONSE + _literal(b"grpc-status", b"12")


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


_MESSAGE = struct.Struct(">HBHIBI").pack
"""The head of a DATA frame and of its message: length (in two), type and flags, stream, compressed, length."""


class _Broken(Exception):
    """The connection breaks a rule."""


class _Connection(asyncio.Protocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._decoder = hpack.Decoder(max_header_list_size=_MAX_HEADER_BYTES)
        self._buffer = bytearray()
        self._greeted = False
        self._block = bytearray()
        self._block_of = 0
        self._block_ends = False
        self._requests: dict[int, bytearray] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._initial_window = 65_535
        self._window = 65_535
        self._windows: dict[int, int] = {}
        self._room = asyncio.Event()
        self._paused = False
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        transport.write(_frame(_SETTINGS, 0, 0, struct.pack(">HI", 3, 10_000)))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            self._read()
        except (_Broken, hpack.HPACKError):
            self._transport.write(_frame(_GOAWAY, 0, 0, struct.pack(">II", 0, 1)))
            self._transport.close()

    def _read(self) -> None:
        buffer, position = self._buffer, 0
        if not self._greeted:
            if len(buffer) < len(_PREFACE):
                return
            if not buffer.startswith(_PREFACE):
                raise _Broken("no HTTP/2")
            self._greeted, position = True, len(_PREFACE)
        while len(buffer) - position >= 9:
            high, low, kind, flags, stream = struct.unpack_from(">HBBBI", buffer, position)
            length = high << 8 | low
            if length > _MAX_FRAME:
                raise _Broken("a frame that is too large")
            end = position + 9 + length
            if len(buffer) < end:
                break
            self._take(kind, flags, stream & 0x7FFFFFFF, bytes(buffer[position + 9 : end]))
            position = end
        del buffer[:position]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block_of and (kind != _CONTINUATION or stream != self._block_of):
            raise _Broken("something within a block of headers")
        if kind == _WINDOW_UPDATE:
            self._widen(stream, payload)
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _HEADERS:
            self._block_of, self._block_ends = stream, bool(flags & _END_STREAM)
            payload = payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
            self._headers(flags, payload[5:] if flags & _PRIORITY else payload)
        elif kind == _CONTINUATION:
            self._headers(flags, payload)
        elif kind == _DATA:
            self._data(flags, stream, payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self._settings(payload)
        elif kind == _RST_STREAM:
            self._forget(stream)

    def _widen(self, stream: int, payload: bytes) -> None:
        more = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not stream:
            self._window += more
        elif stream in self._windows:
            self._windows[stream] += more
        self._room.set()

    def _settings(self, payload: bytes) -> None:
        for setting, value in struct.iter_unpack(">HI", payload):
            if setting == 4:
                for stream in self._windows:
                    self._windows[stream] += value - self._initial_window
                self._initial_window = value
        self._transport.write(_frame(_SETTINGS, _ACK, 0))
        self._room.set()

    def _headers(self, flags: int, payload: bytes) -> None:
        self._block += payload
        if len(self._block) > _MAX_HEADER_BYTES:
            raise _Broken("a block of headers that is too large")
        if not flags & _END_HEADERS:
            return
        stream, headers = self._block_of, self._decoder.decode(bytes(self._block), raw=True)
        self._block.clear()
        self._block_of = 0
        if self._block_ends or dict(headers).get(b":path") != METHOD.encode():
            self._transport.write(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _UNIMPLEMENTED))
        else:
            self._requests[stream] = bytearray()

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        if payload:
            opened = struct.pack(">I", len(payload))
            self._transport.write(_frame(_WINDOW_UPDATE, 0, 0, opened))
        request = self._requests.get(stream)
        if request is None:
            return
        request += payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
        if len(request) > _MAX_REQUEST_BYTES:
            raise _Broken("a request that is too large")
        if flags & _END_STREAM:
            del self._requests[stream]
            self._windows[stream] = self._initial_window
            self._tasks[stream] = self._loop.create_task(self._run(stream, bytes(request[5:])))

    def _forget(self, stream: int) -> None:
        self._requests.pop(stream, None)
        self._windows.pop(stream, None)
        if task := self._tasks.pop(stream, None):
            task.cancel()

    async def _run(self, stream: int, request: bytes) -> None:
        self._send(_frame(_HEADERS, _END_HEADERS, stream, _RESPONSE))
        windows = self._windows
        async for chunk in self._answer(request):
            size = len(chunk) + 5
            if self._paused or self._window < size or windows[stream] < size or size > _MAX_FRAME:
                await self._send_slowly(stream, b"\0" + len(chunk).to_bytes(4, "big") + chunk)
                continue
            self._window -= size
            windows[stream] -= size
            self._send(_MESSAGE(size >> 8, size & 255, 0, stream, 0, len(chunk)) + chunk)
        self._send(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _OK))
        del self._tasks[stream], windows[stream]

    async def _send_slowly(self, stream: int, message: bytes) -> None:
        while message:
            room = 0 if self._paused else min(self._window, self._windows[stream], _MAX_FRAME)
            if room <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            part, message = message[:room], message[room:]
            self._window -= len(part)
            self._windows[stream] -= len(part)
            self._send(_frame(_DATA, 0, stream, part))

    def _send(self, data: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        self._transport.write(b"".join(self._out))
        self._out.clear()

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
