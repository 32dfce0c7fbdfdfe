"""An assistant's stream on its way to another process: what waits while a message is being written becomes one.

A message costs far more than what is in it. In one process the orchestrator's feed merges what an assistant says
(`headwater_server.orchestrator.feed`); where the assistant stands apart, this does the same before its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio

from headwater.v1 import assistant_service_pb2 as assistant_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.interfaces import Assistants, Caller
from headwater_server.orchestrator.turns import gives_way

WAITING_BYTES = 64 * 1024
"""How much may wait before the assistant has to, and through it the provider."""


class MergingAssistants:
    """An assistant service whose streams are merged while their reader is busy; implements `interfaces.Assistants`.

    Args:
        assistants: The service.
    """

    def __init__(self, assistants: Assistants) -> None:
        self._assistants = assistants

    async def list_assistants(
        self, request: assistant_pb2.ListAssistantsRequest, caller: Caller
    ) -> assistant_pb2.ListAssistantsResponse:
        """Lists assistants."""
        return await self._assistants.list_assistants(request, caller)

    async def get_assistant(
        self, request: assistant_pb2.GetAssistantRequest, caller: Caller
    ) -> assistant_pb2.Assistant:
        """Returns one assistant."""
        return await self._assistants.get_assistant(request, caller)

    def stream_generate(
        self, request: assistant_pb2.StreamGenerateRequest, caller: Caller
    ) -> AsyncGenerator[AnswerChunk]:
        """Streams what an assistant says."""
        return merged(self._assistants.stream_generate(request, caller))


async def merged(chunks: AsyncGenerator[AnswerChunk]) -> AsyncGenerator[AnswerChunk]:
    """A stream in which adjacent pieces of text, or of reasoning, are one where they came while nobody asked for more.

    Nothing is held back from who asks. Order, offsets and all other events stay as they are, and so does how the
    stream ends.

    Args:
        chunks: The stream, which is closed at the end. It is read in a task that ends with this one.
    """
    waiting = _Waiting()
    filling = asyncio.create_task(waiting.fill(chunks))
    try:
        while taken := await waiting.take():
            for chunk in taken:
                yield chunk
    finally:
        filling.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([filling])


class _Waiting:
    """What has come, and has not been asked for."""

    def __init__(self) -> None:
        self._chunks: list[AnswerChunk] = []
        self._pieces: list[str] = []  # of the last of them, beyond its own
        self._bytes = 0
        self._ended = False
        self._failure: Exception | None = None
        self._reader: asyncio.Future[None] | None = None  # while it waits
        self._room: asyncio.Future[None] | None = None

    async def fill(self, chunks: AsyncGenerator[AnswerChunk]) -> None:
        """Takes in a stream to its end."""
        try:
            async with aclosing(chunks):
                count = 0
                async for chunk in chunks:
                    self._add(chunk)
                    count += 1
                    if gives_way(count):
                        await asyncio.sleep(0)
                    if self._bytes >= WAITING_BYTES:
                        self._room = asyncio.get_running_loop().create_future()
                        await self._room
        except Exception as error:
            self._failure = error
        finally:
            self._ended = True
            _wake(self._reader)

    async def take(self) -> list[AnswerChunk]:
        """All that has come, at least one chunk; none at the end.

        Raises:
            Exception: What the stream ended with, after all that came before it.
        """
        if not self._chunks and not self._ended:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        self._settle()
        taken, self._chunks, self._bytes = self._chunks, [], 0
        _wake(self._room)
        if not taken and self._failure is not None:
            raise self._failure
        return taken

    def _add(self, chunk: AnswerChunk) -> None:
        self._bytes += chunk.ByteSize()
        kind = chunk.WhichOneof("event")
        last = self._chunks[-1] if self._chunks else None
        if last is None or kind != last.WhichOneof("event") or kind not in {"text", "reasoning"}:
            self._settle()
            self._chunks.append(chunk)
        elif kind == "reasoning":
            self._pieces.append(chunk.reasoning.text)
        elif chunk.text.assistant and chunk.text.assistant != last.text.assistant:
            self._settle()
            self._chunks.append(chunk)
        else:
            self._pieces.append(chunk.text.text)
        _wake(self._reader)

    def _settle(self) -> None:
        """Joins what was added to the last chunk to it: once for many pieces."""
        if self._pieces:
            last = self._chunks[-1]
            delta = last.text if last.HasField("text") else last.reasoning
            delta.text += "".join(self._pieces)
            self._pieces = []


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
