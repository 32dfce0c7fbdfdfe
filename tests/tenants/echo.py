"""A model server that says what it was told last, and remembers where one request had the marks of two tenants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress


class Echo:
    """What is known of it.

    Args:
        marks: Of the tenants.
    """

    def __init__(self, marks: Sequence[str]) -> None:
        self._marks = [mark.encode() for mark in marks]
        self.url = ""
        self.calls = 0
        self.mixed: list[str] = []
        """Requests that had what belongs to two tenants."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers on one connection until it ends."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while head := await reader.readline():
                length = 0
                while line := (await reader.readline()).strip():
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                await self._answer(head, await reader.readexactly(length), writer)
        writer.close()

    async def _answer(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        if sum(mark in body for mark in self._marks) > 1:
            self.mixed.append(f"a provider was sent what belongs to two: {head!r} {body[:500]!r}")
        said = json.loads(body or b"{}").get("messages", [{"content": ""}])[-1]["content"]
        events = [{"content": f"You said: {said[-200:]}"}, {"content": " Is that so?"}]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for place, delta in enumerate([*events, {}]):
            choice = {"index": 0, "delta": delta, "finish_reason": "stop" if place == len(events) else None}
            data = b"data: " + json.dumps({"id": "c", "model": "echo", "choices": [choice]}).encode() + b"\n\n"
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        done = b"data: [DONE]\n\n"
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(done), done))
        await writer.drain()


@asynccontextmanager
async def echoing(marks: Sequence[str]) -> AsyncIterator[Echo]:
    """Serves it on a free port."""
    echo = Echo(marks)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(echo.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, limit=1 << 22)
    echo.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield echo
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
