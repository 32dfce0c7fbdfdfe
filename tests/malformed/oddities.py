"""Calls and connections that no client library would make, one of each kind, frame by frame."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import grpc

from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.source_pb2 import NoGrounding
from tests.malformed import frames
from tests.malformed.frames import Connection, frame

GENERATE = "/headwater.v1.AnswerService/GenerateAnswer"
PATIENCE = 1.0
"""How long to wait for an answer where none may come, in seconds."""
_ASK = StreamAnswerRequest(prompt="why?", ungrounded=NoGrounding()).SerializeToString()

Code = grpc.StatusCode
_BROKEN = {Code.INTERNAL, Code.UNAVAILABLE}
_DETAILS = "grpc-status-details-bin"
Changed = Mapping[bytes, bytes | None]


@dataclass(frozen=True)
class Oddity:
    """One odd call."""

    name: str
    send: Callable[[Connection, str], Awaitable[None]]
    """Sends it on a connection, on stream 1 if it is a call; given a credential."""
    greet: bool = True
    """Whether the connection begins as it has to."""
    may_succeed: bool = False


def gzip_bomb(mebibytes: int, *, bits: int = 31) -> bytes:
    """Zeros, compressed a thousand times; `bits` of zlib: 31 for gzip, 15 for deflate."""
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    zeros = bytes(1024 * 1024)
    return b"".join(packer.compress(zeros) for _ in range(mebibytes)) + packer.flush()


async def _call(
    connection: Connection,
    token: str,
    *,
    path: str = GENERATE,
    changed: Changed | None = None,
    body: bytes | None = None,
    end: bool = True,
) -> None:
    """A call with other headers, or another body, than it should have."""
    block = frames.header_block(frames.call_headers(path, token=token, changed=changed))
    await connection.send(*frames.header_frames(block, stream=1))
    await connection.send_data(frames.message(_ASK) if body is None else body, stream=1, end=end)


async def _block(connection: Connection, token: str, *, before: bytes, after: bytes) -> None:
    """A call whose block of headers has bytes before or after what it should have."""
    block = before + frames.header_block(frames.call_headers(GENERATE, token=token)) + after
    await connection.send(*frames.header_frames(block, stream=1))
    await connection.send_data(frames.message(_ASK), stream=1)


async def _raw(connection: Connection, _: str, *, data: bytes) -> None:
    await connection.send(data)


async def _call_then(connection: Connection, token: str, *, data: bytes, end: bool = True) -> None:
    await _call(connection, token, end=end)
    await connection.send(data)


def _headers() -> list[Oddity]:
    calls: dict[str, Changed] = {
        "without a content type": {b"content-type": None},
        "content type text/html": {b"content-type": b"text/html"},
        "content type of JSON": {b"content-type": b"application/json"},
        "content type grpc+json": {b"content-type": b"application/grpc+json"},
        "content type of gRPC-Web": {b"content-type": b"application/grpc-web+proto"},
        "method GET": {b":method": b"GET"},
        "method PUT": {b":method": b"PUT"},
        "method CONNECT": {b":method": b"CONNECT"},
        "without a method": {b":method": None},
        "without a path": {b":path": None},
        "empty path": {b":path": b""},
        "path without a slash": {b":path": b"nothing"},
        "path of slashes": {b":path": b"////"},
        "path with traversal": {b":path": b"/headwater.v1.AnswerService/../GenerateAnswer"},
        "path that is not text": {b":path": b"/\xff\xfe\x00/\x80"},
        "path of 10,000 bytes": {b":path": b"/" + b"x" * 10_000},
        "unknown service": {b":path": b"/headwater.v1.Nothing/Get"},
        "unknown method": {b":path": b"/headwater.v1.AnswerService/Nothing"},
        "scheme that is none": {b":scheme": b"gopher"},
        "without a scheme": {b":scheme": None},
        "without an authority": {b":authority": None},
        "without te": {b"te": None},
        "te gzip": {b"te": b"gzip"},
        "unknown pseudo header": {b":odd": b"x"},
        "connection header": {b"connection": b"close"},
        "upper-case header": {b"X-Odd": b"x"},
        "header with an odd name": {b"x odd\x00": b"x"},
        "header without a name": {b"": b"x"},
        "header with odd bytes": {b"x-odd": bytes(range(256))},
        "request id that is not text": {b"x-request-id": b"\xff\xfe\xed\xa0\x80"},
        "credential that is not text": {b"authorization": b"Bearer \xff\xfe\x80"},
        "credential beyond ASCII": {b"authorization": "Bearer größe😀".encode()},
        "binary header that is not base64": {b"x-odd-bin": b"!!!!"},
        "unknown compression": {b"grpc-encoding": b"br"},
        "timeout that is none": {b"grpc-timeout": b"soon"},
        "timeout without a unit": {b"grpc-timeout": b"10"},
        "negative timeout": {b"grpc-timeout": b"-1S"},
        "timeout of many digits": {b"grpc-timeout": b"99999999999999999999S"},
        "timeout of nothing": {b"grpc-timeout": b""},
        "timeout of no time": {b"grpc-timeout": b"0n"},
    }
    lenient = {
        "content type grpc+json",  # of which gRPC's servers believe the beginning
        "content type of gRPC-Web",
        "without a content type",
        "content type text/html",
        "content type of JSON",
        "scheme that is none",
        "without a scheme",
        "without an authority",
        "without te",
        "te gzip",
        "unknown pseudo header",
        "connection header",
        "upper-case header",
        "header with an odd name",
        "header without a name",
        "header with odd bytes",
        "request id that is not text",
        "binary header that is not base64",
        "timeout that is none",
        "timeout without a unit",
        "negative timeout",
        "timeout of many digits",
        "timeout of nothing",
    }
    return [
        Oddity(name, partial(_call, changed=changed), may_succeed=name in lenient) for name, changed in calls.items()
    ]


def _bodies() -> list[Oddity]:
    gzip: Changed = {b"grpc-encoding": b"gzip"}
    packed = zlib.compress(_ASK, wbits=31)
    calls: dict[str, tuple[Changed, bytes]] = {
        "body without a message": ({}, b""),
        "half a prefix": ({}, b"\0\0\0"),
        "message shorter than it says": ({}, frames.message(_ASK, length=1000)),
        "message of 4 GiB, it says": ({}, frames.message(_ASK, length=2**32 - 1)),
        "message longer than it says": ({}, frames.message(_ASK, length=1)),
        "two messages of one": ({}, frames.message(_ASK) * 2),
        "odd flags": ({}, b"\x80" + frames.message(_ASK)[1:]),
        "compressed without saying how": ({}, frames.message(packed, compressed=True)),
        "compressed rubbish": (gzip, frames.message(b"\x1f\x8brubbish", compressed=True)),
        "compressed and torn": (gzip, frames.message(packed[:-5], compressed=True)),
        "gzip bomb of 64 MiB": (gzip, frames.message(gzip_bomb(64), compressed=True)),
        "gzip bomb of 1 GiB": (gzip, frames.message(gzip_bomb(1024), compressed=True)),
        "deflate bomb of 64 MiB": (
            {b"grpc-encoding": b"deflate"},
            frames.message(gzip_bomb(64, bits=15), compressed=True),
        ),
    }
    return [
        Oddity(name, partial(_call, changed=changed, body=body), may_succeed=name == "two messages of one")
        for name, (changed, body) in calls.items()  # of two messages gRPC's servers read the first
    ]


def _frames() -> list[Oddity]:
    settings = partial(struct.pack, ">HI")
    wrong: dict[str, bytes] = {
        "DATA on no stream": frame(frames.DATA, b"x", stream=0),
        "DATA on a stream that is idle": frame(frames.DATA, b"x", stream=99),
        "HEADERS on no stream": frame(frames.HEADERS, b"\x82", flags=frames.END_HEADERS),
        "HEADERS on an even stream": frame(frames.HEADERS, b"\x82", flags=frames.END_HEADERS, stream=2),
        "CONTINUATION of nothing": frame(frames.CONTINUATION, b"\x82", stream=5),
        "PUSH_PROMISE of a client": frame(frames.PUSH_PROMISE, bytes(4), stream=1),
        "RST_STREAM of a stream that is idle": frame(frames.RST_STREAM, bytes(4), stream=77),
        "RST_STREAM of two bytes": frame(frames.RST_STREAM, bytes(2), stream=1),
        "PING of seven bytes": frame(frames.PING, bytes(7)),
        "SETTINGS of five bytes": frame(frames.SETTINGS, bytes(5)),
        "SETTINGS with a window that is too large": frame(frames.SETTINGS, settings(4, 2**31)),
        "SETTINGS with frames that are too small": frame(frames.SETTINGS, settings(5, 1)),
        "SETTINGS that push": frame(frames.SETTINGS, settings(2, 7)),
        "SETTINGS acknowledged with words": frame(frames.SETTINGS, bytes(6), flags=frames.ACK),
        "SETTINGS on a stream": frame(frames.SETTINGS, stream=1),
        "WINDOW_UPDATE of nothing": frame(frames.WINDOW_UPDATE, bytes(4)),
        "WINDOW_UPDATE beyond all bounds": frame(frames.WINDOW_UPDATE, (2**31 - 1).to_bytes(4)) * 2,
        "GOAWAY of two bytes": frame(frames.GOAWAY, bytes(2)),
        "frame of a kind that nobody knows": frame(0xEE, b"x" * 100, stream=1),
        "frame larger than allowed": frame(frames.DATA, bytes(16_384 * 70), stream=1),
        "padding longer than its frame": frame(frames.DATA, b"\xff", flags=frames.PADDED, stream=1),
    }
    blocks: dict[str, tuple[bytes, bytes]] = {
        "header of no index": (b"", b"\x80"),
        "header of an index far beyond": (b"", b"\xff\xff\xff\xff\x0f"),
        "integer without an end": (b"", b"\xff" + b"\xff" * 100),
        "string longer than its block": (b"", b"\x10\x7f\xff\xff\x0f"),
        "huffman code that is none": (b"", b"\x10\x84\xff\xff\xff\xff\x01x"),
        "table larger than allowed": (b"\x3f\xff\xff\xff\xff\x07", b""),
    }
    return [
        *(Oddity(name, partial(_raw, data=data)) for name, data in wrong.items()),
        *(
            Oddity(f"{name}, in a call", partial(_call_then, data=data, end=False), may_succeed=True)
            for name, data in wrong.items()
        ),
        *(Oddity(name, partial(_block, before=before, after=after)) for name, (before, after) in blocks.items()),
    ]


def _greetings() -> list[Oddity]:
    texts = {
        "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "HTTP/1.1 that upgrades": b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
        "rubbish": bytes(range(256)) * 10,
        "half a preface": frames.PREFACE[:12],
        "half a preface and rubbish": frames.PREFACE[:12] + b"rubbish rubbish rubbish",
        "preface without settings": frames.PREFACE + frame(frames.PING, bytes(8)),
        "preface and half a frame": frames.PREFACE + frame(frames.SETTINGS)[:5],
        "nothing": b"",
    }
    return [Oddity(f"greeting of {name}", partial(_raw, data=data), greet=False) for name, data in texts.items()]


def oddities() -> list[Oddity]:
    """All of them."""
    return [*_headers(), *_bodies(), *_frames(), *_greetings()]


async def perform(target: str, oddity: Oddity, *, token: str) -> str:
    """Does it, and says how the server took it: a status's name, or `reset`, `closed`, `goaway`, `silence`."""
    async with frames.connected(target, greet=oddity.greet) as connection:
        try:
            async with asyncio.timeout(PATIENCE):
                await oddity.send(connection, token)
                await connection.until_ended(1)
        except TimeoutError:
            pass
        status = connection.heard.status(1)
        if status is not None:
            return "a defect" if status in _BROKEN and connection.heard.header(1, _DETAILS) else status.name
        if connection.heard.headers.get(1):
            return f"HTTP {connection.heard.header(1, ':status')}"
        if connection.heard.goaway is not None:
            return "goaway"
        if 1 in connection.heard.resets:
            return "reset"
        return "closed" if connection.heard.closed else "silence"


def faulted(oddity: Oddity, taken: str) -> str:
    """What is wrong with how a server took it; empty if nothing is.

    Where HTTP/2, or gRPC's own framing, is broken, INTERNAL and UNAVAILABLE are what gRPC prescribes, and its core says
    them before any code of ours is asked; with details of ours they are a defect.
    """
    if taken == Code.OK.name and not oddity.may_succeed:
        return "was taken for a good one"
    return taken if taken in {Code.UNKNOWN.name, Code.DATA_LOSS.name, "a defect"} else ""
