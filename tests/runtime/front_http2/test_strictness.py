"""What HTTP/2 does not allow is not taken as good: malformed calls end, and broken connections are closed."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from headwater_server.runtime.front_http2 import Http2Server
from tests.malformed import frames
from tests.malformed.frames import frame
from tests.runtime.front_http2.serving import WAIT_SECONDS, echo, started

pytestmark = pytest.mark.anyio

PROTOCOL_ERROR, STREAM_CLOSED = 1, 5
MESSAGE = frames.message(b"message")


async def _count(requests: object, _: object) -> bytes:
    return str(len([request async for request in requests])).encode()  # type: ignore[attr-defined]


def _server() -> Http2Server:
    server = Http2Server()
    echo(server, {"StreamUnary": _count})
    return server


def _head(stream: int = 1, *, changed: dict[bytes, bytes | None] | None = None, end: bool = False) -> bytes:
    block = frames.header_block(frames.call_headers("/test.Echo/StreamUnary", changed=changed))
    return b"".join(frames.header_frames(block, stream=stream, end=end))


def _trailers(*fields: tuple[bytes, bytes], stream: int = 1) -> bytes:
    return b"".join(frames.header_frames(frames.header_block(fields), stream=stream, end=True))


def _data(data: bytes, *, end: bool = False) -> bytes:
    return frame(frames.DATA, data, stream=1, flags=frames.END_STREAM if end else 0)


def _length(said: int) -> dict[bytes, bytes | None]:
    return {b"content-length": str(said).encode()}


@pytest.mark.parametrize(
    "sent",
    [
        _head() + _data(MESSAGE) + _trailers((b":path", b"/other")),
        _head() + _data(MESSAGE) + _trailers((b"X-Last", b"word")),
        _head() + _data(MESSAGE) + _trailers((b"x-last", b"a\r\nb")),
        _head() + _data(MESSAGE) + _trailers((b"connection", b"close")),
        _head(changed=_length(len(MESSAGE) + 1)) + _data(MESSAGE, end=True),
        _head(changed=_length(len(MESSAGE) + 1)) + _data(MESSAGE) + _trailers((b"x-last", b"word")),
        _head(changed=_length(len(MESSAGE) - 1)) + _data(MESSAGE),
        _head(changed=_length(1), end=True),
        _head(changed={b"content-length": b"-1"}),
        _head(changed={b":path": b"/test.Echo/StreamUnary\0"}),
        _head(changed={b":path": b"/test.Echo/StreamUnary\r\nx-odd: x"}),
        _head(changed={b":authority": b"localhost\n"}),
    ],
    ids=[
        "trailers with a pseudo header",
        "trailers in upper case",
        "trailers with lines",
        "trailers of the connection",
        "less than its length",
        "less than its length, and trailers",
        "more than its length",
        "nothing of its length",
        "length that is none",
        "path with NUL",
        "path with lines",
        "authority with a line",
    ],
)
async def test_a_malformed_call_is_reset_and_the_next_is_served(sent: bytes) -> None:
    async with (
        started(_server()) as address,
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(sent)
        await connection.until_ended(1)
        assert connection.heard.resets == {1: PROTOCOL_ERROR}
        assert connection.heard.status(1) is None
        await connection.send(_head(3), *frames.data_frames(MESSAGE, stream=3))
        await connection.until_ended(3)
        assert connection.heard.status(3) is grpc.StatusCode.OK


async def test_two_lengths_that_differ_are_malformed() -> None:
    fields = [*frames.call_headers("/test.Echo/StreamUnary"), (b"content-length", b"1"), (b"content-length", b"12")]
    async with (
        started(_server()) as address,
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(*frames.header_frames(frames.header_block(fields), stream=1))
        await connection.until_ended(1)
        assert connection.heard.resets == {1: PROTOCOL_ERROR}


async def test_a_call_of_the_length_that_it_says_is_served() -> None:
    async with (
        started(_server()) as address,
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        padded = frame(frames.DATA, b"\x03" + MESSAGE + bytes(3), stream=1, flags=frames.PADDED | frames.END_STREAM)
        await connection.send(_head(changed=_length(2 * len(MESSAGE))), _data(MESSAGE), padded)
        await connection.until_ended(1)
        assert connection.heard.status(1) is grpc.StatusCode.OK


async def test_a_stream_below_one_that_has_begun_is_closed() -> None:
    async with (
        started(_server()) as address,
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(_head(3), _head(1))
        await connection.until_ended(1)
        assert connection.heard.resets == {1: STREAM_CLOSED}
        await connection.send(*frames.data_frames(MESSAGE, stream=3))
        await connection.until_ended(3)
        assert connection.heard.status(3) is grpc.StatusCode.OK


@pytest.mark.parametrize(
    "sent",
    [
        frame(frames.DATA, bytes(40), stream=2),
        frame(frames.WINDOW_UPDATE, b"\0\0\0\1", stream=2),
        frame(frames.RST_STREAM, bytes(4), stream=2),
        frame(frames.PRIORITY, bytes(5)),
    ],
    ids=["DATA on an even stream", "WINDOW_UPDATE on one", "RST_STREAM on one", "PRIORITY of no stream"],
)
async def test_a_frame_where_none_can_be_ends_the_connection(sent: bytes) -> None:
    async with (
        started(_server()) as address,
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(_head(3), sent)
        await connection.until_closed()
        assert connection.heard.goaway
