from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio
import pytest

from headwater.v1 import answer_pb2, chat_pb2, filter_pb2, generation_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.retrieval_service_pb2 import RetrieveRequest, RetrieveResponse
from headwater_server.errors import (
    InvalidRequest,
    Reason,
    ResourceNotFound,
    ServiceError,
)
from headwater_server.orchestrator import relay
from headwater_server.orchestrator.transcript import MAX_TEXT_BYTES
from tests.orchestrator.asking import ME, REQUEST_ID, answer, answer_into, asking
from tests.orchestrator.backends import (
    HELLO,
    Services,
    contents,
    finding,
    saying,
    saying_then_failing,
)
from tests.orchestrator.events import HEARTBEAT, citation, ended, reasoning, text
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules

pytestmark = pytest.mark.anyio


async def test_an_answer_is_a_stream_by_the_rules() -> None:
    said = saying(
        reasoning("hm"),
        HEARTBEAT,
        text("Grüße, "),
        text(""),
        text("Welt."),
        citation(0, 7, "2"),
        ended(presented=("1",)),
    )
    async with Services(said).orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking("why?", request_id=REQUEST_ID, labels={"k": "v"}))
    terminal = assert_rules(chunks)
    assert terminal.text == "Grüße, Welt."
    assert (terminal.prompt, terminal.request_id, dict(terminal.labels)) == ("why?", REQUEST_ID, {"k": "v"})
    assert terminal.name == chunks[0].started.answer
    assert terminal.state == answer_pb2.ANSWER_STATE_SUCCEEDED
    assert terminal.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert (terminal.assistant, terminal.model_version) == ("assistants/scripted/model", "v1")
    assert terminal.usage.output_tokens == 5
    assert not terminal.usage.partial
    presented, cited = source_pb2.SOURCE_DISPOSITION_PRESENTED, source_pb2.SOURCE_DISPOSITION_CITED
    assert [source.disposition for source in terminal.sources] == [presented, cited]


async def test_the_started_event_names_the_assistant_that_was_asked_for_or_the_default() -> None:
    services = Services()
    async with services.orchestrator() as orchestrator:
        by_default = await answer(orchestrator, asking())
        asked = await answer(orchestrator, asking(assistant="openai/gpt/4"))
        in_full = await answer(orchestrator, asking(assistant="assistants/openai/gpt/4"))
    names = [chunks[0].started.assistant for chunks in (by_default, asked, in_full)]
    assert names == ["assistants/builtin/extractive", "assistants/openai/gpt/4", "assistants/openai/gpt/4"]
    assert [request.assistant for request in services.assistants.requests] == names


async def test_names_of_answers_cannot_be_guessed() -> None:
    async with Services().orchestrator() as orchestrator:
        names = {(await answer(orchestrator, asking()))[0].started.answer for _ in range(5)}
    assert len(names) == 5
    assert all(len(bytes.fromhex(name.removeprefix("answers/"))) == 16 for name in names)


async def test_generate_answer_gives_what_the_stream_ends_with() -> None:
    async with Services(saying(*HELLO)).orchestrator() as orchestrator:
        streamed = assert_rules(await answer(orchestrator, asking()))
        generated = await orchestrator.generate_answer(asking(), ME)
    for each in (streamed, generated):
        for unique in ("name", "create_time", "complete_time", "expire_time", "timings"):
            each.ClearField(unique)
    assert generated.last_sequence > 3
    # How many pieces of text became one event depends on the reader.
    streamed.ClearField("last_sequence")
    generated.ClearField("last_sequence")
    assert generated == streamed


