"""Malformed calls of every method of a real server, and what the statuses of such calls may be."""

from __future__ import annotations

import asyncio
import base64
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from tests.malformed import frames
from tests.malformed.messages import Malformed, malformed
from tests.malformed.methods import METHODS, Method

Metadata = tuple[tuple[str, str | bytes], ...]
Code = grpc.StatusCode

WAIT_SECONDS = 30.0
"""How long a call may take before it counts as one that the server has forgotten."""
_DETAILS = "grpc-status-details-bin"
_GLANCE_SECONDS = 0.3
"""How long to look at a stream that has no end."""
_AT_ONCE = 16
_CHANNELS = 4
_NEVER = {Code.UNKNOWN, Code.INTERNAL, Code.DATA_LOSS, Code.UNAVAILABLE, Code.CANCELLED}
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 1024 * 1024),
)


@dataclass(frozen=True)
class Call:
    """One call, as chance has made it."""

    method: Method
    messages: tuple[Malformed, ...]
    metadata: Metadata
    credentials: str
    """What is wrong with the metadata; empty if nothing is."""
    deadline: float

    @property
    def kind(self) -> str:
        """What is wrong with it, in words."""
        return self.credentials or self.messages[-1].kind

    @property
    def must_fail(self) -> bool:
        """Whether status OK would be wrong."""
        unknown = self.credentials in {"no token", "unknown token", "giant metadata"} and self.method.ours
        return unknown or any(message.refused for message in self.messages)


@dataclass(frozen=True)
class Ended:
    """How a call ended."""

    code: grpc.StatusCode
    message: str = ""
    reason: str = ""
    """Of its ErrorInfo, if it has one of ours."""


