"""Answers whose owner died, or handed them on: the next owner goes on with them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked
from google.rpc import error_details_pb2

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import (
    DISCONNECT_POLICY_CONTINUE,
    CancelAnswerRequest,
    GetAnswerRequest,
    ResumeAnswerRequest,
    StreamAnswerRequest,
)
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater_server.assistant.config import AssistantConfig
from headwater_server.assistant.service import open_assistants
from headwater_server.errors import InvalidRequest, Reason, RecordedFailure, ServiceError
from headwater_server.orchestrator import recovery
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.answer_log.protocol import AnswerLog, LogUnavailable, NewAnswer
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.recovery import MAX_OWNERS
from headwater_server.orchestrator.service import Orchestrator, open_orchestrator
from headwater_server.orchestrator.terms import Backends
from headwater_server.runtime.status import described
from tests.orchestrator.asking import ME, REQUEST_ID, WAIT_SECONDS, answer, answer_into, asking, duration, limits
from tests.orchestrator.backends import Script, Services, finding, saying, saying_then_failing
from tests.orchestrator.continuing import (
    NAME,
    WHOLE,
    WORDS,
    going_on,
    hanging_after,
    one_by_one,
    substance,
    uninterrupted,
)
from tests.orchestrator.events import ended, reasoning, text
from tests.orchestrator.rules import assert_rules

pytestmark = pytest.mark.anyio

WINDOW: dict[str, Any] = {"resume_window": duration(60)}


async def resumed(orchestrator: Orchestrator, name: str = NAME, after: int = 0) -> list[AnswerChunk]:
    chunks: list[AnswerChunk] = []
    await resume_into(chunks, orchestrator, name, after)
    return chunks


async def resume_into(chunks: list[AnswerChunk], orchestrator: Orchestrator, name: str = NAME, after: int = 0) -> None:
    request = ResumeAnswerRequest(name=name, after_sequence=after)
    with anyio.fail_after(WAIT_SECONDS):
        async with aclosing(orchestrator.resume_answer(request, ME)) as stream:
            async for chunk in stream:
                chunks.append(chunk)  # noqa: PERF401 (one by one, so that those before a failure are kept)


async def left_behind(
    events: Sequence[AnswerChunk], *, request: StreamAnswerRequest | None = None, log: AnswerLog | None = None,
    age: float = 0, name: str = NAME, owners: int = 1,
) -> AnswerLog:  # fmt: skip
    """A log with an answer whose owners have died."""
    log = log or MemoryAnswerLog()
    asked = request or asking(**WINDOW)
    new = NewAnswer(
        name=name,
        tenant=ME.tenant,
        request=asked.SerializeToString(),
        created=time.time() - age,
        request_id=asked.request_id,
    )
    writer = await log.begin(new)
    if events:
        await writer.append([event.SerializeToString() for event in events])
    for _ in range(owners - 1):
        writer.close()
        writer = await log.claim(name)
    writer.close()
    return log


def named(events: Sequence[AnswerChunk], name: str = NAME) -> list[AnswerChunk]:
    """The events as those of an answer of this name."""
    copies = [AnswerChunk.FromString(event.SerializeToString()) for event in events]
    for event in copies:
        if event.HasField("started"):
            event.started.answer = name
        if event.HasField("answer"):
            event.answer.name = name
    return copies


def reason_of(failure: Exception) -> str:
    if isinstance(failure, ServiceError):
        return failure.reason
    assert isinstance(failure, RecordedFailure)
    info = error_details_pb2.ErrorInfo()
    failure.status.details[0].Unpack(info)
    return str(info.reason)


async def lost(services: Services, log: AnswerLog, config: OrchestratorConfig | None = None) -> answer_pb2.Answer:
    """An answer as it stands when it has ended with OWNER_LOST."""
    async with services.orchestrator(config, answer_log=log) as orchestrator:
        with pytest.raises((RecordedFailure, ServiceError)) as raised:
            await resumed(orchestrator)
        assert reason_of(raised.value) == "OWNER_LOST"
        kept = await orchestrator.get_answer(GetAnswerRequest(name=NAME), ME)
    assert kept.state == answer_pb2.ANSWER_STATE_FAILED
    return kept


async def test_an_answer_goes_on_from_whatever_was_logged_of_it_and_is_the_same() -> None:
    whole = await uninterrupted()
    assert [kind.WhichOneof("event") for kind in whole].count("text") > 1
    for count in range(len(whole)):
        services = Services(going_on())
        log = await left_behind(named(whole[:count]))
        async with services.orchestrator(answer_log=log) as orchestrator:
            chunks = await resumed(orchestrator)
        assert chunks[:count] == named(whole[:count]), "what was logged is as it was"
        assert substance(chunks) == substance(whole)
        searched = any(chunk.retrieved.HasField("statistics") for chunk in whole[:count])
        assert len(services.retrieval.requests) == (0 if searched else 1), "sources that are logged stay"
        spoken = any(chunk.HasField("text") for chunk in whole[:count])
        (asked,) = services.assistants.requests
        assert asked.HasField("prefix") == spoken
        timings = chunks[-1].answer.timings
        assert timings.continuations == spoken
        assert timings.HasField("first_token") is not spoken, "when the first came, nobody knows any more"
        assert chunks[-1].answer.usage.partial, "what was asked before had its price too"


async def test_an_answer_whose_terminal_message_was_logged_has_ended_so() -> None:
    whole = named(await uninterrupted())
    services = Services(going_on())
    async with services.orchestrator(answer_log=await left_behind(whole)) as orchestrator:
        assert await resumed(orchestrator) == whole
    assert not services.assistants.requests


async def drained(
    orchestrator: Orchestrator, stream: AsyncGenerator[AnswerChunk], seen: list[AnswerChunk], *, after: str
) -> ServiceError:
    """Reads an answer whose server stops after an event of a kind, and returns how that ended."""
    try:
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                seen.append(chunk)
                if chunk.HasField(after):  # type: ignore[arg-type]  # the stubs want a literal
                    orchestrator.drain()
    except ServiceError as failure:
        return failure
    raise AssertionError("the answer came to its end")


async def test_a_server_that_drains_hands_its_answers_to_the_next() -> None:
    log = MemoryAnswerLog()
    seen: list[AnswerChunk] = []
    async with Services(one_by_one(hanging_after(4))).orchestrator(answer_log=log) as orchestrator:
        failure = await drained(orchestrator, orchestrator.stream_answer(asking(**WINDOW), ME), seen, after="citation")
    assert failure.reason is Reason.SERVER_DRAINING
    services = Services(going_on())
    async with services.orchestrator(answer_log=log) as orchestrator:
        seen += await resumed(orchestrator, seen[0].started.answer, seen[-1].sequence)
    assert substance(seen) == substance(await uninterrupted())
    assert services.assistants.requests[0].prefix.text == "".join(WORDS[:3])


async def test_an_answer_survives_any_number_of_owners() -> None:
    log = MemoryAnswerLog()
    seen: list[AnswerChunk] = []
    for count in range(1, 7):
        async with Services(hanging_after(0)).orchestrator(answer_log=log):
            pass  # one that has no time to do anything
        async with Services(one_more()).orchestrator(answer_log=log) as orchestrator:
            if count == 1:
                stream = orchestrator.stream_answer(asking(request_id=REQUEST_ID, **WINDOW), ME)
            else:
                resume = ResumeAnswerRequest(name=seen[0].started.answer, after_sequence=seen[-1].sequence)
                stream = orchestrator.resume_answer(resume, ME)
            await drained(orchestrator, stream, seen, after="text")
    async with Services(going_on()).orchestrator(answer_log=log) as orchestrator:
        seen += await resumed(orchestrator, seen[0].started.answer, seen[-1].sequence)
        again = await answer(orchestrator, asking(request_id=REQUEST_ID, **WINDOW))
    assert substance(seen) == substance(await uninterrupted())
    assert again == seen, "the request_id still names it"


def one_more() -> Script:
    """A deterministic assistant that says one more piece of text, and then nothing."""

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        async with aclosing(going_on()(request)) as said:
            async for event in said:
                yield event
                if event.HasField("text"):
                    await anyio.sleep_forever()

    return script


async def test_a_part_of_the_sources_is_completed_where_the_search_finds_the_same_again() -> None:
    large = "x" * 700_000
    async with Services(going_on(), search=finding(large, large)).orchestrator() as orchestrator:
        whole = await answer(orchestrator, asking())
    assert not whole[1].retrieved.HasField("statistics"), "they came in two batches"
    for found, sources in (((large, large), 2), (("other", large), 1)):
        services = Services(going_on(), search=finding(*found))
        log = await left_behind(named(whole[:2]))
        async with services.orchestrator(answer_log=log) as orchestrator:
            chunks = await resumed(orchestrator)
        assert_rules(chunks)
        assert len(chunks[-1].answer.sources) == sources
        assert chunks[1] == whole[1]


async def test_an_answer_is_asked_of_the_assistant_it_was_begun_with() -> None:
    whole = await uninterrupted(assistant="scripted/first")
    log = await left_behind(named(whole[:4]))
    services = Services(going_on())
    async with services.orchestrator(OrchestratorConfig(assistant="scripted/other"), answer_log=log) as orchestrator:
        await resumed(orchestrator)
    assert services.assistants.requests[0].assistant == "assistants/scripted/first"


def said_by(assistant: str) -> tuple[AnswerChunk, ...]:
    """All of an answer that another assistant says than the one that is asked."""
    first = AnswerChunk(text=answer_pb2.TextDelta(text=WORDS[0], assistant=assistant))
    return first, *WHOLE[1:-1], ended(assistant=assistant)


async def test_whoever_stood_in_for_the_assistant_is_the_one_to_go_on() -> None:
    speaker = "assistants/scripted/second"
    async with Services(one_by_one(going_on(said_by(speaker)))).orchestrator() as orchestrator:
        whole = await answer(orchestrator, asking(assistant="scripted/first"))
    texts = [chunk.text for chunk in whole if chunk.HasField("text")]
    assert [delta.assistant for delta in texts] == [speaker, *[""] * (len(texts) - 1)]
    for count in range(3, len(whole) - 1):
        services = Services(going_on(said_by(speaker)))
        log = await left_behind(named(whole[:count]), request=asking(assistant="scripted/first", **WINDOW))
        async with services.orchestrator(answer_log=log) as orchestrator:
            chunks = await resumed(orchestrator)
        assert substance(chunks) == substance(whole)
        assert chunks[-1].answer.assistant == speaker
        (asked,) = services.assistants.requests
        assert (asked.assistant, asked.prefix.assistant) == ("assistants/scripted/first", speaker)


async def test_where_whoever_stood_in_does_not_go_on_the_answer_is_lost_and_says_whose_part_it_is() -> None:
    speaker = "assistants/scripted/second"
    async with Services(one_by_one(going_on(said_by(speaker)))).orchestrator() as orchestrator:
        whole = await answer(orchestrator, asking())
    refusal = saying_then_failing(InvalidRequest("prefix", "does not continue"))
    kept = await lost(Services(refusal), await left_behind(named(whole[:4])))
    assert (kept.assistant, kept.text) == (speaker, WORDS[0] + WORDS[1])


async def test_the_other_services_are_shown_the_tenants_token() -> None:
    log = await left_behind([])
    services = Services(going_on())
    config = OrchestratorConfig(credentials={ME.tenant: "the-token-of-acme"})
    async with services.orchestrator(config, answer_log=log) as orchestrator:
        await resumed(orchestrator)
    assert [(caller.tenant, caller.credential) for caller in services.assistants.callers] == [
        (ME.tenant, "the-token-of-acme")
    ]
    assert "the-token" not in repr(config)


@pytest.mark.parametrize(
    "refusal",
    [
        saying_then_failing(InvalidRequest("prefix", "does not continue")),
        saying_then_failing(ServiceError(Reason.PROVIDER_REJECTED, "unknown field")),
        saying_then_failing(ServiceError(Reason.RESOURCE_NOT_FOUND, "gone")),
        saying(text("Größe is 13%."), ended()),
        saying(reasoning("Let me start again."), text("Größe"), ended()),
    ],
    ids=["does not continue", "rejected", "gone", "begins anew", "thinks again"],
)
async def test_an_answer_that_its_assistant_does_not_go_on_with_is_lost_and_keeps_its_part(refusal: Script) -> None:
    whole = await uninterrupted()
    kept = await lost(Services(refusal), await left_behind(named(whole[:5])))
    assert kept.text == "".join(chunk.text.text for chunk in whole[:5]) != ""
    assert kept.last_sequence == 5


async def test_an_assistants_own_failure_ends_an_answer_that_goes_on_as_it_would_any_other() -> None:
    slow_down = ServiceError(Reason.PROVIDER_RATE_LIMITED, "slow down", retry_after=2)
    services = Services(saying_then_failing(slow_down))
    log = await left_behind(named((await uninterrupted())[:5]))
    async with services.orchestrator(answer_log=log) as orchestrator:
        with pytest.raises((ServiceError, RecordedFailure), match="slow down"):
            await resumed(orchestrator)
    assert len(services.assistants.requests) == 1, "what a provider said is not asked again here"


async def test_an_answer_that_was_thinking_is_lost_because_its_thoughts_would_come_again() -> None:
    async with Services(saying(reasoning("Hm."), *WHOLE)).orchestrator() as orchestrator:
        whole = await answer(orchestrator, asking())
    for count in (4, 5):
        services = Services(going_on())
        await lost(services, await left_behind(named(whole[:count])))
        assert not services.assistants.requests


async def test_an_answer_that_only_its_reader_kept_alive_is_lost_with_its_owner() -> None:
    services = Services(going_on())
    await lost(services, await left_behind(named((await uninterrupted())[:5]), request=asking()))
    assert not services.assistants.requests, "nobody is there to pay for it"


async def test_an_answer_that_outlives_too_many_owners_is_not_gone_on_with() -> None:
    services = Services(going_on())
    await lost(services, await left_behind([], owners=MAX_OWNERS))
    assert not services.assistants.requests


async def test_an_answer_that_nobody_comes_back_for_is_stopped_after_its_window() -> None:
    log = await left_behind(named((await uninterrupted())[:4]), request=asking(resume_window=duration(0.05)))
    services = Services(hanging_after(0))
    async with services.orchestrator(answer_log=log) as orchestrator:
        with anyio.fail_after(WAIT_SECONDS):
            await orchestrator.idle()
        kept = await orchestrator.get_answer(GetAnswerRequest(name=NAME), ME)
    assert kept.finish_reason == answer_pb2.FINISH_REASON_CANCELLED
    assert kept.text == WORDS[0] + WORDS[1]


async def test_an_answer_that_goes_on_without_readers_does_so_after_its_owners_death() -> None:
    log = await left_behind(
        named((await uninterrupted())[:4]), request=asking(on_disconnect=DISCONNECT_POLICY_CONTINUE)
    )
    async with Services(going_on()).orchestrator(answer_log=log) as orchestrator:
        with anyio.fail_after(WAIT_SECONDS):
            await orchestrator.idle()
        kept = await orchestrator.get_answer(GetAnswerRequest(name=NAME), ME)
    assert (kept.state, kept.text) == (answer_pb2.ANSWER_STATE_SUCCEEDED, "".join(WORDS))


async def test_an_answer_that_goes_on_can_be_cancelled() -> None:
    log = await left_behind(named((await uninterrupted())[:4]))
    async with Services(hanging_after(0)).orchestrator(answer_log=log) as orchestrator:
        stopped = await orchestrator.cancel_answer(CancelAnswerRequest(name=NAME), ME)
    assert stopped.finish_reason == answer_pb2.FINISH_REASON_CANCELLED
    assert stopped.text == WORDS[0] + WORDS[1]
    assert stopped.usage.partial
    assert not stopped.timings.continuations, "it was asked, and did not go on yet"


async def test_its_total_limit_counts_from_its_beginning_and_silence_from_its_take_over() -> None:
    whole = named((await uninterrupted())[:4])
    asked = asking(limits=limits(total=60, first_token=10, between_tokens=10), **WINDOW)
    async with Services(going_on()).orchestrator(
        answer_log=await left_behind(whole, request=asked, age=30)
    ) as orchestrator:
        chunks = await resumed(orchestrator)
    assert chunks[-1].answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert chunks[-1].answer.timings.total.ToTimedelta().total_seconds() >= 30
    async with Services(hanging_after(0)).orchestrator(
        answer_log=await left_behind(whole, request=asked, age=61)
    ) as orchestrator:
        chunks = await resumed(orchestrator)
    assert chunks[-1].answer.finish_reason == answer_pb2.FINISH_REASON_TIME_LIMIT
    assert chunks[-1].answer.text == WORDS[0] + WORDS[1]


async def test_of_more_answers_than_may_run_the_others_wait_for_room() -> None:
    log: AnswerLog | None = None
    names = [f"answers/{number}" for number in range(5)]
    for name in names:
        request = asking(on_disconnect=DISCONNECT_POLICY_CONTINUE)
        log = await left_behind([], name=name, log=log, request=request)
    assert log is not None
    begun: list[int] = []
    all_begun = anyio.Event()

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        begun.append(services.assistants.running)
        if len(begun) == len(names):
            all_begun.set()
        await anyio.lowlevel.checkpoint()
        yield ended()

    services = Services(script)
    async with services.orchestrator(OrchestratorConfig(max_answers=2), answer_log=log) as orchestrator:
        with anyio.fail_after(WAIT_SECONDS):
            await all_begun.wait()
            await orchestrator.idle()
        for name in names:
            assert_rules(await resumed(orchestrator, name))
    assert max(begun) == 2


async def test_an_answer_of_which_the_log_cannot_be_read_is_lost_and_stops_no_other() -> None:
    log = await left_behind([AnswerChunk(sequence=7, text=answer_pb2.TextDelta(text="?"))], name="answers/torn")
    log = await left_behind([], log=log)
    async with Services(going_on()).orchestrator(answer_log=log) as orchestrator:
        assert (await resumed(orchestrator))[-1].answer.text == "".join(WORDS)
        with pytest.raises(RecordedFailure, match="cannot be read"):
            await resumed(orchestrator, "answers/torn")


RUNNING = answer_pb2.ANSWER_STATE_RUNNING


class OnceUnavailable(MemoryAnswerLog):
    """A log that cannot be used when an answer is claimed for the first time."""

    claims = 0

    async def claim(self, name: str) -> Any:
        self.claims += 1
        if self.claims == 1:
            raise LogUnavailable("database is locked")
        return await super().claim(name)


async def test_an_answer_is_taken_over_when_the_log_can_be_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_FULL_PAUSE", 0.01)
    log = await left_behind([], log=OnceUnavailable())
    async with Services(going_on()).orchestrator(answer_log=log) as orchestrator:
        with anyio.fail_after(WAIT_SECONDS):
            while (await orchestrator.get_answer(GetAnswerRequest(name=NAME), ME)).state == RUNNING:  # noqa: ASYNC110 (nothing tells)
                await anyio.sleep(0.01)
        assert assert_rules(await resumed(orchestrator)).text == "".join(WORDS)


QUESTION = "How many hours of annual leave can I carry over?"
LEAVE = (
    "Annual leave can be used for any reason. You can carry over a maximum of 240 annual leave hours every year.",
    "Größe zählt. What you carry over beyond 240 hours of annual leave is lost.",
)


async def test_the_built_in_assistant_goes_on_from_whatever_was_logged_and_says_the_same() -> None:
    async with open_assistants(AssistantConfig(environ={})) as assistants:

        def orchestrating(answer_log: AnswerLog) -> AbstractAsyncContextManager[Orchestrator]:
            backends = Backends(Services(search=finding(*LEAVE)).backends.retrieval, assistants)
            return open_orchestrator(backends, OrchestratorConfig(), answer_log=answer_log, describe=described)

        async with orchestrating(MemoryAnswerLog()) as orchestrator:
            whole = named(await answer(orchestrator, asking(QUESTION)))
        assert assert_rules(whole).citations
        for count in range(len(whole)):
            log = await left_behind(whole[:count], request=asking(QUESTION, **WINDOW))
            async with orchestrating(log) as orchestrator:
                chunks = await resumed(orchestrator)
            assert chunks[1:-1] == whole[1:-1]
            for ending in (chunks[-1].answer, whole[-1].answer):
                for field in ("timings", "create_time", "complete_time", "expire_time"):
                    ending.ClearField(field)
            assert chunks[-1] == whole[-1], "what costs nothing has no unknown cost"


async def test_readers_that_come_while_an_answer_is_taken_over_wait_for_it() -> None:
    log = await left_behind(named((await uninterrupted())[:5]), request=asking(request_id=REQUEST_ID, **WINDOW))
    async with Services(going_on()).orchestrator(answer_log=log) as orchestrator, anyio.create_task_group() as tasks:
        by_name: list[AnswerChunk] = []
        by_request: list[AnswerChunk] = []
        tasks.start_soon(resume_into, by_name, orchestrator)
        tasks.start_soon(answer_into, by_request, orchestrator, asking(request_id=REQUEST_ID, **WINDOW))
        await wait_all_tasks_blocked()
    assert by_name == by_request
    assert_rules(by_name)
