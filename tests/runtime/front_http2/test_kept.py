"""Too much that nobody has read yet: whoever has sent most of it pays, and nobody else."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from headwater_server.runtime.front_http2 import Http2Server, kept
from tests.malformed import frames
from tests.malformed.frames import Connection
from tests.runtime.front_http2.serving import WAIT_SECONDS, echo, method, started
from tests.runtime.serving import connected

pytestmark = pytest.mark.anyio

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


async def _echo(request: bytes, _: Any) -> bytes:
    return request


def _server() -> Http2Server:
    server = Http2Server()
    echo(server, {"UnaryUnary": _echo})
    return server


async def _begin(connection: Connection, stream: int, size: int) -> None:
    """Sends a message but for its last byte."""
    block = frames.header_block(frames.call_headers("/test.Echo/UnaryUnary"))
    data = frames.message(bytes(size), length=size + 1)
    await connection.send(*frames.header_frames(block, stream=stream))
    await connection.send_data(data, stream=stream, end=False)


async def _settled(connection: Connection) -> None:
    """Returns when the server has read all that was sent before."""
    await connection.send(*frames.header_frames(frames.header_block([]) or b"\x82", stream=9_999, end=True))
    await connection.until_ended(9_999)


async def test_the_messages_of_a_few_that_never_end_fail_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_KEPT_BYTES_OF_ALL", 1_000_000)
    async with started(_server()) as address, AsyncExitStack() as stack, asyncio.timeout(WAIT_SECONDS):
        hoarders = [await stack.enter_async_context(frames.connected(address)) for _ in range(4)]
        for hoarder in hoarders:
            for stream in (1, 3, 5, 7, 9):
                await _begin(hoarder, stream, 49_000)
            await _settled(hoarder)
        stubs = await stack.enter_async_context(connected(address))
        for _ in range(20):
            assert await method(stubs, "UnaryUnary")(bytes(100_000)) == bytes(100_000)
        ended = [hoarder.heard.status(stream) for hoarder in hoarders for stream in (1, 3, 5, 7, 9)]
        assert set(ended) == {None, EXHAUSTED}


async def test_the_largest_call_of_a_connection_pays_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_KEPT_BYTES", 70_000)
    async with (
        started(_server()) as address,
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await _begin(connection, 1, 60_000)
        await _begin(connection, 3, 20_000)
        await connection.until_ended(1)
        assert connection.heard.status(1) is EXHAUSTED
        await connection.send_data(b"x", stream=3)
        await connection.until_ended(3)
        assert connection.heard.status(3) is grpc.StatusCode.OK
