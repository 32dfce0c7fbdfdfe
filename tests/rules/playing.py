"""A real server over scripted services, and readers of its streams as other programs would be."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import grpc

from headwater import AsyncClient
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater_server.orchestrator.answer_log.protocol import AnswerLog
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.runtime.server import Server
from headwater_server.runtime.servicers import ANSWER, ASSISTANT, RETRIEVAL
from tests.orchestrator.backends import Script, Services
from tests.orchestrator.events import ended, text
from tests.runtime.serving import Stubs, connected, settings

WAIT_SECONDS = 20
"""How long a test waits for what must happen, before it fails."""


@asynccontextmanager
async def hosted(
    services: Services,
    *,
    config: OrchestratorConfig | None = None,
    answer_log: AnswerLog | None = None,
    open_chats: Any = None,
    **flags: Any,
) -> AsyncGenerator[Stubs]:
    """Serves an orchestrator over these services, and gives raw stubs for it."""
    async with services.orchestrator(config, answer_log=answer_log, open_chats=open_chats) as orchestrator:
        server = Server(
            settings(**flags), {ANSWER: orchestrator, RETRIEVAL: services.retrieval, ASSISTANT: services.assistants}
        )
        address = await server.start()
        try:
            async with connected(address) as stubs:
                yield stubs
        finally:
            await server.stop()


@asynccontextmanager
async def python_client(stubs: Stubs, **options: Any) -> AsyncGenerator[AsyncClient]:
    """The Python client of the same server."""
    async with AsyncClient(stubs.address, **options) as client:
        yield client


@dataclass
class Heard:
    """What a caller had of one stream."""

    chunks: list[AnswerChunk] = field(default_factory=list)
    """Its messages, heartbeats apart."""
    heartbeats: list[AnswerChunk] = field(default_factory=list)
    error: grpc.aio.AioRpcError | None = None
    """Its status, where that is not OK."""
    ended: bool = False
    """Whether it has come to its end, with whichever status."""

    @property
    def name(self) -> str:
        """The answer's name."""
        return self.chunks[0].started.answer

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(chunk.text.text for chunk in self.chunks)

    @property
    def code(self) -> grpc.StatusCode:
        """Its status."""
        assert self.ended
        return grpc.StatusCode.OK if self.error is None else self.error.code()

    @property
    def failure(self) -> grpc.aio.AioRpcError:
        """The status, which must not be OK."""
        assert self.error is not None, "the call has ended OK"
        return self.error

    async def listen(self, call: AsyncIterable[AnswerChunk]) -> None:
        """Reads a call to its end."""
        try:
            async for chunk in call:
                (self.heartbeats if chunk.HasField("heartbeat") else self.chunks).append(chunk)
        except grpc.aio.AioRpcError as error:
            self.error = error
        self.ended = True


async def read(call: AsyncIterable[AnswerChunk]) -> Heard:
    """Reads a call to its end, which must come."""
    heard = Heard()
    with anyio.fail_after(WAIT_SECONDS):
        await heard.listen(call)
    return heard


async def read_some(call: Any, *, texts: int) -> Heard:
    """Reads a call until so many pieces of text have come, and hangs up."""
    heard = Heard()
    with anyio.fail_after(WAIT_SECONDS):
        async for chunk in call:
            (heard.heartbeats if chunk.HasField("heartbeat") else heard.chunks).append(chunk)
            texts -= chunk.HasField("text")
            if not texts:
                break
    call.cancel()
    return heard


async def until(what: Callable[[], object]) -> None:
    """Waits until something is so; a server in the same process does not say when."""
    with anyio.fail_after(WAIT_SECONDS):
        while not what():  # noqa: ASYNC110 (see above)
            await anyio.sleep(0.005)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    """The status of a call that must fail, of one message or of a stream."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call has ended OK")


class Steps:
    """An assistant that says a word each time it is let, and then ends."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self._go = anyio.Semaphore(0)

    def step(self, count: int = 1) -> None:
        """Lets it say so many more; the end counts as one."""
        for _ in range(count):
            self._go.release()

    @property
    def services(self) -> Services:
        """Services with this assistant."""
        return Services(self.script)

    @property
    def script(self) -> Script:
        """What it says."""

        async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
            for word in self._words:
                await self._go.acquire()
                yield text(word)
            await self._go.acquire()
            yield ended()

        return script
