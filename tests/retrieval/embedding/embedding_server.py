"""A server of embeddings on loopback that speaks every API, and fails on order.

The vector of a text is made of its digest, so that equal texts have equal vectors; what was sent is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

DIMENSION = 8


@dataclass
class Refusal:
    """What the server answers instead of embeddings."""

    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: object = field(default_factory=lambda: {"error": {"message": "not now"}})


@dataclass
class EmbeddingServer:
    """The server. Look at `requests`; put refusals into `refusals`, which are used up one a request."""

    url: str = ""
    dimension: int = DIMENSION
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    always: Refusal | None = None
    """Answered to every request while it is set."""
    refuses: Callable[[str], bool] = lambda _: False
    """Texts for which a request is refused with 400."""
    change: Callable[[Any], Any] = lambda answer: answer
    """Done to every answer."""
    running: int = 0
    most: int = 0
    """How many requests ran at once at most."""
    delay: float = 0.0
    gate: asyncio.Event | None = None
    """While there is one that is not set, nothing is answered."""

    @property
    def texts(self) -> list[list[str]]:
        """The texts of each request."""
        return [texts_of(path, body) for path, _, body in self.requests if body is not None]

    def vector(self, text: str) -> list[float]:
        digest = hashlib.sha256(text.encode()).digest() * (self.dimension // 32 + 1)
        return [(byte - 127.5) / 64 for byte in digest[: self.dimension]]

    def answer(self, path: str, body: Any) -> Any:
        vectors = [self.vector(text) for text in texts_of(path, body)]
        if path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
            return {"object": "list", "data": data[::-1], "model": body["model"]}
        if path.endswith("/api/embed"):
            return {"model": body["model"], "embeddings": vectors}
        if path.endswith("/v2/embed"):
            return {"id": "1", "embeddings": {"float": vectors}, "texts": body["texts"]}
        if path.endswith(":batchEmbedContents"):
            return {"embeddings": [{"values": vector} for vector in vectors]}
        return vectors

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readline():
                _, path, _ = head.decode().split()
                headers = {}
                while line := (await reader.readline()).strip():
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                content = await reader.readexactly(int(headers.get("content-length", 0)))
                body = json.loads(content) if content else None
                self.requests.append((path, headers, body))
                self.running += 1
                self.most = max(self.most, self.running)
                try:
                    await asyncio.sleep(self.delay)
                    if self.gate is not None:
                        await self.gate.wait()
                    await self.respond(writer, path, body)
                finally:
                    self.running -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def respond(self, writer: asyncio.StreamWriter, path: str, body: Any) -> None:
        refusal = self.refusals.pop(0) if self.refusals else self.always
        if refusal is None and body is not None and any(map(self.refuses, texts_of(path, body))):
            refusal = Refusal(400, body={"error": {"message": "input is not to my taste"}})
        if refusal is None:
            refusal = Refusal(200, body={"ok": True} if body is None else self.change(self.answer(path, body)))
        status, headers, answer = refusal.status, refusal.headers, refusal.body
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        lines = [f"HTTP/1.1 {status} Whatever", "content-type: application/json", f"content-length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        await writer.drain()


def texts_of(path: str, body: Any) -> list[str]:
    if path.endswith(":batchEmbedContents"):
        return [request["content"]["parts"][0]["text"] for request in body["requests"]]
    for name in ("input", "inputs", "texts"):
        if name in body:
            return list(body[name])
    raise AssertionError(f"a request without texts to {path}")


@asynccontextmanager
async def embedding_server(**settings: Any) -> AsyncGenerator[EmbeddingServer]:
    """Runs the server."""
    served = EmbeddingServer(**settings)
    tasks: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(served.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
