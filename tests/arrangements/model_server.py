"""A model server that speaks OpenAI's chat completions, says what its model's name tells it to, and notes who hangs up.

It runs in a thread of its own, so that servers in other processes reach it whatever the test is doing.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WORDS = ("Leave ", "is ", "paid ", "[1]", ". ", "Größe!")
STEADY_WORDS = tuple(f"w{number} " for number in range(150))
STEADY_SECONDS = 0.02
"""What the model `steady` says, and its pause before each word."""

FLOOD_BYTES = 32 << 20
"""How much the model `flood` thinks, as fast as it is read: more than all buffers on its way may hold."""
_WAVE = "Hm. " * 4096


class ModelServer:
    """What the server was asked, and how its connections ended."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.hung_up = threading.Event()
        """Set when a client has closed its connection in the middle of an answer."""
        self.steady_words_sent = 0
        """How much the model `steady` has said."""
        self.flood_bytes_sent = 0
        self.floods_ended = 0
        """How much the model `flood` has thought, of all answers, and how many thoughts it brought to their end."""
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one connection."""
        try:
            while request := await _read_request(reader):
                path, body = request
                if not path.endswith("/chat/completions"):
                    await _send_whole(writer, 404, {"error": {"message": "not here"}})
                    continue
                self.requests.append(body)
                await self._complete(reader, writer, body)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up.set()
        finally:
            writer.close()

    async def _complete(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        model = body["model"]
        if model == "limited":
            await _send_whole(writer, 429, {"error": {"message": "too many requests"}}, "retry-after: 7")
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        if model == "silent":
            await _wait_for_hang_up(reader)
        if model == "steady":
            await self._send_steadily(writer, _begun(body))
        if model == "flood":
            await self._send_flood(writer)
        for word in () if model == "steady" else WORDS:
            await _send_event(writer, {"content": word})
        if model == "hanging":
            await _wait_for_hang_up(reader)
        if model == "truncated":
            writer.write(b"0\r\n\r\n")  # a clean end of HTTP, and none of the protocol
            await writer.drain()
            return
        await _send_event(writer, {}, finish="stop")
        await _send_chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _send_flood(self, writer: asyncio.StreamWriter) -> None:
        for _ in range(FLOOD_BYTES // len(_WAVE)):
            self.flood_bytes_sent += len(_WAVE)
            await _send_event(writer, {"reasoning_content": _WAVE})
        self.floods_ended += 1

    async def _send_steadily(self, writer: asyncio.StreamWriter, begun: str) -> None:
        left = len(begun)
        for self.steady_words_sent, word in enumerate(STEADY_WORDS, start=1):
            if left < len(word):
                await asyncio.sleep(STEADY_SECONDS)
                await _send_event(writer, {"content": word[left:]})
            left = max(0, left - len(word))


def _begun(body: dict[str, Any]) -> str:
    """What the answer has already, where it is asked to go on."""
    last = body["messages"][-1]
    return str(last["content"]) if last["role"] == "assistant" else ""


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]] | None:
    head = await reader.readline()
    if not head:
        return None
    length = 0
    while line := (await reader.readline()).strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    body = await reader.readexactly(length)
    return head.split()[1].decode(), json.loads(body) if body else {}


async def _wait_for_hang_up(reader: asyncio.StreamReader) -> None:
    await reader.read()
    raise ConnectionResetError


async def _send_event(writer: asyncio.StreamWriter, delta: dict[str, str], finish: str | None = None) -> None:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    event = {"id": "c", "object": "chat.completion.chunk", "model": "scripted-1", "choices": [choice]}
    await _send_chunk(writer, b"data: " + json.dumps(event).encode() + b"\n\n")


async def _send_chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    await writer.drain()


async def _send_whole(writer: asyncio.StreamWriter, status: int, document: object, *headers: str) -> None:
    body = json.dumps(document).encode()
    lines = [f"HTTP/1.1 {status} Whatever", "content-type: application/json", f"content-length: {len(body)}", *headers]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()


@contextmanager
def running_model_server() -> Iterator[ModelServer]:
    """Runs a model server in a thread."""
    model = ModelServer()
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = loop.create_task(model.serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        model.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        ready.set()
        await stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    try:
        assert ready.wait(10)
        yield model
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
