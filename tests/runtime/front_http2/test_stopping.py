"""How a front stops: what runs may end, what comes goes elsewhere."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from headwater_server.runtime.front_http2 import Http2Server, transport
from headwater_server.runtime.front_http2.frames import FrameReader
from tests.malformed import frames
from tests.runtime.front_http2.serving import WAIT_SECONDS, echo, method, started
from tests.runtime.serving import connected

pytestmark = pytest.mark.anyio


class Gate:
    """A handler that says one thing, and the other when it is let."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, _: bytes, context: Any) -> None:
        await context.write(b"one")
        await self.open.wait()
        await context.write(b"two")


async def test_a_call_under_way_ends_as_it_would_have_and_no_other_begins() -> None:
    gate, server = Gate(), Http2Server()
    echo(server, {"UnaryStream": gate})
    async with started(server) as address, connected(address) as stubs, asyncio.timeout(WAIT_SECONDS):
        running = method(stubs, "UnaryStream")(b"")
        assert await running.read() == b"one"
        stopping = asyncio.create_task(server.stop(WAIT_SECONDS))
        await asyncio.sleep(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(stubs, "UnaryStream")(b"").read()
        gate.open.set()
        assert await running.read() == b"two"
        assert await running.read() is grpc.aio.EOF
        assert await running.code() is grpc.StatusCode.OK
        await stopping
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_what_has_not_ended_within_the_grace_is_ended() -> None:
    gate, server = Gate(), Http2Server()
    echo(server, {"UnaryStream": gate})
    async with started(server) as address, connected(address) as stubs, asyncio.timeout(WAIT_SECONDS):
        running = method(stubs, "UnaryStream")(b"")
        assert await running.read() == b"one"
        await server.stop(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await running.read()
    assert (ended.value.code(), ended.value.details()) == (grpc.StatusCode.UNAVAILABLE, "the server stops")


async def test_a_second_stop_does_not_wait_for_the_first() -> None:
    gate, server = Gate(), Http2Server()
    echo(server, {"UnaryStream": gate})
    async with started(server) as address, connected(address) as stubs, asyncio.timeout(WAIT_SECONDS):
        running = method(stubs, "UnaryStream")(b"")
        assert await running.read() == b"one"
        first = asyncio.create_task(server.stop(3600))
        await asyncio.sleep(0)
        await server.stop(0)
        await first


async def test_a_connection_is_told_and_closed_when_nothing_runs() -> None:
    server = Http2Server()
    async with started(server) as address, frames.connected(address) as connection, asyncio.timeout(WAIT_SECONDS):
        block = frames.header_block(frames.call_headers("/test.Echo/Nothing"))
        await connection.send(frames.frame(frames.HEADERS, block, flags=frames.END_HEADERS, stream=1))
        await connection.until_ended(1)  # so the connection is known to have been taken
        await server.stop(WAIT_SECONDS)
        await connection.until_closed()
    assert connection.heard.goaway == b""


class Pieces:
    """A handler of a large answer, and whether it has said all of it."""

    def __init__(self, count: int) -> None:
        self.said = asyncio.Event()
        self.size = count * (64 * 1024 + 5)
        self._count = count

    async def __call__(self, _: bytes, context: Any) -> None:
        for number in range(self._count):
            del number
            await context.write(bytes(64 * 1024))
        self.said.set()


class SlowReader:
    """Takes an answer without hurry, through a small buffer and windows without end."""

    def __init__(self, taken: socket.socket) -> None:
        self.size = 0
        self.ended = False
        self._socket = taken
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader()
        self._frames.greeted = True  # servers send no preface

    @classmethod
    @asynccontextmanager
    async def connected(cls, address: str) -> AsyncGenerator[SlowReader]:
        host, _, port = address.rpartition(":")
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            taken.setblocking(False)
            await asyncio.get_running_loop().sock_connect(taken, (host, int(port)))
            yield cls(taken)

    async def send(self, *parts: bytes) -> None:
        await self._loop.sock_sendall(self._socket, b"".join(parts))

    async def ask(self) -> None:
        """Makes a call."""
        block = frames.header_block(frames.call_headers("/test.Echo/UnaryStream"))
        widened = frames.frame(frames.WINDOW_UPDATE, (2**30).to_bytes(4))
        await self.send(
            frames.PREFACE,
            frames.frame(frames.SETTINGS, b"\0\4" + (2**30).to_bytes(4)) + widened,
            *frames.header_frames(block, stream=1),
            *frames.data_frames(frames.message(b""), stream=1),
        )

    async def read(self) -> bool:
        """Takes a little; whether there was any."""
        data = await self._loop.sock_recv(self._socket, 16 * 1024)
        for frame in self._frames.read(data):
            self.size += len(frame.payload) if frame.kind == frames.DATA else 0
            self.ended = self.ended or (frame.kind == frames.HEADERS and bool(frame.flags & frames.END_STREAM))
        return bool(data)

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def draining() -> AsyncGenerator[tuple[Http2Server, SlowReader]]:
    """A server that drains, and has said all of an answer whose reader takes it without hurry, and in the end all."""
    pieces, server = Pieces(128), Http2Server()
    echo(server, {"UnaryStream": pieces})
    async with (
        started(server) as address,
        asyncio.timeout(WAIT_SECONDS),
        SlowReader.connected(address) as reader,
    ):
        await reader.ask()
        await reader.read()
        stopping = asyncio.create_task(server.stop(WAIT_SECONDS))
        await asyncio.sleep(0)
        await reader.send(frames.frame(frames.PING, b"drained?", flags=frames.ACK))
        while not pieces.said.is_set():
            await reader.read()
        yield server, reader
        await stopping
    assert reader.size == pieces.size


async def test_a_reader_who_still_takes_the_end_of_its_answer_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_CLOSING_SECONDS", 0.1)
    async with draining() as (_, reader):
        await asyncio.sleep(0.5)  # longer than a connection has that closes at once
        while not reader.ended:
            await reader.send(frames.frame(frames.PING, bytes(8)))  # which a socket that is closed answers with a reset
            assert await reader.read()
        reader.close()


async def test_who_drains_can_wait_until_the_end_of_an_answer_is_taken() -> None:
    async with draining() as (server, reader):
        delivered = asyncio.create_task(server.delivered())
        await asyncio.sleep(0.2)  # more than it takes where nobody looks
        assert not delivered.done()
        while not reader.ended:
            assert await reader.read()
        reader.close()
        await delivered


async def test_a_peer_that_says_nothing_more_and_does_not_go_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_PARTING_SECONDS", 0.2)
    server = Http2Server()
    async with started(server) as address, frames.connected(address) as connection, asyncio.timeout(WAIT_SECONDS):
        await connection.send(frames.frame(frames.PING, b"drained?", flags=frames.ACK))
        await server.stop(3600)
        await connection.until_closed()


async def test_an_address_that_is_taken_is_told() -> None:
    async with started(Http2Server()) as address:
        with pytest.raises(RuntimeError, match="cannot listen on"):
            Http2Server().add_insecure_port(address)