async def test_the_timings_are_in_order() -> None:
    async def slowly(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        await anyio.sleep(0.01)
        yield text("a")
        await anyio.sleep(0.01)
        yield ended()

    async with Services(slowly).orchestrator() as orchestrator:
        timings = (await orchestrator.generate_answer(asking(), ME)).timings
        unasked = (await orchestrator.generate_answer(asking(ungrounded=source_pb2.NoGrounding()), ME)).timings
    microseconds = [
        part.ToMicroseconds() for part in (timings.retrieval, timings.first_token, timings.generation, timings.total)
    ]
    retrieval, first, generation, total = microseconds
    assert min(microseconds) >= 0
    assert retrieval <= first <= total
    assert generation > 0
    assert abs(first + generation - total) <= 2
    assert not unasked.HasField("retrieval")


async def test_the_search_is_for_the_prompt_unless_the_request_has_a_query() -> None:
    services = Services()
    options = source_pb2.RetrievalOptions(
        corpora=["a", "corpora/b"],
        query="what to look for",
        filter=filter_pb2.Filter(negate=filter_pb2.Filter()),
        top_k=3,
        min_score=0.25,
        token_budget=100,
    )
    async with services.orchestrator() as orchestrator:
        await answer(orchestrator, asking("the prompt"))
        await answer(orchestrator, asking("the prompt", retrieval=options))
        await answer(orchestrator, asking("the prompt", retrieval=source_pb2.RetrievalOptions(query=" \n")))
    first, second, third = (request.options for request in services.retrieval.requests)
    assert first == source_pb2.RetrievalOptions(query="the prompt")
    assert second == options
    assert third.query == "the prompt"


async def test_the_assistant_is_made_ready_while_there_is_a_search() -> None:
    searching, found = anyio.Event(), anyio.Event()

    async def search(request: RetrieveRequest) -> AsyncGenerator[RetrieveResponse, None]:
        searching.set()
        await found.wait()
        yield RetrieveResponse(statistics=source_pb2.RetrievalStatistics())

    services = Services(search=search)
    async with services.orchestrator() as orchestrator, anyio.create_task_group() as tasks:
        tasks.start_soon(answer, orchestrator, asking("the prompt", assistant="assistants/p/m"))
        await searching.wait()
        assert (services.expected, services.assistants.requests) == (["p/m"], [])
        found.set()
    async with services.orchestrator() as orchestrator:
        await answer(orchestrator, asking("the prompt", ungrounded=source_pb2.NoGrounding()))
    assert services.expected == ["p/m"]


async def test_sources_and_all_that_concerns_the_assistant_are_passed_on() -> None:
    services = Services()
    history = [
        chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, text="q"),
        chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_ASSISTANT, text="a"),
    ]
    generation = generation_pb2.GenerationOptions(instructions="be brief", seed=7)
    never = generation_pb2.ABSTAIN_POLICY_NEVER
    async with services.orchestrator() as orchestrator:
        chunks = await answer(
            orchestrator, asking("the prompt", history=history, generation=generation, abstain_policy=never)
        )
    (request,) = services.assistants.requests
    assert services.assistants.callers == [ME]
    assert request.answer == chunks[0].started.answer
    assert request.prompt == "the prompt"
    assert list(request.history) == history
    assert request.generation == generation
    assert request.abstain_policy == never
    assert request.grounded
    assert [(source.id, source.content) for source in request.sources] == [("1", "first"), ("2", "second")]


async def test_provided_sources_take_the_place_of_a_search() -> None:
    services = Services()
    large = {
        "a": filter_pb2.MetadataValue(string_value="small"),
        "b": filter_pb2.MetadataValue(string_value="x" * 1024),
    }
    provided = source_pb2.SourceList(
        sources=[source_pb2.Source(id="77", content="mine", metadata=large), source_pb2.Source(content="too")]
    )
    async with services.orchestrator() as orchestrator:
        terminal = assert_rules(await answer(orchestrator, asking(provided=provided)))
    assert not services.retrieval.requests
    assert [(source.id, source.content) for source in terminal.sources] == [("1", "mine"), ("2", "too")]
    assert set(terminal.sources[0].metadata) == {"a"}, "a source has at most 1 KiB of metadata"
    assert contents(services.assistants.requests[0].sources) == ["mine", "too"]
    assert services.assistants.requests[0].grounded
    assert not terminal.timings.HasField("retrieval")


async def test_provided_sources_that_no_answer_could_hold_are_refused() -> None:
    source = source_pb2.Source(content="c" * 16384, uri="u" * 4096)
    provided = source_pb2.SourceList(sources=[source] * 100)
    services = Services()
    async with services.orchestrator() as orchestrator:
        with pytest.raises(InvalidRequest) as caught:
            await answer(orchestrator, asking(provided=provided))
    assert caught.value.violations[0].field == "provided.sources"
    assert not services.assistants.requests


async def test_an_ungrounded_answer_searches_nothing_and_says_so_to_the_assistant() -> None:
    services = Services()
    async with services.orchestrator() as orchestrator:
        terminal = assert_rules(await answer(orchestrator, asking(ungrounded=source_pb2.NoGrounding())))
    assert not services.retrieval.requests
    assert not services.assistants.requests[0].grounded
    assert not terminal.sources


