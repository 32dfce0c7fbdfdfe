"""A provider made of canned answers, on loopback."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

HANG = b"\x00hang"
"""In a body: wait here until the client goes away."""


@dataclass
class Canned:
    """What the provider answers."""

    pieces: Sequence[bytes] = ()
    status: int = 200
    headers: Sequence[str] = ("content-type: text/event-stream",)
    length: int | None = None
    """A content-length to promise, whatever is sent. None: chunked, and ended well."""


@dataclass
class FakeProvider:
    """A server. Set `canned` before a request; look at the rest afterwards."""

    canned: Canned = field(default_factory=Canned)
    url: str = ""
    requests: list[tuple[str, dict[str, str], object]] = field(default_factory=list)
    connections: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client has closed its connection while it was being answered."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request has come."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection."""
        self.connections += 1
        try:
            while await self._request(reader):
                await self._respond(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> bool:
        head = await reader.readline()
        if not head:
            return False
        headers = {}
        while line := (await reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((head.decode().strip(), headers, json.loads(body) if body else None))
        self.asked.set()
        return True

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        canned = self.canned
        chunked = canned.length is None
        framing = "transfer-encoding: chunked" if chunked else f"content-length: {canned.length}"
        lines = [f"HTTP/1.1 {canned.status} Whatever", *canned.headers, framing, "", ""]
        writer.write("\r\n".join(lines).encode())
        for piece in canned.pieces:
            if piece == HANG:
                await reader.read()
                raise ConnectionResetError
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            await writer.drain()
        if not chunked:
            raise ConnectionResetError  # what was promised never comes
        writer.write(b"0\r\n\r\n")
        await writer.drain()


@asynccontextmanager
async def fake_provider(tls: ssl.SSLContext | None = None) -> AsyncGenerator[FakeProvider]:
    """Runs a fake provider."""
    provider = FakeProvider()
    tasks: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(provider.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # also where it was cancelled before it began

    server = await asyncio.start_server(serve, "localhost" if tls else "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    provider.url = f"https://localhost:{port}/v1" if tls else f"http://127.0.0.1:{port}/v1"
    try:
        yield provider
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def chat_event(**choice: object) -> bytes:
    """One event of OpenAI's chat completions with one choice."""
    return event({"id": "c1", "model": "m-2026-01-01", "choices": [{"index": 0, **choice}]})


def event(document: object) -> bytes:
    """One event."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def said(*texts: str, finish: str | None = "stop", done: bool = True) -> list[bytes]:
    """The events of an answer that says these pieces of text."""
    pieces = [chat_event(delta={"content": text}) for text in texts]
    if finish:
        pieces.append(chat_event(delta={}, finish_reason=finish))
    return [*pieces, b"data: [DONE]\n\n"] if done else pieces
