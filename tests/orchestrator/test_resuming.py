from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from google.rpc import code_pb2, error_details_pb2

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import (
    DISCONNECT_POLICY_CONTINUE,
    CancelAnswerRequest,
    DeleteAnswerRequest,
    GetAnswerRequest,
    ListAnswersRequest,
    ResumeAnswerRequest,
)
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater_server.errors import (
    InvalidRequest,
    OutOfRange,
    Reason,
    RecordedFailure,
    ResourceNotFound,
    ServiceError,
)
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.answer_log.protocol import NewAnswer
from headwater_server.orchestrator.service import Orchestrator
from tests.orchestrator.asking import (
    ME,
    REQUEST_ID,
    STRANGER,
    WAIT_SECONDS,
    answer,
    answer_into,
    asking,
    duration,
)
from tests.orchestrator.backends import HELLO, Script, Services, saying, saying_then_failing, saying_then_hanging
from tests.orchestrator.events import ended, text
from tests.orchestrator.rules import assert_rules

pytestmark = pytest.mark.anyio

SLOW_DOWN = ServiceError(Reason.PROVIDER_RATE_LIMITED, "slow down", retry_after=2)


async def resumed(
    orchestrator: Orchestrator, name: str, after: int | None = None, caller: Caller = ME
) -> list[AnswerChunk]:
    """All chunks of a resumed stream."""
    chunks: list[AnswerChunk] = []
    await resume_into(chunks, orchestrator, name, after, caller)
    return chunks


async def resume_into(
    chunks: list[AnswerChunk], orchestrator: Orchestrator, name: str, after: int | None = None, caller: Caller = ME
) -> None:
    request = ResumeAnswerRequest(name=name, after_sequence=after)
    with anyio.fail_after(WAIT_SECONDS):
        async with aclosing(orchestrator.resume_answer(request, caller)) as stream:
            async for chunk in stream:
                chunks.append(chunk)  # noqa: PERF401 (one by one, so that those before a failure are kept)


async def broken_off(orchestrator: Orchestrator, *, after_text: int, **fields: Any) -> list[AnswerChunk]:
    """The chunks of a caller whose connection breaks after some pieces of text."""
    chunks: list[AnswerChunk] = []
    async with aclosing(orchestrator.stream_answer(asking(**fields), ME)) as stream:
        async for chunk in stream:
            chunks.append(chunk)
            after_text -= chunk.HasField("text")
            if not after_text:
                break
    return chunks


