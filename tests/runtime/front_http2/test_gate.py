"""Calls that take one message: what is asked of the gate, and what becomes of those whose message never comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc
import pytest

from headwater_server.runtime.front_http2 import Http2Server, Limits
from headwater_server.runtime.status import CallStatus
from tests.malformed import frames
from tests.malformed.frames import Connection, frame
from tests.runtime.front_http2.serving import WAIT_SECONDS, echo, method, started
from tests.runtime.serving import connected

pytestmark = pytest.mark.anyio

Code = grpc.StatusCode
FULL = CallStatus(Code.RESOURCE_EXHAUSTED, "full", retry_after=1.5)
LONG_NO = b"no" * 1_000
"""A client compresses what is shorter for it."""


class Keeper:
    """A gate that is shut to some messages, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    def may_refuse(self, method: str) -> bool:
        """Any call."""
        return bool(method)

    def refusal(self, details: Any, request: bytes) -> CallStatus | None:
        """Refuses what begins with `no`."""
        self.asked.append((details.method, request))
        return FULL if request.startswith(b"no") else None


class Served:
    """Handlers that note what they were given."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    async def one(self, request: bytes, _: Any) -> bytes:
        """Says what it was asked."""
        self.requests.append(request)
        return request

    async def many(self, requests: Any, context: Any) -> None:
        """Says all that it is asked."""
        async for request in requests:
            await context.write(request)


@asynccontextmanager
async def behind_a_gate() -> AsyncGenerator[tuple[Keeper, Served, str]]:
    """A server, its gate, its handlers and its address."""
    keeper, served = Keeper(), Served()
    server = Http2Server(limits=Limits(max_streams=20), gate=keeper)
    echo(server, {"UnaryUnary": served.one, "StreamStream": served.many})
    async with started(server) as address:
        yield keeper, served, address


@asynccontextmanager
async def by_hand(address: str) -> AsyncGenerator[Connection]:
    """A connection on which frames are sent."""
    async with frames.connected(address) as connection, asyncio.timeout(WAIT_SECONDS):
        yield connection


def _head(*, stream: int = 1, end: bool = False, changed: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    block = frames.header_block([*frames.call_headers("/test.Echo/UnaryUnary"), *changed])
    return b"".join(frames.header_frames(block, stream=stream, end=end))


async def test_a_call_that_the_gate_refuses_has_its_status_and_no_handler() -> None:
    async with behind_a_gate() as (keeper, served, address), connected(address) as stubs:
        call = method(stubs, "UnaryUnary")(b"no", timeout=WAIT_SECONDS)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert await method(stubs, "UnaryUnary")(b"yes", timeout=WAIT_SECONDS) == b"yes"
    assert (caught.value.code(), caught.value.details()) == (Code.RESOURCE_EXHAUSTED, "full")
    assert dict(caught.value.trailing_metadata() or ())["grpc-retry-pushback-ms"] == "1500"
    assert keeper.asked == [("/test.Echo/UnaryUnary", b"no"), ("/test.Echo/UnaryUnary", b"yes")]
    assert served.requests == [b"yes"]


async def test_what_is_compressed_or_a_stream_passes_by_the_gate() -> None:
    async with behind_a_gate() as (keeper, served, address), connected(address) as stubs:
        packed = method(stubs, "UnaryUnary")(LONG_NO, compression=grpc.Compression.Gzip, timeout=WAIT_SECONDS)
        assert await packed == LONG_NO
        stream = method(stubs, "StreamStream")(iter([b"no", b"no"]), timeout=WAIT_SECONDS)
        assert [answer async for answer in stream] == [b"no", b"no"]
    assert (keeper.asked, served.requests) == ([], [LONG_NO])


async def test_a_connection_has_many_calls_refused_and_the_next_one_served() -> None:
    async with behind_a_gate() as (keeper, served, address), by_hand(address) as connection:
        for stream in range(1, 401, 2):  # ten times as many as may be under way at once
            request = frames.data_frames(frames.message(b"no"), stream=stream, end=stream % 4 == 1)
            await connection.send(_head(stream=stream), *request)
            await connection.until_ended(stream)
            assert connection.heard.status(stream) is Code.RESOURCE_EXHAUSTED
        await connection.send(_head(stream=401), *frames.data_frames(frames.message(b"yes"), stream=401))
        await connection.until_ended(401)
        assert connection.heard.status(401) is Code.OK
    assert (len(keeper.asked), served.requests) == (201, [b"yes"])


@pytest.mark.parametrize("trailers", [True, False])
async def test_a_refused_call_whose_end_came_with_its_message_is_not_reset(trailers: bool) -> None:
    last = b"".join(frames.header_frames(frames.literal(b"x-last", b"word"), stream=1, end=True))
    async with behind_a_gate() as (_, _, address), by_hand(address) as connection:
        message = frames.data_frames(frames.message(b"no"), stream=1, end=False)
        end = last if trailers else frame(frames.DATA, flags=frames.END_STREAM, stream=1)
        await connection.send(_head(), *message, end)
        await connection.until_ended(1)
        await connection.send(_head(stream=3), *frames.data_frames(frames.message(b"no"), stream=3, end=False))
        await connection.until_ended(3)
        await connection.send(_head(stream=5), *frames.data_frames(frames.message(b"yes"), stream=5))
        await connection.until_ended(5)  # so all that was said of the others has been heard
    assert [connection.heard.status(stream) for stream in (1, 3)] == [Code.RESOURCE_EXHAUSTED] * 2
    assert set(connection.heard.resets) == {3}  # whose caller has not said all


async def test_a_message_is_asked_about_when_all_of_it_has_come() -> None:
    message = frames.message(b"no")
    async with behind_a_gate() as (keeper, _, address), by_hand(address) as connection:
        await connection.send(_head())
        for at in range(len(message)):
            await connection.send(frame(frames.DATA, message[at : at + 1], stream=1))
        await connection.until_ended(1)
        assert connection.heard.status(1) is Code.RESOURCE_EXHAUSTED
    assert keeper.asked == [("/test.Echo/UnaryUnary", b"no")]


@pytest.mark.parametrize("in_headers", [True, False])
async def test_a_call_that_ends_without_its_message_is_not_asked_about(in_headers: bool) -> None:
    async with behind_a_gate() as (keeper, served, address), by_hand(address) as connection:
        last = b"" if in_headers else frame(frames.DATA, flags=frames.END_STREAM, stream=1)
        await connection.send(_head(end=in_headers), last)
        await connection.until_ended(1)
        assert connection.heard.status(1) is Code.UNIMPLEMENTED
    assert (keeper.asked, served.requests) == ([], [])


async def test_a_deadline_ends_a_call_whose_message_never_comes() -> None:
    async with behind_a_gate() as (_, served, address), by_hand(address) as connection:
        await connection.send(_head(changed=[(b"grpc-timeout", b"50m")]))
        await connection.until_ended(1)
        assert connection.heard.status(1) is Code.DEADLINE_EXCEEDED
        assert not served.requests


async def test_calls_whose_messages_never_come_and_that_are_taken_back_leave_room_for_others() -> None:
    async with behind_a_gate() as (_, _, address), by_hand(address) as connection:
        for stream in range(1, 201, 2):  # more than may be there at once, with those that are being tidied up
            await connection.send(_head(stream=stream), frame(frames.RST_STREAM, bytes(4), stream=stream))
            await asyncio.sleep(0.01)
        await connection.send(_head(stream=201), *frames.data_frames(frames.message(b"yes"), stream=201))
        await connection.until_ended(201)
        assert connection.heard.status(201) is Code.OK


async def test_a_server_that_stops_ends_a_call_whose_message_has_not_come() -> None:
    server = Http2Server()
    echo(server, {"UnaryUnary": Served().one})
    async with started(server) as address, by_hand(address) as connection:
        await connection.send(_head())
        await connection.send(_head(stream=3), *frames.data_frames(frames.message(b"yes"), stream=3))
        await connection.until_ended(3)  # so the first call is there too
        with anyio.fail_after(WAIT_SECONDS):
            await server.stop(0)
            await connection.until_ended(1)
        assert connection.heard.status(1) is Code.UNAVAILABLE
