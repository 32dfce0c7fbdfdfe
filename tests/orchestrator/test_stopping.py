from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from headwater.v1 import answer_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import CancelAnswerRequest
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.retrieval_service_pb2 import RetrieveRequest, RetrieveResponse
from headwater_server.errors import Overloaded, Reason, RecordedFailure, ResourceNotFound, ServiceError
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.feed import PENDING_BYTES
from headwater_server.orchestrator.service import Orchestrator
from tests.orchestrator.asking import ME, REQUEST_ID, STRANGER, WAIT_SECONDS, answer, answer_into, asking
from tests.orchestrator.backends import Services, saying_then_failing, saying_then_hanging
from tests.orchestrator.events import ended, text
from tests.orchestrator.rules import assert_rules

pytestmark = pytest.mark.anyio


class Reading:
    """An answer that is read in a task of its own."""

    def __init__(self, orchestrator: Orchestrator, caller: Caller = ME, request_id: str = "") -> None:
        self._orchestrator = orchestrator
        self._caller = caller
        self._request_id = request_id
        self.chunks: list[AnswerChunk] = []
        self.failure: Exception | None = None

    async def run(self) -> None:
        try:
            await answer_into(self.chunks, self._orchestrator, asking(request_id=self._request_id), self._caller)
        except ServiceError as error:
            self.failure = error

    @property
    def name(self) -> str:
        return self.chunks[0].started.answer


@pytest.mark.parametrize("by", ["name", "request_id"])
async def test_cancel_answer_ends_the_stream_with_what_there_is(by: str) -> None:
    services = Services(saying_then_hanging(text("The part")))
    async with services.orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        reading = Reading(orchestrator, request_id=REQUEST_ID)
        tasks.start_soon(reading.run)
        await wait_all_tasks_blocked()
        request = CancelAnswerRequest(name=reading.name) if by == "name" else CancelAnswerRequest(request_id=REQUEST_ID)
        returned = await orchestrator.cancel_answer(request, ME)
        assert services.assistants.closed.is_set(), "the upstream is closed before the call returns"
    terminal = assert_rules(reading.chunks)
    assert returned == terminal
    assert terminal.text == "The part"
    assert terminal.state == answer_pb2.ANSWER_STATE_CANCELLED
    assert terminal.finish_reason == answer_pb2.FINISH_REASON_CANCELLED
    assert terminal.usage.partial
    assert terminal.usage.output_tokens == 2
    assert {source.disposition for source in terminal.sources} == {source_pb2.SOURCE_DISPOSITION_PRESENTED}


async def test_an_answer_cancelled_during_its_search_still_follows_the_rules() -> None:
    async def searching(request: RetrieveRequest) -> AsyncGenerator[RetrieveResponse, None]:
        await anyio.sleep_forever()
        yield RetrieveResponse()

    services = Services(search=searching)
    async with services.orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        reading = Reading(orchestrator)
        tasks.start_soon(reading.run)
        await wait_all_tasks_blocked()
        await orchestrator.cancel_answer(CancelAnswerRequest(name=reading.name), ME)
    terminal = assert_rules(reading.chunks)
    assert terminal.finish_reason == answer_pb2.FINISH_REASON_CANCELLED
    assert not terminal.timings.HasField("first_token")
    assert services.retrieval.closed.is_set()


