"""Large answers: their readers keep their connections, and what nobody takes any more is not kept."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from headwater_server.runtime.front_http2 import Http2Server, transport
from headwater_server.runtime.front_http2.connection import Connection
from headwater_server.runtime.front_http2.fields import RequestHead
from headwater_server.runtime.front_http2.frames import ConnectionBroken, ErrorCode, FrameReader
from headwater_server.runtime.front_http2.sending import Outgoing
from tests.malformed import frames
from tests.malformed.frames import frame
from tests.runtime.front_http2.serving import WAIT_SECONDS, echo, started

pytestmark = pytest.mark.anyio

PIECE = 256 * 1024
COUNT = 256
_HEAD = frames.header_frames(frames.header_block(frames.call_headers("/test.Echo/UnaryStream")), stream=1, end=False)
_ASKED = b"".join([*_HEAD, *frames.data_frames(frames.message(b""), stream=1)])


async def _large(_: bytes, __: Any) -> AsyncIterator[bytes]:
    for number in range(COUNT):
        del number
        yield bytes(PIECE)


async def _piece_and_wait(_: bytes, __: Any) -> AsyncIterator[bytes]:
    yield bytes(PIECE)
    await asyncio.Event().wait()


async def _small(_: bytes, __: Any) -> AsyncIterator[bytes]:
    yield bytes(1_000)


def _server(behavior: Any) -> Http2Server:
    server = Http2Server()
    echo(server, {"UnaryStream": behavior})
    return server


async def test_a_reader_who_widens_both_windows_with_every_frame_gets_all_of_a_large_answer() -> None:
    async with (
        started(_server(_large)) as address,
        frames.connected(address) as connection,
        asyncio.timeout(3 * WAIT_SECONDS),
    ):
        await connection.send(_ASKED)
        await connection.until_ended(1)
        assert connection.heard.goaway is None
        assert connection.heard.status(1) is grpc.StatusCode.OK


class Reader:
    """A peer in a time that stands still: it widens windows by what it has read, in steps of a size."""

    def __init__(self, step: int) -> None:
        self.read = 0
        self._step = step
        self._unread = 0
        self._frames = FrameReader()
        list(self._frames.read(frames.PREFACE))
        self.connection = Connection(self, write=self._take, clock=lambda: 0.0, max_streams=10)
        self.connection.receive(frames.PREFACE + frame(frames.SETTINGS) + _ASKED)
        self.out: Outgoing = self.connection.outgoing(1)

    def _take(self, data: bytes) -> None:
        taken = sum(len(one.payload) for one in self._frames.read(data) if one.kind == frames.DATA)
        self.read += taken
        self._unread += taken

    def widen(self) -> None:
        """Widens the windows for all that has come."""
        while self._unread:
            step = min(self._step, self._unread)
            self._unread -= step
            more = step.to_bytes(4)
            self.connection.receive(frame(frames.WINDOW_UPDATE, more) + frame(frames.WINDOW_UPDATE, more, stream=1))

    def download(self) -> None:
        """Reads an answer of many pieces."""
        for _ in range(COUNT):
            self.connection.send_data(self.out, bytes(PIECE))
            while self.out.waiting:
                self.widen()

    def began(self, stream: int, head: RequestHead) -> None:
        del stream, head

    def received(self, stream: int, data: bytes) -> None:
        del stream, data

    def ended(self, stream: int) -> None:
        del stream

    def gone(self, stream: int) -> None:
        del stream

    def forgotten(self, stream: int) -> None:
        del stream


@pytest.mark.parametrize("step", [4_096, 16_384, 32_768])
def test_windows_that_are_widened_for_what_was_sent_cost_nothing(step: int) -> None:
    reader = Reader(step)
    reader.download()
    assert reader.read == COUNT * PIECE


def test_windows_that_are_widened_byte_by_byte_are_a_flood() -> None:
    reader = Reader(1)
    with pytest.raises(ConnectionBroken) as caught:
        reader.download()
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM
    assert reader.read < PIECE


def _transports() -> list[transport.ServerTransport]:
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, transport.ServerTransport)]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 (what is waited for tells nobody)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("behavior", [_piece_and_wait, _small], ids=["under way", "ended"])
async def test_nothing_stays_of_a_connection_that_is_lost(behavior: Any) -> None:
    before = len(_transports())
    async with started(_server(behavior)) as address:
        async with frames.connected(address, greet=False) as connection:
            await connection.send(frames.PREFACE, frame(frames.SETTINGS, b"\0\4\0\0\0\0"), _ASKED)
            await _until(lambda: 1 in connection.heard.headers)  # the answer has begun, and waits
            assert len(_transports()) == before + 1
        await _until(lambda: len(_transports()) == before)


async def test_an_answer_that_is_taken_late_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, timers = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def noted(delay: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        timer = call_later(delay, *args, **kwargs)
        if delay == transport._LINGERING_SECONDS:
            timers.append(timer)
        return timer

    monkeypatch.setattr(loop, "call_later", noted)
    async with (
        started(_server(_small)) as address,
        frames.connected(address, greet=False) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(frames.PREFACE, frame(frames.SETTINGS, b"\0\4\0\0\0\0"), _ASKED)
        await _until(lambda: bool(timers))
        assert not timers[0].cancelled()
        await connection.send(frame(frames.SETTINGS, b"\0\4\0\1\0\0"))
        await connection.until_ended(1)
        assert [timer.cancelled() for timer in timers] == [True]
