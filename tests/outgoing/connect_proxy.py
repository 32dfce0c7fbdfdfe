"""A proxy that tunnels, on loopback, to one server whatever name is asked for."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class ConnectProxy:
    """What it was asked."""

    url: str = ""
    target: str = ""
    """The URL to whose host it leads."""
    status: str = "200 Connected"
    asked: list[tuple[str, str]] = field(default_factory=list)
    """The request line, and what it says in `proxy-authorization`, of each tunnel."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        raw = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        key = next((value for name, value in raw.items() if name.lower() == "proxy-authorization"), "")
        assert "authorization" not in headers, "the provider's key was shown to the proxy"
        self.asked.append((lines[0], key))
        try:
            writer.write(f"HTTP/1.1 {self.status}\r\n\r\n".encode())
            if self.status.startswith("200"):
                await self._tunnel(reader, writer)
        finally:
            writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await asyncio.open_connection("127.0.0.1", urlsplit(self.target).port)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(reader, onward[1]))
                tasks.create_task(_copy(onward[0], writer))
        finally:
            onward[1].close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await source.read(65536):
            sink.write(piece)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def connect_proxy(target: str, *, tls: ssl.SSLContext | None = None) -> AsyncGenerator[ConnectProxy]:
    """Runs a proxy.

    Args:
        target: The URL of the server to which it leads.
        tls: What it is itself spoken to with.
    """
    proxy = ConnectProxy(target=target)
    tasks: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(proxy.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: writer.close())

    server = await asyncio.start_server(serve, "localhost", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    proxy.url = f"{'https' if tls else 'http'}://localhost:{port}"
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