async def test_cancelling_an_answer_that_waits_for_its_reader_ends_it_too() -> None:
    services = Services(saying_then_hanging(*[text("x" * (PENDING_BYTES // 2))] * 10))
    async with (
        services.orchestrator() as orchestrator,
        aclosing(orchestrator.stream_answer(asking(), ME)) as stream,
    ):
        started = await anext(stream)
        await wait_all_tasks_blocked()
        returned = await orchestrator.cancel_answer(CancelAnswerRequest(name=started.started.answer), ME)
        chunks = [started, *[chunk async for chunk in stream]]
    assert assert_rules(chunks) == returned
    assert 0 < len(returned.text) < 10 * PENDING_BYTES // 2


async def test_a_cancel_that_comes_too_late_returns_the_answer_unchanged() -> None:
    async with Services().orchestrator() as orchestrator:
        terminal = (await answer(orchestrator, asking(request_id=REQUEST_ID)))[-1].answer
        await wait_all_tasks_blocked()
        for request in (CancelAnswerRequest(name=terminal.name), CancelAnswerRequest(request_id=REQUEST_ID)):
            assert await orchestrator.cancel_answer(request, ME) == terminal
            with pytest.raises(ResourceNotFound):
                await orchestrator.cancel_answer(request, STRANGER)


async def test_nobody_cancels_the_answer_of_another_tenant_or_one_that_never_was() -> None:
    services = Services(saying_then_hanging(text("mine")))
    async with services.orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        reading = Reading(orchestrator, request_id=REQUEST_ID)
        tasks.start_soon(reading.run)
        await wait_all_tasks_blocked()
        for request in (
            CancelAnswerRequest(name=reading.name),
            CancelAnswerRequest(request_id=REQUEST_ID),
            CancelAnswerRequest(name="answers/none"),
        ):
            with pytest.raises(ResourceNotFound):
                await orchestrator.cancel_answer(request, STRANGER)
        assert not services.assistants.closed.is_set()
        await orchestrator.cancel_answer(CancelAnswerRequest(name=reading.name), ME)


async def test_a_reader_that_goes_away_stops_the_upstream() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with services.orchestrator() as orchestrator:
        async with aclosing(orchestrator.stream_answer(asking(), ME)) as stream:
            async for chunk in stream:
                if chunk.HasField("text"):
                    break
        with anyio.fail_after(WAIT_SECONDS):
            await services.assistants.closed.wait()


async def test_a_reader_that_is_cancelled_stops_the_upstream() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with services.orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        tasks.start_soon(answer, orchestrator, asking())
        await wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True), anyio.fail_after(WAIT_SECONDS):
            await services.assistants.closed.wait()


async def test_a_stream_that_nobody_ever_read_was_never_begun() -> None:
    services = Services()
    async with services.orchestrator() as orchestrator:
        await orchestrator.stream_answer(asking(), ME).aclose()
        await wait_all_tasks_blocked()
    assert not services.retrieval.requests


async def test_no_task_is_left_when_answers_were_read_cancelled_closed_or_failed() -> None:
    before = asyncio.all_tasks()
    services = Services(saying_then_hanging(text("a")))
    async with services.orchestrator() as orchestrator:
        opened = asyncio.all_tasks()
        for _ in range(3):
            async with aclosing(orchestrator.stream_answer(asking(), ME)) as stream:
                await anext(stream)
        services.assistants.script = saying_then_failing(KeyError("x"), text("a"))
        with pytest.raises(RecordedFailure):
            await answer(orchestrator, asking())
        await wait_all_tasks_blocked()
        assert services.assistants.running == 0
        assert asyncio.all_tasks() == opened
    assert asyncio.all_tasks() == before


async def test_more_answers_than_the_server_takes_are_refused_with_a_time_to_come_back() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with (
        services.orchestrator(OrchestratorConfig(max_answers=2)) as orchestrator,
        anyio.create_task_group() as tasks,
    ):
        readings = [Reading(orchestrator) for _ in range(2)]
        for reading in readings:
            tasks.start_soon(reading.run)
        await wait_all_tasks_blocked()
        with pytest.raises(Overloaded) as caught:
            await answer(orchestrator, asking())
        assert caught.value.retry_after == 1.0
        assert len(services.retrieval.requests) == 2, "nothing was done"
        await orchestrator.cancel_answer(CancelAnswerRequest(name=readings[0].name), ME)
        await wait_all_tasks_blocked()
        services.assistants.script = saying_then_hanging(text("b"), ended())
        assert_rules(await answer(orchestrator, asking()))
        await orchestrator.cancel_answer(CancelAnswerRequest(name=readings[1].name), ME)


async def test_draining_ends_running_answers_with_a_reason_and_takes_no_new_ones() -> None:
    services = Services(saying_then_hanging(text("The part")))
    async with services.orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        reading = Reading(orchestrator)
        tasks.start_soon(reading.run)
        await wait_all_tasks_blocked()
        orchestrator.drain()
        with pytest.raises(ServiceError) as caught:
            await answer(orchestrator, asking())
        assert caught.value.reason is Reason.SERVER_DRAINING
    assert isinstance(reading.failure, ServiceError)
    assert reading.failure.reason is Reason.SERVER_DRAINING
    assert reading.failure.metadata["answer"] == reading.name
    assert reading.failure.retry_after
    assert "".join(chunk.text.text for chunk in reading.chunks) == "The part"


async def test_leaving_the_orchestrator_ends_what_runs() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with anyio.create_task_group() as tasks, services.orchestrator() as orchestrator:
        reading = Reading(orchestrator)
        tasks.start_soon(reading.run)
        await wait_all_tasks_blocked()
    assert isinstance(reading.failure, ServiceError)
    assert reading.failure.reason is Reason.SERVER_DRAINING
    assert services.assistants.running == 0


async def test_an_error_in_the_block_of_an_orchestrator_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Services().orchestrator():
            raise ZeroDivisionError


async def test_many_answers_run_at_once_and_keep_apart() -> None:
    async def echo(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        for character in request.prompt:
            await anyio.lowlevel.checkpoint()
            yield text(character)
        yield ended()

    async with Services(echo).orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        results: dict[str, list[AnswerChunk]] = {f"prompt number {number}": [] for number in range(50)}
        for prompt, chunks in results.items():
            tasks.start_soon(answer_into, chunks, orchestrator, asking(prompt))
    for prompt, chunks in results.items():
        assert assert_rules(chunks).text == prompt
