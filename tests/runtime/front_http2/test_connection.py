"""A connection frame by frame: what is answered, acknowledged, given back, and what ends it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any

import anyio
import grpc
import pytest

from headwater_server.runtime.front_http2 import Http2Server, Limits
from headwater_server.runtime.front_http2.connection import MAX_GROWTH, MAX_STREAM_WINDOW
from headwater_server.runtime.front_http2.connection import Connection as ServerConnection
from headwater_server.runtime.front_http2.fields import RequestHead
from headwater_server.runtime.front_http2.frames import FrameReader
from headwater_server.runtime.front_http2.sending import DEFAULT_WINDOW, WRITE_AHEAD_BYTES
from tests.malformed import frames
from tests.malformed.frames import Connection, frame
from tests.runtime.front_http2.serving import WAIT_SECONDS, echo, raw, started

pytestmark = pytest.mark.anyio

LIMITS = Limits(keepalive_seconds=0.2, keepalive_answer_seconds=1.5)
_GREETING = frames.PREFACE + frame(frames.SETTINGS) + frame(frames.SETTINGS, flags=frames.ACK)


class Stalled:
    """A handler that says as much as it can, and what became of it."""

    def __init__(self, size: int = 1_000) -> None:
        self.size = size
        self.written = 0
        self.ended = asyncio.Event()
        self._more = asyncio.Condition()

    async def reached(self, size: int) -> None:
        """Returns when so much was written."""
        async with self._more:
            await self._more.wait_for(lambda: self.written >= size)

    async def __call__(self, _: bytes, context: Any) -> None:
        try:
            while True:
                await context.write(bytes(self.size))
                self.written += self.size
                async with self._more:
                    self._more.notify_all()
        finally:
            self.ended.set()


async def _one(_: bytes, __: Any) -> AsyncIterator[bytes]:
    yield b"one"


async def _echo(request: bytes, _: Any) -> bytes:
    return request


async def _count(requests: AsyncIterator[bytes], _: Any) -> bytes:
    return str(len([request async for request in requests])).encode()


async def _wait(request: bytes, _: Any) -> bytes:
    await asyncio.Event().wait()
    return request


def _server(limits: Limits | None = None, **behaviors: Any) -> Http2Server:
    server = Http2Server(limits=limits)
    echo(server, behaviors or {"UnaryUnary": _echo, "UnaryStream": _one, "StreamUnary": _count})
    return server


def _head(kind: str, *, stream: int = 1, end: bool = False, changed: frames.Headers = ()) -> bytes:
    block = frames.header_block([*frames.call_headers(f"/test.Echo/{kind}"), *changed])
    return b"".join(frames.header_frames(block, stream=stream, end=end))


def _asked(kind: str, message: bytes = b"", *, stream: int = 1) -> bytes:
    return _head(kind, stream=stream) + b"".join(frames.data_frames(frames.message(message), stream=stream))


def _settings(setting: int, value: int) -> bytes:
    return frame(frames.SETTINGS, struct.pack(">HI", setting, value))


async def _settled(stalled: Stalled) -> int:
    """How much a handler has written when it writes no more."""
    before = -1
    while before != stalled.written:
        before = stalled.written
        await asyncio.sleep(0.1)
    return before


async def test_a_padded_request_in_many_frames_with_priorities_and_unknown_ones_between() -> None:
    block = frames.header_block(frames.call_headers("/test.Echo/UnaryUnary"))
    message = frames.message(b"padded")
    async with started(_server()) as address, frames.connected(address) as connection:
        await connection.send(
            frame(frames.PRIORITY, bytes(5), stream=9),
            frame(frames.HEADERS, b"\x02" + bytes(5) + block[:7] + b"\0\0", flags=0x8 | 0x20, stream=1),
            frame(frames.CONTINUATION, block[7:30], stream=1),
            frame(frames.CONTINUATION, block[30:], flags=frames.END_HEADERS, stream=1),
            frame(0xEE, b"whatever", stream=1),
            *(
                frame(frames.DATA, b"\x05" + message[at : at + 1] + bytes(5), flags=frames.PADDED, stream=1)
                for at in range(len(message))
            ),
            frame(frames.DATA, b"\0", flags=frames.PADDED | frames.END_STREAM, stream=1),
        )
        async with asyncio.timeout(WAIT_SECONDS):
            await connection.until_ended(1)
        assert connection.heard.status(1) is grpc.StatusCode.OK


async def test_trailers_of_a_request_end_it() -> None:
    async with started(_server()) as address, frames.connected(address) as connection, asyncio.timeout(WAIT_SECONDS):
        await connection.send(_head("StreamUnary"), frame(frames.DATA, frames.message(b"x") * 3, stream=1))
        await connection.send(*frames.header_frames(frames.literal(b"x-last", b"word"), stream=1, end=True))
        await connection.until_ended(1)
        assert connection.heard.status(1) is grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("kind", "sent", "changed", "code"),
    [
        ("StreamUnary", frames.message(b"whole") + b"\0\0\0", (), grpc.StatusCode.INTERNAL),
        ("StreamUnary", frames.message(bytes(2_000)), (), grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("StreamUnary", frames.message(b"x", compressed=True), (), grpc.StatusCode.INTERNAL),
        ("StreamUnary", frames.message(b"x", compressed=True), [(b"grpc-encoding", b"gzip")], grpc.StatusCode.INTERNAL),
        ("UnaryUnary", frames.message(b"x"), [(b"grpc-encoding", b"br")], grpc.StatusCode.UNIMPLEMENTED),
        ("UnaryUnary", b"", (), grpc.StatusCode.UNIMPLEMENTED),
    ],
    ids=["torn", "too large", "flagged", "not gzip", "unknown encoding", "none"],
)
async def test_what_is_no_message_ends_its_call_with_the_status_that_says_so(
    kind: str, sent: bytes, changed: frames.Headers, code: grpc.StatusCode
) -> None:
    async with (
        started(_server(Limits(max_message=1_000))) as address,
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(_head(kind, changed=changed), *frames.data_frames(sent, stream=1))
        await connection.until_ended(1)
        assert connection.heard.status(1) is code
        await connection.send(_asked("UnaryUnary", stream=3))
        await connection.until_ended(3)
        assert connection.heard.status(3) is grpc.StatusCode.OK


async def test_a_message_that_is_too_large_to_be_sent_is_a_status() -> None:
    async with (
        started(_server(Limits(max_sent=10))) as address,
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(_asked("UnaryUnary", bytes(11)))
        await connection.until_ended(1)
        assert connection.heard.status(1) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert connection.heard.header(1, "grpc-message") == "Sent message larger than max (11 vs. 10)"


async def _stalled(connection: Connection) -> None:
    """Greets with windows of nothing, and asks."""
    await connection.send(frames.PREFACE, _settings(4, 0), _asked("UnaryStream"))


async def test_a_stalled_reader_holds_up_its_writer_after_a_little() -> None:
    stalled = Stalled()
    async with (
        started(_server(UnaryStream=stalled)) as address,
        frames.connected(address, greet=False) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await _stalled(connection)
        await stalled.reached(1)
        assert await _settled(stalled) <= WRITE_AHEAD_BYTES
        await connection.send(frame(frames.RST_STREAM, bytes(4), stream=1))
        await stalled.ended.wait()


async def test_a_reader_with_windows_without_end_who_takes_nothing_holds_up_its_writer_too() -> None:
    stalled = Stalled()
    async with started(_server(UnaryStream=stalled)) as address, asyncio.timeout(WAIT_SECONDS):
        async with raw(address, limit=1) as (_, writer):
            widened = frame(frames.WINDOW_UPDATE, (2**30).to_bytes(4))
            writer.write(frames.PREFACE + _settings(4, 2**31 - 1) + widened + _asked("UnaryStream"))
            await asyncio.sleep(0.2)
            assert 0 < await _settled(stalled) < 32 * 1024 * 1024  # most of it is in the system's buffers
        await stalled.ended.wait()


async def test_a_small_answer_ends_its_handler_though_nobody_takes_it_and_comes_when_somebody_does() -> None:
    async with (
        started(_server()) as address,
        frames.connected(address, greet=False) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await _stalled(connection)
        await connection.send(_asked("UnaryUnary", bytes(20), stream=3), frame(frames.PING, bytes(8)))
        await asyncio.sleep(0.1)
        assert not connection.heard.ended
        await connection.send(_settings(4, 100))
        await connection.until_ended(1, 3)
        assert connection.heard.status(1) is connection.heard.status(3) is grpc.StatusCode.OK


async def test_a_window_may_become_negative_and_open_again() -> None:
    stalled = Stalled(size=50_000)
    async with (
        started(_server(UnaryStream=stalled)) as address,
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(_settings(4, 10), _asked("UnaryStream"), _settings(4, 0))
        await connection.send(_settings(4, 65_535))
        await stalled.reached(200_000)


async def test_a_handler_that_always_has_room_lets_others_have_their_turn() -> None:
    stalled = Stalled(size=100)
    async with (
        started(_server(UnaryStream=stalled, UnaryUnary=_echo)) as address,
        frames.connected(address) as greedy,
        frames.connected(address) as other,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await greedy.send(_settings(4, 2**31 - 1), frame(frames.WINDOW_UPDATE, (2**30).to_bytes(4)))
        await greedy.send(_asked("UnaryStream"))
        await other.send(_asked("UnaryUnary"))
        await other.until_ended(1)
        assert other.heard.status(1) is grpc.StatusCode.OK


async def test_a_silent_peer_with_a_call_is_given_up_and_one_that_answers_is_not() -> None:
    async with (
        started(_server(LIMITS, UnaryUnary=_wait)) as address,
        frames.connected(address) as alive,
        asyncio.timeout(WAIT_SECONDS),
        raw(address) as (reader, writer),
    ):
        await alive.send(_asked("UnaryUnary"))
        writer.write(_GREETING)
        writer.write(_asked("UnaryUnary"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(1_000_000)
        assert not alive.heard.closed


def test_a_peer_that_answers_within_a_tick_of_the_clock_is_not_given_up() -> None:
    pytest.importorskip("uvloop")  # its clock tells milliseconds, and an answer on one machine takes less

    async def asked_often() -> None:
        limits = Limits(keepalive_seconds=0.01, keepalive_answer_seconds=0.2)
        async with started(_server(limits, UnaryUnary=_wait)) as address, frames.connected(address) as alive:
            await alive.send(_asked("UnaryUnary"))
            await asyncio.sleep(3)
            assert not alive.heard.closed

    anyio.run(asked_often, backend_options={"use_uvloop": True})


async def test_a_silent_peer_without_a_call_is_left_in_peace() -> None:
    async with started(_server(LIMITS)) as address, asyncio.timeout(WAIT_SECONDS), raw(address) as (reader, writer):
        writer.write(_GREETING)
        writer.write(_asked("UnaryUnary"))
        await asyncio.sleep(2.5)  # longer than one with a call would have
        assert not reader.at_eof()


async def test_who_never_notes_our_settings_is_shown_out() -> None:
    async with (
        started(_server(Limits(greeting_seconds=0.2))) as address,
        asyncio.timeout(WAIT_SECONDS),
        raw(address) as (reader, writer),
    ):
        writer.write(frames.PREFACE + frame(frames.SETTINGS))
        assert b"no greeting" in await reader.read()


async def test_a_connection_too_many_is_closed_at_once() -> None:
    async with (
        started(_server(Limits(max_connections=1))) as address,
        frames.connected(address) as first,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await first.send(_asked("UnaryUnary"))
        await first.until_ended(1)
        async with frames.connected(address) as second:
            await second.until_closed()
        await first.send(_asked("UnaryUnary", stream=3))
        await first.until_ended(3)


class Reader:
    """Reads all that comes at once, or nothing."""

    def __init__(self, *, reads: bool) -> None:
        self.given = 0
        self._reads = reads
        self._frames = FrameReader()
        list(self._frames.read(frames.PREFACE))
        self.connection = ServerConnection(self, write=self._note, clock=lambda: 0.0, max_streams=1_000)
        self.connection.receive(_GREETING)

    def _note(self, data: bytes) -> None:
        given = [one for one in self._frames.read(data) if one.kind == frames.WINDOW_UPDATE and one.stream]
        self.given += sum(int.from_bytes(one.payload) for one in given)

    def began(self, stream: int, head: RequestHead) -> None:
        del stream, head

    def received(self, stream: int, data: bytes) -> None:
        if self._reads:
            self.connection.consumed(stream, len(data))

    def ended(self, stream: int) -> None:
        del stream

    def gone(self, stream: int) -> None:
        del stream

    def forgotten(self, stream: int) -> None:
        del stream


def test_the_window_of_a_stream_that_is_read_grows_within_bounds_and_of_no_other() -> None:
    reading, resting = Reader(reads=True), Reader(reads=False)
    resting.connection.receive(_head("StreamUnary") + frame(frames.DATA, bytes(16_384), stream=1))
    assert resting.given == 0
    sent = 16_384 * 256
    for stream in range(1, 81, 2):
        reading.connection.receive(_head("StreamUnary", stream=stream))
        for _ in range(256):
            reading.connection.receive(frame(frames.DATA, bytes(16_384), stream=stream))
        if stream == 1:
            assert MAX_STREAM_WINDOW // 2 - DEFAULT_WINDOW < reading.given - sent <= MAX_STREAM_WINDOW
    assert reading.given - 40 * sent <= MAX_GROWTH
    for stream in range(1, 81, 2):
        reading.connection.receive(frame(frames.RST_STREAM, bytes(4), stream=stream))
    before = reading.given
    reading.connection.receive(_head("StreamUnary", stream=81))
    for _ in range(256):
        reading.connection.receive(frame(frames.DATA, bytes(16_384), stream=81))
    assert reading.given - before - sent > 0


async def test_a_peer_that_takes_no_statuses_is_read_no_further() -> None:
    async with started(_server()) as address, asyncio.timeout(WAIT_SECONDS), raw(address, limit=1) as (_, writer):
        writer.write(_GREETING)
        taken, stream = 0, 1
        while True:
            writer.write(b"".join(_head("Nothing", stream=stream + 2 * n, end=True) for n in range(1_000)))
            taken, stream = taken + 1_000, stream + 2_000
            try:
                async with asyncio.timeout(1.0):
                    await writer.drain()
            except TimeoutError:
                break
            assert taken < 2_000_000
