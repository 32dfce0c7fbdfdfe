"""No front at all: answers are made and thrown away, to see what the pacing itself costs.

A connection that says `STREAMS TOKENS` begins so many answers, within a second; `done` is said when all have ended.
"""

from __future__ import annotations

import asyncio
import random

from benchmarks.fronts.answers import Answer


async def serve(answer: Answer) -> int:
    """Begins to serve; returns the port."""

    async def consume(tokens: str) -> None:
        await asyncio.sleep(random.random())  # noqa: S311 (when to begin)
        async for _ in answer(f"paced-{tokens}".encode()):
            pass

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streams, tokens = (await reader.readline()).decode().split()
        async with asyncio.TaskGroup() as group:
            for _ in range(int(streams)):
                group.create_task(consume(tokens))
        writer.write(b"done\n")
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    _running.append(server)
    port: int = server.sockets[0].getsockname()[1]
    return port


_running: list[asyncio.Server] = []
