"""A server that drains: what becomes of calls, of answers, and of those who come back for them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc.aio import _server as aio_server

from headwater.v1 import document_pb2, retrieval_service_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import (
    DISCONNECT_POLICY_CONTINUE,
    CancelAnswerRequest,
    ResumeAnswerRequest,
)
from headwater.v1.assistant_service_pb2 import ListAssistantsRequest, StreamGenerateRequest
from headwater.v1.retrieval_service_pb2 import WatchDocumentRequest, WatchDocumentResponse
from headwater_server.interfaces import Caller
from headwater_server.runtime.server import Server
from headwater_server.runtime.servicers import ANSWER, ASSISTANT, RETRIEVAL
from tests.orchestrator.asking import asking, duration
from tests.orchestrator.backends import Script, Services, saying_then_hanging
from tests.orchestrator.events import ended, text
from tests.orchestrator.rules import assert_rules
from tests.runtime.serving import WAIT_SECONDS, Stubs, connected, detail, details, exhaust, info, settings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

LONG = 3600
"""A drain, in seconds, that no test waits for."""


LEFT_WAITING = 2
"""How long a call is waited for, in seconds, that came just when the drain began.

grpc's core (1.85) queues it where it looks for somebody to take it while it stops: it is answered when the drain ends.
"""


class Word:
    """An assistant that says one word, and another when it is let."""

    def __init__(self) -> None:
        self.go_on = anyio.Event()

    @property
    def script(self) -> Script:
        async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
            del request
            yield text("one ")
            await self.go_on.wait()
            yield text("two")
            yield ended()

        return script


class SlowRetrieval:
    """Calls that have no end of their own."""

    def __init__(self) -> None:
        self.entered = anyio.Event()
        self.tidied_up = anyio.Event()

    async def watch_document(
        self, request: WatchDocumentRequest, caller: Caller
    ) -> AsyncGenerator[WatchDocumentResponse]:
        del request, caller
        yield WatchDocumentResponse(progress=document_pb2.DocumentProgress())
        await anyio.sleep_forever()

    async def get_corpus(self, request: retrieval_service_pb2.GetCorpusRequest, caller: Caller) -> document_pb2.Corpus:
        del request, caller
        self.entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(0.01)  # what a call has to tidy up may take a moment
            self.tidied_up.set()
        raise AssertionError


class Draining:
    """A server, the stubs of a client that was there before it drained, and the drain."""

    def __init__(self, server: Server, stubs: Stubs, orchestrator: Any) -> None:
        self._server = server
        self._orchestrator = orchestrator
        self.stubs = stubs

    async def drain(self, seconds: float) -> None:
        await self._server.announce_drain()
        await self._server.drain(seconds, work=self._orchestrator)


@asynccontextmanager
async def served(services: Services, retrieval: object | None = None) -> AsyncIterator[Draining]:
    async with services.orchestrator() as orchestrator:
        server = Server(
            settings(),
            {ANSWER: orchestrator, RETRIEVAL: retrieval or services.retrieval, ASSISTANT: services.assistants},
        )
        try:
            async with connected(await server.start()) as stubs:
                yield Draining(server, stubs, orchestrator)
        finally:
            await server.stop()


@asynccontextmanager
async def while_it_drains(server: Draining) -> AsyncIterator[Stubs]:
    """Stubs of somebody who comes while the server drains."""
    with anyio.fail_after(WAIT_SECONDS):
        while True:
            async with connected(server.stubs.address) as stubs:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stubs.assistants.ListAssistants(ListAssistantsRequest(), timeout=LEFT_WAITING)
                if any(found.reason == "SERVER_DRAINING" for found in details(refused.value, ErrorInfo)):
                    yield stubs
                    return
            await anyio.sleep(0.01)


async def begun(stubs: Stubs, **fields: Any) -> tuple[Any, list[AnswerChunk]]:
    """An answer as far as its first word."""
    call = stubs.answers.StreamAnswer(asking(ungrounded=source_pb2.NoGrounding(), **fields))
    return call, [await call.read() for _ in range(3)]


async def rest_of(call: Any) -> AsyncGenerator[Any]:
    """The rest of a call that `read` was used on."""
    while (message := await call.read()) is not grpc.aio.EOF:
        yield message


async def test_a_reader_whose_connection_breaks_while_the_server_drains_comes_back_for_the_rest() -> None:
    word = Word()
    async with served(Services(word.script)) as server, anyio.create_task_group() as tasks:
        call, before = await begun(server.stubs, resume_window=duration(60))
        tasks.start_soon(server.drain, LONG)
        async with while_it_drains(server) as stubs:
            call.cancel()
            rest: list[AnswerChunk] = []
            resumed = stubs.answers.ResumeAnswer(
                ResumeAnswerRequest(name=before[0].started.answer, after_sequence=before[-2].sequence)
            )
            assert await resumed.read() == before[-1]
            word.go_on.set()
            await exhaust(rest_of(resumed), rest)
    assert assert_rules([*before, *rest]).text == "one two"


async def test_who_asks_anew_while_the_server_drains_is_told_so_and_when_to_try_again() -> None:
    word = Word()
    async with served(Services(word.script)) as server, anyio.create_task_group() as tasks:
        call, _ = await begun(server.stubs)
        tasks.start_soon(server.drain, LONG)
        async with while_it_drains(server) as stubs:
            for refused in (
                stubs.answers.GenerateAnswer(asking()),
                stubs.retrieval.GetCorpus(retrieval_service_pb2.GetCorpusRequest(name="corpora/a")),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await refused
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
                assert info(caught.value).reason == "SERVER_DRAINING"
                assert detail(caught.value, RetryInfo).retry_delay.ToMilliseconds() > 0
        word.go_on.set()
        await exhaust(rest_of(call))


async def test_an_answer_can_be_stopped_while_the_server_drains() -> None:
    async with served(Services(saying_then_hanging(text("so far")))) as server, anyio.create_task_group() as tasks:
        _, chunks = await begun(server.stubs)
        tasks.start_soon(server.drain, LONG)
        async with while_it_drains(server) as stubs:
            stopped = await stubs.answers.CancelAnswer(CancelAnswerRequest(name=chunks[0].started.answer))
            assert stopped.text == "so far"


async def test_an_answer_without_readers_that_goes_on_has_the_drain_to_end_in() -> None:
    word = Word()
    services = Services(word.script)
    async with served(services) as server:
        call, _ = await begun(server.stubs, on_disconnect=DISCONNECT_POLICY_CONTINUE)
        call.cancel()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.drain, LONG)
            async with while_it_drains(server):
                assert services.assistants.running
            word.go_on.set()
    assert services.assistants.closed.is_set()


async def test_those_who_only_watch_are_sent_away_at_once() -> None:
    async with served(Services(), SlowRetrieval()) as server:
        watch = server.stubs.retrieval.WatchDocument(WatchDocumentRequest(name="corpora/a/documents/b"))
        await watch.read()
        with anyio.fail_after(WAIT_SECONDS):
            await server.drain(LONG)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exhaust(rest_of(watch))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert info(caught.value).reason == "SERVER_DRAINING"


async def test_a_call_that_takes_longer_than_the_drain_ends_with_its_reason_and_tidies_up() -> None:
    retrieval = SlowRetrieval()
    async with served(Services(), retrieval) as server:
        call = server.stubs.retrieval.GetCorpus(retrieval_service_pb2.GetCorpusRequest(name="corpora/a"))
        await retrieval.entered.wait()
        await server.drain(0.05)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    assert info(caught.value).reason == "SERVER_DRAINING"
    assert retrieval.tidied_up.is_set()


async def test_what_an_assistant_still_says_after_the_drain_is_asked_of_another() -> None:
    services = Services(saying_then_hanging(text("so far")))
    async with served(services) as server:
        request = StreamGenerateRequest(prompt="why?", assistant="assistants/scripted/model", answer="answers/a")
        call = server.stubs.assistants.StreamGenerate(request)
        await call.read()
        await server.drain(0.05)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exhaust(rest_of(call))
    assert info(caught.value).reason == "SERVER_DRAINING"
    assert services.assistants.closed.is_set()


async def test_a_drain_whose_time_is_up_while_it_opens_its_door_ends_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    start, move_on_after = aio_server.Server.start, anyio.move_on_after
    scopes: dict[float | None, anyio.CancelScope] = {}

    def noted(delay: float | None, shield: bool = False) -> anyio.CancelScope:
        scopes[delay] = move_on_after(delay, shield=shield)
        return scopes[delay]

    async def begin_too_late(self: Any) -> None:
        scopes[WAIT_SECONDS].cancel()
        await start(self)

    async with served(Services(saying_then_hanging(text("so far")))) as server:
        monkeypatch.setattr(anyio, "move_on_after", noted)
        monkeypatch.setattr(aio_server.Server, "start", begin_too_late)
        await server.drain(WAIT_SECONDS)