@pytest.mark.parametrize(
    ("below", "reason"),
    [(0, answer_pb2.ABSTAIN_REASON_NO_SOURCES), (3, answer_pb2.ABSTAIN_REASON_LOW_RELEVANCE)],
)
async def test_abstaining_ends_well_and_tells_what_was_missing(
    below: int, reason: answer_pb2.AbstainReason.ValueType
) -> None:
    abstained = AnswerChunk(
        answer=answer_pb2.Answer(
            finish_reason=answer_pb2.FINISH_REASON_ABSTAINED, abstain_reason=answer_pb2.ABSTAIN_REASON_NO_SOURCES
        )
    )
    services = Services(saying(abstained), search=finding(below_min_score=below))
    async with services.orchestrator() as orchestrator:
        terminal = assert_rules(await answer(orchestrator, asking()))
    assert terminal.state == answer_pb2.ANSWER_STATE_SUCCEEDED
    assert terminal.finish_reason == answer_pb2.FINISH_REASON_ABSTAINED
    assert terminal.abstain_reason == reason
    assert terminal.text == ""


async def test_a_failed_search_fails_the_answer_after_its_start() -> None:
    async def failing(request: RetrieveRequest) -> AsyncGenerator[RetrieveResponse, None]:
        yield RetrieveResponse(sources=[source_pb2.Source(content="lost")])
        raise ResourceNotFound("corpora/x")

    services = Services(search=failing)
    chunks: list[AnswerChunk] = []
    async with services.orchestrator() as orchestrator:
        with pytest.raises(ResourceNotFound):
            await answer_into(chunks, orchestrator, asking())
    assert [chunk.WhichOneof("event") for chunk in chunks] == ["started"]
    assert not services.assistants.requests
    assert services.retrieval.closed.is_set()


async def test_a_failure_of_the_assistant_comes_after_the_part_and_keeps_its_reason() -> None:
    failure = ServiceError(Reason.PROVIDER_RATE_LIMITED, "slow down", retry_after=2, metadata={"http_status": "429"})
    chunks: list[AnswerChunk] = []
    async with Services(saying_then_failing(failure, text("The part"))).orchestrator() as orchestrator:
        with pytest.raises(ServiceError) as caught:
            await answer_into(chunks, orchestrator, asking())
    assert caught.value is failure
    assert assert_begins_by_the_rules(chunks) is None
    assert "".join(chunk.text.text for chunk in chunks) == "The part"


async def test_an_assistant_service_that_just_stops_is_no_end() -> None:
    async with Services(saying(text("The part"))).orchestrator() as orchestrator:
        with pytest.raises(ServiceError) as caught:
            await answer(orchestrator, asking(assistant="openai/gpt"))
    assert caught.value.reason is Reason.PROVIDER_TRUNCATED
    assert caught.value.metadata["provider"] == "openai"


async def test_an_end_without_a_reason_is_not_taken_for_a_stop() -> None:
    async with Services(saying(text("x"), AnswerChunk(answer=answer_pb2.Answer()))).orchestrator() as orchestrator:
        terminal = assert_rules(await answer(orchestrator, asking()))
    assert terminal.finish_reason == answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN
    assert terminal.assistant == "assistants/builtin/extractive"


async def test_an_assistant_that_thinks_more_than_an_answer_may_hold_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay, "MAX_REASONING_BYTES", 1_000_000)
    services = Services(saying(*[reasoning("€" * 100_000)] * 4, text("at last"), ended()))
    async with services.orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking())
    terminal = assert_rules(chunks)
    assert terminal.finish_reason == answer_pb2.FINISH_REASON_MAX_TOKENS
    assert terminal.text == ""
    thought = "".join(chunk.reasoning.text for chunk in chunks)
    assert thought == "€" * 300_000, "whole pieces, up to the first that does not fit"
    assert services.assistants.closed.is_set()


async def test_text_over_one_mebibyte_is_cut_between_two_characters() -> None:
    piece = "€" * 100_000
    services = Services(saying(*[text(piece)] * 4, ended()))
    async with services.orchestrator() as orchestrator:
        terminal = assert_rules(await answer(orchestrator, asking()))
    assert terminal.finish_reason == answer_pb2.FINISH_REASON_MAX_TOKENS
    assert terminal.state == answer_pb2.ANSWER_STATE_SUCCEEDED
    assert terminal.text == "€" * (MAX_TEXT_BYTES // 3)
    assert terminal.usage.partial
    assert terminal.usage.origin == answer_pb2.USAGE_ORIGIN_ESTIMATED
    assert terminal.usage.output_tokens == MAX_TEXT_BYTES // 4
    assert {source.disposition for source in terminal.sources} == {source_pb2.SOURCE_DISPOSITION_PRESENTED}
    assert services.assistants.closed.is_set()


async def test_a_request_over_three_mebibytes_is_refused() -> None:
    history = [chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, text="q" * 200_000)] * 16
    async with Services().orchestrator() as orchestrator:
        with pytest.raises(InvalidRequest, match="3 MiB"):
            await answer(orchestrator, asking(history=history))
