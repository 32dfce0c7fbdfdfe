"""Services that do what a test tells them, and remember what was asked of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import cast

import anyio

from headwater.v1 import retrieval_service_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.retrieval_service_pb2 import RetrieveRequest, RetrieveResponse
from headwater_server.interfaces import Assistants, Caller, Retrieval
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.answer_log.protocol import AnswerLog
from headwater_server.orchestrator.chats.conversations import OpenStore
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.service import Orchestrator, open_orchestrator
from headwater_server.orchestrator.terms import Backends
from headwater_server.runtime.status import described
from tests.orchestrator.events import ended, text

Script = Callable[[StreamGenerateRequest], AsyncGenerator[AnswerChunk, None]]
Search = Callable[[RetrieveRequest], AsyncGenerator[RetrieveResponse, None]]


class ScriptedAssistants:
    """Says what its script says."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[StreamGenerateRequest] = []
        self.callers: list[Caller] = []
        self.running = 0
        self.closed = anyio.Event()
        """Set when a stream was closed, exhausted or not."""

    async def stream_generate(self, request: StreamGenerateRequest, caller: Caller) -> AsyncGenerator[AnswerChunk]:
        self.requests.append(request)
        self.callers.append(caller)
        self.running += 1
        events = self.script(request)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()
            self.running -= 1
            self.closed.set()


class ScriptedRetrieval:
    """Finds what its search finds."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.requests: list[RetrieveRequest] = []
        self.closed = anyio.Event()

    async def retrieve(self, request: RetrieveRequest, caller: Caller) -> AsyncGenerator[RetrieveResponse]:
        del caller
        self.requests.append(request)
        batches = self.search(request)
        try:
            async for batch in batches:
                yield batch
        finally:
            await batches.aclose()
            self.closed.set()

    async def delete_corpus(self, request: retrieval_service_pb2.DeleteCorpusRequest, caller: Caller) -> object:
        del request, caller
        raise ZeroDivisionError("a defect that mentions sk-canary-0123456789")


def saying(*events: AnswerChunk) -> Script:
    """A script that gives these events, one after another."""

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        for event in events:
            yield event

    return script


def saying_then_hanging(*events: AnswerChunk) -> Script:
    """A script that gives these events and never ends."""

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        for event in events:
            yield event
        await anyio.sleep_forever()

    return script


def saying_then_failing(failure: Exception, *events: AnswerChunk) -> Script:
    """A script that gives these events and then raises."""

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        for event in events:
            yield event
        raise failure

    return script


def finding(*contents: str, below_min_score: int = 0) -> Search:
    """A search that finds sources with these contents, each in a batch of its own."""

    async def search(request: RetrieveRequest) -> AsyncGenerator[RetrieveResponse, None]:
        for rank, content in enumerate(contents, start=1):
            yield RetrieveResponse(sources=[source_pb2.Source(content=content, rank=rank)])
        statistics = source_pb2.RetrievalStatistics(candidates=len(contents), below_min_score=below_min_score)
        yield RetrieveResponse(statistics=statistics)

    return search


HELLO = (text("Hello, "), text("world."), ended())


class Services:
    """An orchestrator's neighbours; by default the search finds two sources, and the assistant says hello."""

    def __init__(self, script: Script | None = None, *, search: Search | None = None) -> None:
        self.assistants = ScriptedAssistants(script or saying(*HELLO))
        self.retrieval = ScriptedRetrieval(search or finding("first", "second"))
        self.expected: list[str] = []
        """The assistants that were said to be asked in a moment."""

    @property
    def backends(self) -> Backends:
        """Both, as the orchestrator takes them: it calls no other of their methods."""
        return Backends(cast("Retrieval", self.retrieval), cast("Assistants", self.assistants), self.expected.append)

    def orchestrator(
        self,
        config: OrchestratorConfig | None = None,
        *,
        answer_log: AnswerLog | None = None,
        open_chats: OpenStore | None = None,
    ) -> AbstractAsyncContextManager[Orchestrator]:
        """An orchestrator over both, with a log in memory unless there is another, and without chats unless given."""
        return open_orchestrator(
            self.backends,
            config or OrchestratorConfig(),
            answer_log=answer_log or MemoryAnswerLog(),
            describe=described,
            open_chats=open_chats,
        )


def contents(sources: Sequence[source_pb2.Source]) -> list[str]:
    """The contents of sources."""
    return [source.content for source in sources]
