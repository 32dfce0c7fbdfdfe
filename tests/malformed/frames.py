"""HTTP/2 by hand, for what no client library would send: frames of any kind in any order, and what comes back."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import grpc
import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8

CODES = {code.value[0]: code for code in grpc.StatusCode}

Headers = Iterable[tuple[bytes, bytes]]


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """A frame; its length is true, all else is as it is given."""
    return len(payload).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header field as HPACK's literal that is never indexed, so that its bytes are what they are."""
    return b"\x10" + _string(name) + _string(value)


def header_block(headers: Headers) -> bytes:
    """Header fields, each as a literal."""
    return b"".join(literal(name, value) for name, value in headers)


def call_headers(path: str, *, token: str = "", changed: Mapping[bytes, bytes | None] | None = None) -> Headers:
    """The headers of a gRPC call.

    Args:
        path: `/package.Service/Method`.
        token: The credential; none if it is empty.
        changed: Headers that are another, or None: left out; new ones come last.
    """
    headers: dict[bytes, bytes | None] = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path.encode(),
        b":authority": b"localhost",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    if token:
        headers[b"authorization"] = b"Bearer " + token.encode()
    headers |= changed or {}
    return [(name, value) for name, value in headers.items() if value is not None]


def message(data: bytes, *, compressed: bool = False, length: int | None = None) -> bytes:
    """A message with gRPC's prefix of five bytes; `length` is the one it claims to have."""
    return struct.pack(">BI", compressed, len(data) if length is None else length) + data


def header_frames(block: bytes, *, stream: int, end: bool = False) -> list[bytes]:
    """HEADERS and as many CONTINUATIONs as a block needs."""
    pieces = [block[begin : begin + 16_384] for begin in range(0, len(block), 16_384)]
    kinds = [HEADERS] + [CONTINUATION] * (len(pieces) - 1)
    flags = [END_STREAM if end else 0] + [0] * (len(pieces) - 1)
    flags[-1] |= END_HEADERS
    return [frame(*each[:2], flags=each[2], stream=stream) for each in zip(kinds, pieces, flags, strict=True)]


def data_frames(data: bytes, *, stream: int, end: bool = True) -> list[bytes]:
    """DATA frames of the size that every peer takes."""
    pieces = [data[begin : begin + 16_384] for begin in range(0, len(data), 16_384)] or [b""]
    frames = [frame(DATA, piece, stream=stream) for piece in pieces[:-1]]
    return [*frames, frame(DATA, pieces[-1], stream=stream, flags=END_STREAM if end else 0)]


@dataclass
class Heard:
    """What a server has said on one connection."""

    headers: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    """Headers and trailers of each stream, together."""
    resets: dict[int, int] = field(default_factory=dict)
    """The error code with which it reset a stream."""
    ended: set[int] = field(default_factory=set)
    """The streams that it has ended."""
    goaway: bytes | None = None
    """Why it lets go of the connection, in its own words."""
    closed: bool = False
    """Whether the connection is closed."""
    frames: int = 0

    def header(self, stream: int, name: str) -> str:
        """A header, or trailer, of a stream; empty if it has none."""
        return self.headers.get(stream, {}).get(name.encode(), b"").decode()

    def status(self, stream: int) -> grpc.StatusCode | None:
        """The status of a call; None if it has none."""
        number = self.header(stream, "grpc-status")
        return CODES[int(number)] if number else None


class Connection:
    """A connection on which anything can be sent; use `connected`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = hpack.Decoder(max_header_list_size=1024 * 1024)
        self._window = asyncio.Condition()
        self._initial_window = 65_535
        self._windows: dict[int, int] = {0: 65_535}  # of a stream, what was given beside the initial one
        self.heard = Heard()

    async def send(self, *parts: bytes) -> bool:
        """Sends bytes; whether the server still takes any."""
        with suppress(OSError):
            self._writer.write(b"".join(parts))
            await self._writer.drain()
            return not self.heard.closed
        return False

    async def send_data(self, data: bytes, *, stream: int, end: bool = True) -> None:
        """Sends DATA as far as the server's windows let it."""
        for part in data_frames(data, stream=stream, end=end):
            size = len(part) - 9
            async with self._window:
                while not self._gone(stream) and self._room(stream) < size:
                    await self._window.wait()
            if self._gone(stream):
                return
            self._windows[0] -= size
            self._windows[stream] = self._windows.get(stream, 0) - size
            await self.send(part)

    async def until_ended(self, *streams: int) -> None:
        """Returns when the server has ended these streams, or the connection."""
        async with self._window:
            await self._window.wait_for(lambda: all(self._gone(stream) for stream in streams))

    async def until_closed(self) -> None:
        """Returns when the server has closed the connection."""
        async with self._window:
            await self._window.wait_for(lambda: self.heard.closed)

    def _gone(self, stream: int) -> bool:
        return self.heard.closed or stream in self.heard.ended or stream in self.heard.resets

    def _room(self, stream: int) -> int:
        return min(self._windows[0], self._windows.get(stream, 0) + self._initial_window)

    async def listen(self) -> None:
        """Reads what the server says, to the end of the connection."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await self._reader.readexactly(9)
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                payload = await self._reader.readexactly(int.from_bytes(head[:3]))
                async with self._window:
                    self._take(kind, flags, stream & 0x7FFFFFFF, payload)
                    self._window.notify_all()
        async with self._window:
            self.heard.closed = True
            self._window.notify_all()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.heard.frames += 1
        match kind:
            case 0x0 if payload:
                opened = len(payload).to_bytes(4)
                self._writer.write(frame(WINDOW_UPDATE, opened) + frame(WINDOW_UPDATE, opened, stream=stream))
            case 0x1:  # HEADERS: grpc's servers send each block in one frame
                fields = self._decoder.decode(payload, raw=True)
                self.heard.headers.setdefault(stream, {}).update((bytes(name), bytes(value)) for name, value in fields)
            case 0x3:
                self.heard.resets[stream] = int.from_bytes(payload)
            case 0x4 if not flags & ACK:
                given = dict(struct.iter_unpack(">HI", payload))
                self._initial_window = given.get(0x4, self._initial_window)
                self._writer.write(frame(SETTINGS, flags=ACK))
            case 0x6 if not flags & ACK:
                self._writer.write(frame(PING, payload, flags=ACK))
            case 0x7:
                self.heard.goaway = payload[8:]
            case 0x8:
                self._windows[stream] = self._windows.get(stream, 0) + int.from_bytes(payload)
        if kind in {DATA, HEADERS} and flags & END_STREAM:
            self.heard.ended.add(stream)


@asynccontextmanager
async def connected(target: str, *, greet: bool = True) -> AsyncIterator[Connection]:
    """A connection to a server; `greet` sends the preface and empty settings."""
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = Connection(reader, writer)
    listening = asyncio.create_task(connection.listen())
    try:
        if greet:
            await connection.send(PREFACE, frame(SETTINGS))
        yield connection
    finally:
        listening.cancel()
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(listening, return_exceptions=True)
            await writer.wait_closed()


def _string(text: bytes) -> bytes:
    return _integer(len(text)) + text


def _integer(number: int) -> bytes:
    """HPACK's integer with a prefix of seven bits."""
    if number < 127:
        return bytes([number])
    number -= 127
    encoded = b"\x7f"
    while number >= 128:
        encoded += bytes([number % 128 + 128])
        number //= 128
    return encoded + bytes([number])