@dataclass(slots=True)
class Report:
    """What has become of many calls."""

    calls: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each kind of call ended with each status."""
    wrong: list[str] = field(default_factory=list)
    """Every call that ended as none may."""

    def __str__(self) -> str:
        kinds = sorted({kind for kind, _ in self.outcomes})
        lines = [f"{self.calls} malformed calls, {len(self.wrong)} of which ended as none may"]
        for kind in kinds:
            codes = sorted((code, count) for (of, code), count in self.outcomes.items() if of == kind)
            lines.append(f"  {kind}: " + ", ".join(f"{count} {code}" for code, count in codes))
        return "\n".join([*lines, *self.wrong[:20]])


def call(number: int, *, seed: int, token: str) -> Call:
    """The call of this number: the same for the same seed.

    Args:
        number: Which.
        seed: Of the run.
        token: A credential that the server knows.
    """
    chance = random.Random(f"{seed}/{number}")  # noqa: S311 (chooses what to do)
    method = chance.choice(METHODS)
    count = chance.choice((1, 1, 2, 4)) if method.request_streaming else 1
    messages = tuple(malformed(method, chance) for _ in range(count))
    metadata, credentials = _metadata(chance, token)
    deadline = _GLANCE_SECONDS if method.endless else WAIT_SECONDS
    if chance.random() < 0.02:
        deadline = chance.choice((0.0, 0.001, 0.01))
    return Call(method, messages, metadata, credentials, deadline)


async def run(
    target: str, numbers: Iterable[int], *, seed: int, token: str, progress: Callable[[int], None] = lambda _: None
) -> Report:
    """Makes the calls of these numbers, several at a time.

    Args:
        target: The server.
        numbers: Which calls to make.
        seed: Of the run.
        token: A credential that the server knows.
        progress: Told, after each call, how many have been made.
    """
    report, waiting = Report(), iter(numbers)
    channels = [grpc.aio.insecure_channel(target, options=_OPTIONS) for _ in range(_CHANNELS)]

    async def work(channel: grpc.aio.Channel) -> None:
        for number in waiting:
            made = call(number, seed=seed, token=token)
            streaming = made.method.request_streaming
            ended = await (perform_by_frames(target, made) if streaming else perform(channel, made))
            report.calls += 1
            report.outcomes[made.kind, ended.code.name] += 1
            fault = faulted(made, ended)
            if fault:
                report.wrong.append(f"call {number} ({made.kind}, {made.method.name}): {fault}")
            progress(report.calls)

    try:
        await asyncio.gather(*(work(channels[index % _CHANNELS]) for index in range(_AT_ONCE)))
    finally:
        for channel in channels:
            await channel.close()
    return report


async def perform(channel: grpc.aio.Channel, made: Call) -> Ended:
    """Makes a call of one request, reads all that comes, and says how it ended."""
    multi: Any = channel.unary_stream if made.method.response_streaming else channel.unary_unary
    try:
        # Without serializers grpc takes bytes, and gives bytes.
        started = multi(made.method.path)(made.messages[0].data, timeout=made.deadline, metadata=made.metadata)
        if made.method.response_streaming:
            async for _ in started:
                pass
        else:
            await started
    except grpc.aio.AioRpcError as error:
        packed = dict(error.trailing_metadata() or ()).get(_DETAILS)
        return Ended(error.code(), error.details() or "", _reason(packed if isinstance(packed, bytes) else b""))
    return Ended(Code.OK)


async def perform_by_frames(target: str, made: Call) -> Ended:
    """Makes a call of many requests; where one is refused while others follow, grpc.aio says INTERNAL of itself."""
    values = {key.encode(): _on_the_wire(value) for key, value in made.metadata}
    async with frames.connected(target) as connection:
        heard = connection.heard
        block = frames.header_block(frames.call_headers(made.method.path, changed=values))
        try:
            async with asyncio.timeout(made.deadline):
                await connection.send(*frames.header_frames(block, stream=1))
                data = b"".join(frames.message(message.data) for message in made.messages)
                await connection.send_data(data, stream=1)
                await connection.until_ended(1)
        except TimeoutError:
            return Ended(Code.DEADLINE_EXCEEDED)
        words, packed = heard.header(1, "grpc-message"), heard.header(1, _DETAILS)
        status = heard.status(1)
        if status is None:
            return Ended(Code.UNKNOWN, f"no status, but {heard.resets or heard.goaway or heard.headers!r}")
        return Ended(status, words, _reason(base64.b64decode(packed + "=" * (-len(packed) % 4))))


def faulted(made: Call, ended: Ended) -> str:
    """What is wrong with how a call ended; empty if nothing is."""
    words = f"{ended.code.name}: {ended.message[:200]}"
    if ended.code in _NEVER:
        return words
    if ended.code is Code.DEADLINE_EXCEEDED and made.deadline == WAIT_SECONDS:
        return f"no answer within {WAIT_SECONDS:g} s"
    if ended.code is Code.OK and made.must_fail:
        return "was taken for a good one"
    if ended.code is Code.INVALID_ARGUMENT and made.method.ours and not ended.reason:
        return f"has no reason: {words}"
    return ""


def _metadata(chance: random.Random, token: str) -> tuple[Metadata, str]:
    known: Metadata = (("authorization", f"Bearer {token}"),)
    if chance.random() < 0.9:
        return known, ""
    wrong = ("Bearer", "Bearer ", "Basic dTpw", f"Bearer {token[:-1]}", f"Bearer {token}x", f"Token {token}", "")
    identity = chance.choice(("", "x" * 5_000, "~!@#$%^&*()", '"{}"', "../.."))
    many = tuple((f"x-{number}", "y") for number in range(chance.choice((10, 100))))
    variants: tuple[tuple[Metadata, str], ...] = (
        ((), "no token"),
        ((("authorization", chance.choice(wrong)),), "unknown token"),
        ((*known, ("x-giant", "x" * chance.choice((20_000, 100_000, 500_000)))), "giant metadata"),
        ((*known, *many), "much metadata"),
        ((*known, ("x-bytes-bin", chance.randbytes(100))), "binary metadata"),
        ((*known, ("x-request-id", identity)), "odd request id"),
        ((*known, (_DETAILS, chance.randbytes(30))), "another's metadata"),
    )
    return chance.choice(variants)


def _on_the_wire(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else base64.b64encode(value)


def _reason(packed: bytes) -> str:
    info = error_details_pb2.ErrorInfo()
    try:
        for detail in status_pb2.Status.FromString(packed).details:
            if detail.Unpack(info) and info.domain == "headwater":
                return str(info.reason)
    except DecodeError:
        pass
    return ""
