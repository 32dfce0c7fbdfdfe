"""A model server that says of each story what its plan has, goes on from any part of it, fails as planned, and counts.

It speaks OpenAI's chat completions. Of two calls for one answer it sees whether the second had to be: so that nobody
pays twice.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.faults.answers.plans import Plan, ProviderFault

_STORY = re.compile(r"story (\d+)#")
_MARKER = re.compile(r" ?\[\d\]")
_HANG_S = 120.0


@dataclass(frozen=True, slots=True)
class UpstreamCall:
    """One call for an answer."""

    prefix: str | None
    """What it was asked to go on from; None where it was to begin."""
    at: float
    """When, by the loop's clock."""


class Upstream:
    """The server, and what it was asked for.

    Args:
        plans: The answers, by their numbers.
    """

    def __init__(self, plans: Mapping[int, Plan]) -> None:
        self._plans = plans
        self.calls: dict[int, list[UpstreamCall]] = defaultdict(list)
        self.complaints: list[str] = []
        """What it was asked that it never said."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self.url = ""

    async def start(self) -> None:
        """Listens."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}/v1"

    async def stop(self) -> None:
        """Stops listening, and ends what is still open."""
        if self._listener is not None:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio reports one of its own that is cancelled as an error.
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read_request(reader)) is not None:
                await self._answer(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError, _Broken):
            pass
        finally:
            with suppress(OSError):
                writer.close()

    async def _answer(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        messages = request["messages"]
        goes_on = messages[-1]["role"] == "assistant"
        prefix = messages[-1]["content"] if goes_on else None
        if goes_on != request.get("continue_final_message", False):  # vLLM's way to say which of both is meant
            self.complaints.append("a request does not say clearly whether it is to go on")
        asked = next(message["content"] for message in reversed(messages) if message["role"] == "user")
        found = _STORY.search(asked)
        if found is None:
            await _send_whole(writer, 404, {"error": {"message": "there is no such story"}})
            return
        plan = self._plans[int(found[1])]
        calls = self.calls[plan.number]
        calls.append(UpstreamCall(prefix, asyncio.get_running_loop().time()))
        pieces = list(plan.said) if prefix is None else self._rest(plan, prefix)
        fault = plan.fault if len(calls) == 1 else None
        if fault is ProviderFault.RATE_LIMITED:
            await _send_whole(writer, 429, {"error": {"message": "slow down"}}, "retry-after: 3")
            return
        if fault is ProviderFault.SERVER_ERROR:
            await _send_whole(writer, 503, {"error": {"message": "overloaded"}})
            return
        if fault is ProviderFault.RESET_AT_ONCE:
            _reset(writer)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        before = {ProviderFault.RESET_FIRST, ProviderFault.HANG_FIRST}
        for place, piece in enumerate(filter(None, pieces)):
            if fault is not None and place == (0 if fault in before else plan.fault_at):
                await _fail(writer, fault)
            await asyncio.sleep(plan.pause)
            await _send_event(writer, {"content": piece})
        await _send_event(writer, {}, finish="stop")
        await _send_chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def _rest(self, plan: Plan, prefix: str) -> list[str]:
        """What follows a part of a story, in which the markers may stand a little beside where they were."""
        said, bare, count = "".join(plan.said), _MARKER.sub("", prefix), len(_MARKER.findall(prefix))
        for place in range(len(prefix) - 5 * count, len(said) + 1):
            if len(_MARKER.findall(said[:place])) == count and _MARKER.sub("", said[:place]) == bare:
                return [said[place : place + 12], said[place + 12 :]]
        self.complaints.append(f"story {plan.number} was to go on from what was never said of it: {prefix[-60:]!r}")
        return [" (invented)"]


class _Broken(Exception):
    """The connection was left in the middle."""


async def _fail(writer: asyncio.StreamWriter, fault: ProviderFault) -> None:
    match fault:
        case ProviderFault.RESET_FIRST | ProviderFault.RESET_BETWEEN:
            await writer.drain()
            _reset(writer)
        case ProviderFault.CUT:
            writer.write(b"0\r\n\r\n")  # a clean end of HTTP, and none of the protocol
            await writer.drain()
        case ProviderFault.HANG_FIRST | ProviderFault.HANG_BETWEEN:
            await writer.drain()
            await asyncio.sleep(_HANG_S)
        case ProviderFault.GARBAGE:
            await _send_chunk(writer, b'data: {"choices": [{"delta": {"conte\xff\xfe\n\n')
    raise _Broken


def _reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)  # closing without waiting sends RST instead of FIN
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
    raise _Broken


async def _read_request(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    head = await reader.readline()
    if not head:
        return None
    length = 0
    while line := (await reader.readline()).strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    body: dict[str, Any] = json.loads(await reader.readexactly(length) or b"{}")
    return body if "messages" in body else None


async def _send_event(writer: asyncio.StreamWriter, delta: dict[str, str], finish: str | None = None) -> None:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    event = {"id": "c", "object": "chat.completion.chunk", "model": "teller-1", "choices": [choice]}
    await _send_chunk(writer, b"data: " + json.dumps(event).encode() + b"\n\n")


async def _send_chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    await writer.drain()


async def _send_whole(writer: asyncio.StreamWriter, status: int, document: object, *headers: str) -> None:
    body = json.dumps(document).encode()
    lines = [f"HTTP/1.1 {status} Whatever", "content-type: application/json", f"content-length: {len(body)}", *headers]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()