class Steps:
    """An assistant that says a word each time it is let."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self._go = anyio.Semaphore(0)

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self._go.release()

    @property
    def script(self) -> Script:
        async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
            for word in self._words:
                await self._go.acquire()
                yield text(word)
            yield ended()

        return script


def said(chunks: Sequence[AnswerChunk]) -> str:
    return "".join(chunk.text.text for chunk in chunks)


async def test_an_answer_that_has_ended_is_replayed_exactly_from_any_sequence() -> None:
    async with Services().orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking())
        name = chunks[0].started.answer
        for after in range(len(chunks)):
            assert await resumed(orchestrator, name, after) == chunks[after:]
        assert await resumed(orchestrator, name, len(chunks)) == chunks[-1:], "its terminal message once more"
        with pytest.raises(OutOfRange):
            await resumed(orchestrator, name, len(chunks) + 1)


async def test_without_a_sequence_a_resume_begins_with_a_snapshot() -> None:
    async with Services().orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking())
        snapshot, terminal = await resumed(orchestrator, chunks[0].started.answer)
        assert snapshot.snapshot.text == terminal.answer.text == "Hello, world."
        assert snapshot.sequence == snapshot.snapshot.last_sequence == terminal.sequence - 1
        assert terminal == chunks[-1]


async def test_a_broken_connection_is_resumed_within_its_window_and_nothing_is_lost_or_said_twice() -> None:
    steps = Steps("one ", "two ", "three ", "four")
    services = Services(steps.script)
    async with services.orchestrator() as orchestrator:
        steps.step(2)
        seen = await broken_off(orchestrator, after_text=2, resume_window=duration(60))
        steps.step()  # while nobody reads
        await wait_all_tasks_blocked()
        steps.step()
        seen += await resumed(orchestrator, seen[0].started.answer, seen[-1].sequence)
        assert assert_rules(seen).text == "one two three four"
    assert len(services.assistants.requests) == 1


async def test_readers_of_a_running_answer_get_the_same_events_wherever_they_begin() -> None:
    steps = Steps(*"abcdefgh")
    async with Services(steps.script).orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        first: list[AnswerChunk] = []
        tasks.start_soon(answer_into, first, orchestrator, asking())
        steps.step(3)
        await wait_all_tasks_blocked()
        name = first[0].started.answer
        others: list[tuple[int | None, list[AnswerChunk]]] = [(0, []), (2, []), (first[-1].sequence, []), (None, [])]
        for after, chunks in others:
            tasks.start_soon(resume_into, chunks, orchestrator, name, after)
        for _ in range(5):
            steps.step()
            await wait_all_tasks_blocked()
    assert_rules(first)
    for after, chunks in others:
        if after is None:
            assert chunks[0].snapshot.text == "abc"
            assert chunks[0].snapshot.state == answer_pb2.ANSWER_STATE_RUNNING
            assert chunks[1:] == first[chunks[0].sequence :]
        else:
            assert chunks == first[after:]


async def test_a_reader_who_claims_more_than_there_is_has_diverged() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with services.orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        chunks: list[AnswerChunk] = []
        tasks.start_soon(answer_into, chunks, orchestrator, asking())
        await wait_all_tasks_blocked()
        name = chunks[0].started.answer
        with pytest.raises(ServiceError) as caught:
            await resumed(orchestrator, name, 99)
        assert caught.value.reason is Reason.ANSWER_DIVERGED
        await orchestrator.cancel_answer(CancelAnswerRequest(name=name), ME)


async def test_a_failed_answer_keeps_its_part_and_gives_every_reader_the_same_status() -> None:
    async with Services(saying_then_failing(SLOW_DOWN, text("The part"))).orchestrator() as orchestrator:
        chunks: list[AnswerChunk] = []
        with pytest.raises(ServiceError):
            await answer_into(chunks, orchestrator, asking())
        name = chunks[0].started.answer
        for after, expected in ((0, chunks), (2, chunks[2:]), (3, [])):
            again: list[AnswerChunk] = []
            with pytest.raises(RecordedFailure) as caught:
                await resume_into(again, orchestrator, name, after)
            assert again == expected
            assert caught.value.status.code == code_pb2.RESOURCE_EXHAUSTED
            info = error_details_pb2.ErrorInfo()
            caught.value.status.details[0].Unpack(info)
            assert info.reason == Reason.PROVIDER_RATE_LIMITED
        kept = await orchestrator.get_answer(GetAnswerRequest(name=name), ME)
        assert (kept.text, kept.state) == ("The part", answer_pb2.ANSWER_STATE_FAILED)
        assert kept.error == caught.value.status
        snapshot: list[AnswerChunk] = []
        with pytest.raises(RecordedFailure):
            await resume_into(snapshot, orchestrator, name)
        assert [chunk.snapshot.text for chunk in snapshot] == ["The part"]


async def test_an_answer_is_stopped_when_its_last_reader_has_been_gone_for_the_window() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with services.orchestrator() as orchestrator:
        chunks = await broken_off(orchestrator, after_text=1, resume_window=duration(0.05))
        name = chunks[0].started.answer
        with anyio.fail_after(WAIT_SECONDS):
            await services.assistants.closed.wait()
        chunks += await resumed(orchestrator, name, chunks[-1].sequence)
        assert assert_rules(chunks).finish_reason == answer_pb2.FINISH_REASON_CANCELLED


async def test_one_who_comes_back_in_time_stops_the_clock() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with services.orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        chunks = await broken_off(orchestrator, after_text=1, resume_window=duration(0.2))
        tasks.start_soon(resumed, orchestrator, chunks[0].started.answer, chunks[-1].sequence)
        await anyio.sleep(0.5)
        assert not services.assistants.closed.is_set()
        await orchestrator.cancel_answer(CancelAnswerRequest(name=chunks[0].started.answer), ME)


async def test_an_answer_that_continues_comes_to_its_end_without_readers() -> None:
    steps = Steps("one ", "two ", "three")
    async with Services(steps.script).orchestrator() as orchestrator:
        steps.step()
        chunks = await broken_off(orchestrator, after_text=1, on_disconnect=DISCONNECT_POLICY_CONTINUE)
        steps.step(2)
        await wait_all_tasks_blocked()
        kept = await orchestrator.get_answer(GetAnswerRequest(name=chunks[0].started.answer), ME)
        assert (kept.state, kept.text) == (answer_pb2.ANSWER_STATE_SUCCEEDED, "one two three")
        assert_rules(await resumed(orchestrator, kept.name, 0))


async def test_an_answer_that_continues_does_not_wait_for_a_slow_reader() -> None:
    services = Services(saying(*[text("x" * 32_768)] * 20, ended()))
    async with services.orchestrator() as orchestrator:
        request = asking(on_disconnect=DISCONNECT_POLICY_CONTINUE)
        async with aclosing(orchestrator.stream_answer(request, ME)) as stream:
            chunks = [await anext(stream)]
            with anyio.fail_after(WAIT_SECONDS):
                await services.assistants.closed.wait()
            chunks += [chunk async for chunk in stream]
    assert assert_rules(chunks).text == "x" * 32_768 * 20


async def test_of_fifty_callers_with_one_request_id_one_asks_and_all_get_the_answer() -> None:
    services = Services()
    results: list[list[AnswerChunk]] = [[] for _ in range(50)]
    async with services.orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        for chunks in results:
            tasks.start_soon(answer_into, chunks, orchestrator, asking(request_id=REQUEST_ID))
    assert len(services.assistants.requests) == 1
    assert_rules(results[0])
    assert results == [results[0]] * 50


async def test_a_request_id_attaches_to_its_answer_when_that_has_ended_too() -> None:
    services = Services()
    async with services.orchestrator() as orchestrator:
        request = asking(request_id=REQUEST_ID)
        assert await answer(orchestrator, request) == await answer(orchestrator, request)
        assert (await orchestrator.generate_answer(request, ME)).text == "Hello, world."
        assert len(services.assistants.requests) == 1
        other = await answer(orchestrator, request, STRANGER)
        assert other[0].started.answer != (await answer(orchestrator, request))[0].started.answer


@pytest.mark.parametrize("running", [True, False])
async def test_a_request_id_with_other_content_is_refused(running: bool) -> None:
    services = Services(saying_then_hanging(text("a")) if running else None)
    async with services.orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        tasks.start_soon(answer, orchestrator, asking(request_id=REQUEST_ID))
        await wait_all_tasks_blocked()
        with pytest.raises(ServiceError) as caught:
            await answer(orchestrator, asking("something else", request_id=REQUEST_ID))
        assert caught.value.reason is Reason.REQUEST_ID_REUSED
        assert len(services.assistants.requests) == 1
        if running:
            await orchestrator.cancel_answer(CancelAnswerRequest(request_id=REQUEST_ID), ME)


async def test_answers_are_got_listed_and_deleted_by_their_own_tenant_alone() -> None:
    async with Services().orchestrator() as orchestrator:
        names = [(await answer(orchestrator, asking(f"question {number}")))[0].started.answer for number in range(5)]
        await answer(orchestrator, asking(), STRANGER)
        got = await orchestrator.get_answer(GetAnswerRequest(name=names[0]), ME)
        assert (got.prompt, got.text, len(got.sources)) == ("question 0", "Hello, world.", 2)
        assert all(source.content for source in got.sources)
        listed: list[answer_pb2.Answer] = []
        token = ""
        while True:
            page = await orchestrator.list_answers(ListAnswersRequest(page_size=2, page_token=token), ME)
            assert len(page.answers) <= 2
            listed += page.answers
            token = page.next_page_token
            if not token:
                break
        assert [each.name for each in listed] == names[::-1]
        assert not any(source.content for each in listed for source in each.sources)
        for refused in (
            orchestrator.get_answer(GetAnswerRequest(name=names[0]), STRANGER),
            orchestrator.delete_answer(DeleteAnswerRequest(name=names[0]), STRANGER),
            resumed(orchestrator, names[0], 0, STRANGER),
            orchestrator.get_answer(GetAnswerRequest(name="answers/none"), ME),
        ):
            with pytest.raises(ResourceNotFound):
                await refused
        await orchestrator.delete_answer(DeleteAnswerRequest(name=names[0]), ME)
        with pytest.raises(ResourceNotFound):
            await orchestrator.get_answer(GetAnswerRequest(name=names[0]), ME)
        failed = await orchestrator.list_answers(ListAnswersRequest(state=answer_pb2.ANSWER_STATE_FAILED), ME)
        assert not failed.answers


@pytest.mark.parametrize("token", ["x", "bm90IGpzb24=", "WzEsIDJd", "é", "W10="])
async def test_a_page_token_that_is_none_is_refused(token: str) -> None:
    async with Services().orchestrator() as orchestrator:
        with pytest.raises(InvalidRequest, match="page_token"):
            await orchestrator.list_answers(ListAnswersRequest(page_token=token), ME)


async def test_a_running_answer_is_got_as_far_as_it_has_come_and_stopped_before_it_is_deleted() -> None:
    services = Services(saying_then_hanging(text("so far")))
    async with services.orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        chunks: list[AnswerChunk] = []
        tasks.start_soon(answer_into, chunks, orchestrator, asking())
        await wait_all_tasks_blocked()
        name = chunks[0].started.answer
        got = await orchestrator.get_answer(GetAnswerRequest(name=name), ME)
        assert (got.text, got.state) == ("so far", answer_pb2.ANSWER_STATE_RUNNING)
        (listed,) = (await orchestrator.list_answers(ListAnswersRequest(), ME)).answers
        assert (listed.name, listed.text) == (name, "so far")
        await orchestrator.delete_answer(DeleteAnswerRequest(name=name), ME)
        assert services.assistants.closed.is_set()
        with pytest.raises(ResourceNotFound):
            await orchestrator.get_answer(GetAnswerRequest(name=name), ME)
    assert assert_rules(chunks).finish_reason == answer_pb2.FINISH_REASON_CANCELLED


async def test_where_the_log_is_full_answers_go_on_without_it() -> None:
    full = MemoryAnswerLog(max_bytes=400)
    services = Services(saying(*[text("x" * 100)] * 20, ended()))
    async with services.orchestrator(answer_log=full) as orchestrator:
        for prompt in ("short", "so long that there is no room for it at all" * 20):
            chunks = await answer(orchestrator, asking(prompt, request_id=REQUEST_ID if prompt == "short" else ""))
            assert assert_rules(chunks).text == "x" * 2000
            with pytest.raises(ResourceNotFound):
                await orchestrator.get_answer(GetAnswerRequest(name=chunks[0].started.answer), ME)


async def test_an_answer_that_another_owner_has_taken_is_neither_finished_nor_mixed() -> None:
    answer_log = MemoryAnswerLog()
    steps = Steps("one ", "two ", "three")
    services = Services(steps.script)
    async with services.orchestrator(answer_log=answer_log) as orchestrator, anyio.create_task_group() as tasks:
        chunks: list[AnswerChunk] = []
        failures: list[ServiceError] = []

        async def read() -> None:
            try:
                await answer_into(chunks, orchestrator, asking())
            except ServiceError as error:
                failures.append(error)

        tasks.start_soon(read)
        steps.step()
        await wait_all_tasks_blocked()
        taken = await answer_log.claim(chunks[0].started.answer)
        steps.step(2)
        await wait_all_tasks_blocked()
        assert [failure.reason for failure in failures] == [Reason.SERVER_DRAINING]
        assert said(chunks) == "one "
        assert taken.last_sequence == chunks[-1].sequence
        assert services.assistants.closed.is_set()
        record = await answer_log.find(taken.name)
        assert record is not None
        assert record.state == answer_pb2.ANSWER_STATE_RUNNING


async def killed(answer_log: EmbeddedAnswerLog, chunks: Sequence[AnswerChunk]) -> str:
    """Leaves an answer in the log as a process does that was killed after these events."""
    name = chunks[0].started.answer
    request = asking("why?", request_id=REQUEST_ID).SerializeToString(deterministic=True)
    writer = await answer_log.begin(NewAnswer(name, ME.tenant, request, 1.0, REQUEST_ID))
    await writer.append([chunk.SerializeToString() for chunk in chunks])
    writer.close()
    return name


async def test_an_answer_whose_owner_died_is_replayed_and_ends_with_owner_lost(tmp_path: Path) -> None:
    async with Services().orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking(request_id=REQUEST_ID))
    services = Services()
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        name = await killed(answer_log, chunks[:3])
        async with services.orchestrator(answer_log=answer_log) as orchestrator:
            asked_again: list[AnswerChunk] = []
            resumed_chunks: list[AnswerChunk] = []
            for seen, reading in (
                (asked_again, answer_into(asked_again, orchestrator, asking("why?", request_id=REQUEST_ID))),
                (resumed_chunks, resume_into(resumed_chunks, orchestrator, name, 0)),
            ):
                with pytest.raises(RecordedFailure) as caught:
                    await reading
                assert seen == chunks[:3]
                assert caught.value.status.code == code_pb2.UNAVAILABLE
            kept = await orchestrator.get_answer(GetAnswerRequest(name=name), ME)
            assert (kept.state, kept.text, len(kept.sources)) == (answer_pb2.ANSWER_STATE_FAILED, said(chunks[:3]), 2)
    assert not services.assistants.requests, "nobody pays twice"


async def test_an_answer_whose_owner_died_after_its_last_word_has_ended_well(tmp_path: Path) -> None:
    async with Services(saying(*HELLO)).orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking(request_id=REQUEST_ID))
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        name = await killed(answer_log, chunks)
        async with Services().orchestrator(answer_log=answer_log) as orchestrator:
            assert await resumed(orchestrator, name, 0) == chunks
            assert await orchestrator.get_answer(GetAnswerRequest(name=name), ME) == chunks[-1].answer
