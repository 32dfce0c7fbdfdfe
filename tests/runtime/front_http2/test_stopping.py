"""How a front stops: what runs may end, what comes goes elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from headwater_server.runtime.front_http2 import Http2Server
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


async def test_an_address_that_is_taken_is_told() -> None:
    async with started(Http2Server()) as address:
        with pytest.raises(RuntimeError, match="cannot listen on"):
            Http2Server().add_insecure_port(address)
