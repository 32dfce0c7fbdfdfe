"""Floods and odd frames on a front, by those who attack our server elsewhere; a caller beside them goes on."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from headwater_server.runtime.front_http2 import Limits
from tests.malformed import frames
from tests.malformed.floods import FLOODS, Flood
from tests.malformed.oddities import Oddity, faulted, oddities, perform
from tests.orchestrator.asking import asking
from tests.orchestrator.backends import Services
from tests.orchestrator.rules import assert_rules
from tests.runtime.front_http2.serving import WAIT_SECONDS, answering
from tests.runtime.serving import connected

pytestmark = pytest.mark.anyio

COUNT = 20_000
TOKEN = "the-token-of-mallory-0123456789"
BLOCK = frames.header_block(frames.call_headers("/headwater.v1.AnswerService/StreamAnswer"))


@pytest.mark.parametrize("flood", FLOODS, ids=[flood.__name__ for flood in FLOODS])
async def test_others_are_served_after_a_flood(flood: Flood) -> None:
    async with answering(Services()) as (_, address), connected(address) as stubs:
        async with asyncio.timeout(60):
            assert await flood(address, "", COUNT // 8) > 0
            chunks = [chunk async for chunk in stubs.answers.StreamAnswer(asking())]
    assert assert_rules(chunks).text == "Hello, world."


def _resets() -> bytes:
    parts = []
    for stream in range(1, 2 * COUNT, 2):
        parts.append(frames.frame(frames.HEADERS, BLOCK, flags=frames.END_HEADERS, stream=stream))
        parts.append(frames.frame(frames.RST_STREAM, bytes(4), stream=stream))
    return b"".join(parts)


async def _assert_ends_its_connection(flood: bytes) -> None:
    async with (
        answering(Services()) as (_, address),
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(flood)
        await connection.until_closed()


@pytest.mark.parametrize(
    "flood",
    [
        frames.frame(frames.PING, bytes(8)) * COUNT,
        frames.frame(frames.SETTINGS) * COUNT,
        frames.frame(frames.PRIORITY, bytes(5), stream=1) * COUNT,
        frames.frame(0xEE) * COUNT,
        frames.frame(frames.HEADERS, BLOCK, flags=frames.END_HEADERS, stream=1)
        + frames.frame(frames.DATA, stream=1) * COUNT,
        frames.frame(frames.HEADERS, BLOCK, stream=1) + frames.frame(frames.CONTINUATION, stream=1) * COUNT,
        frames.frame(frames.HEADERS, BLOCK, stream=1)
        + frames.frame(frames.CONTINUATION, frames.literal(b"x", bytes(1_000)), stream=1) * 100,
        frames.frame(frames.WINDOW_UPDATE, b"\0\0\0\1") * COUNT,
        _resets(),
    ],
    ids=["PING", "SETTINGS", "PRIORITY", "unknown", "empty DATA", "empty CONTINUATION", "headers", "windows", "resets"],
)
async def test_a_flood_ends_its_own_connection(flood: bytes) -> None:
    await _assert_ends_its_connection(flood)


def _blocks(block: bytes, *, end: bool = True, last: int = 2 * COUNT) -> bytes:
    """Many large blocks of headers, each on a stream of its own, unless `last` is the last one."""
    streams = (min(1 + 2 * number, last) for number in range(400))
    return b"".join(b"".join(frames.header_frames(block, stream=stream, end=end)) for stream in streams)


LARGE = frames.literal(b"x-large", bytes(60_000))
"""Of a block that is read, but is more than a call may have."""


@pytest.mark.parametrize(
    "flood",
    [_blocks(LARGE), _blocks(BLOCK + LARGE, last=1), _blocks(BLOCK + LARGE, end=False, last=1)],
    ids=["malformed", "trailers", "late headers"],
)
async def test_large_headers_are_paid_for_whatever_becomes_of_them(flood: bytes) -> None:
    await _assert_ends_its_connection(flood)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (BLOCK + b"\x02\0" * 3_000 + frames.literal(b"a", bytes(900_000)), b"headers without an end"),
        (BLOCK + b"\x02\0" * 3_000, b"headers that are far too large"),
        (b"\x20" * 60_000 + BLOCK, b"a table that changes its size without end"),
    ],
    ids=["long", "of many fields", "of table sizes"],
)
async def test_a_block_that_would_take_long_to_decode_ends_its_connection(block: bytes, words: bytes) -> None:
    async with (
        answering(Services()) as (_, address),
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(*frames.header_frames(block, stream=1, end=True))
        await connection.until_closed()
        assert connection.heard.goaway == words


@pytest.mark.parametrize("size", [20_000, 500_000])
async def test_headers_that_are_too_large_for_a_call_end_it_and_no_other(size: int) -> None:
    block = BLOCK + frames.literal(b"x-large", b"x" * size)
    async with (
        answering(Services()) as (_, address),
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(*frames.header_frames(block, stream=1, end=True))
        await connection.until_ended(1)
        assert connection.heard.status(1) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not connection.heard.closed


async def test_odd_frames_end_their_own_call_or_connection_and_no_other() -> None:
    wrong = []
    async with answering(Services(), tokens={"mallory": TOKEN}) as (_, address), connected(address) as stubs:
        few = asyncio.Semaphore(8)

        async def send(oddity: Oddity) -> None:
            async with few:
                taken = await perform(address, oddity, token=TOKEN)
            if fault := faulted(oddity, taken):
                wrong.append(f"{oddity.name}: {fault}")

        async with asyncio.timeout(120):
            await asyncio.gather(*map(send, oddities()))
            metadata = (("authorization", f"Bearer {TOKEN}"),)
            chunks = [chunk async for chunk in stubs.answers.StreamAnswer(asking(), metadata=metadata)]
    assert assert_rules(chunks).text == "Hello, world."
    assert not wrong


async def test_who_does_not_greet_is_shown_out() -> None:
    async with (
        answering(Services(), limits=Limits(greeting_seconds=0.2)) as (_, address),
        frames.connected(address, greet=False) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(frames.PREFACE)
        await connection.until_closed()


async def test_more_calls_at_once_than_agreed_are_refused_one_by_one() -> None:
    async with (
        answering(Services(), limits=Limits(max_streams=2)) as (_, address),
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        for stream in (1, 3, 5):
            await connection.send(frames.frame(frames.HEADERS, BLOCK, flags=frames.END_HEADERS, stream=stream))
        await connection.until_ended(5)
        assert connection.heard.resets == {5: 7}


async def test_a_peer_that_sends_more_than_its_window_loses_the_stream() -> None:
    async with (
        answering(Services()) as (_, address),
        frames.connected(address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        await connection.send(frames.frame(frames.HEADERS, BLOCK, flags=frames.END_HEADERS, stream=1))
        part = frames.frame(frames.DATA, frames.message(bytes(10)) * 1_000, stream=1)
        await connection.send(*[part] * 10)
        await connection.until_ended(1)
        assert connection.heard.resets.get(1) == 3 or connection.heard.status(1) is not None
