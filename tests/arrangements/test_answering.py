from __future__ import annotations

import json

import anyio
import anyio.to_thread
import pytest

from headwater import (
    AnswerChunk,
    AsyncClient,
    DeadlineExceeded,
    FinishReason,
    FirstTokenTimeout,
    InvalidRequest,
    Limits,
    NotFound,
    ProviderRateLimited,
    ProviderTruncated,
    RequestIdReused,
    Source,
    StreamStalled,
    Unauthenticated,
    field,
)
from headwater.v1 import source_pb2
from tests.arrangements.model_server import WORDS
from tests.arrangements.processes import OTHER_TOKEN, Arrangement
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules
from tests.serving import HANDBOOK

pytestmark = pytest.mark.anyio

QUESTIONS = json.loads((HANDBOOK.parent / "questions.json").read_text())
ANSWERED = [item for item in QUESTIONS if item.get("quote")]
REQUEST_ID = "4f9619ff-8b86-4d01-b42d-00cf4fc964ff"
WAIT_SECONDS = 30


async def test_the_demos_questions_are_answered_from_the_documents_by_the_rules(client: AsyncClient) -> None:
    right = 0
    for item in ANSWERED:
        answer = client.answer(item["question"], corpus="handbook")
        terminal = assert_rules([chunk async for chunk in answer.chunks()])
        assert terminal.text == await answer.content()
        assert all(source.document.startswith("corpora/handbook/documents/") for source in terminal.sources)
        if answer.finish_reason is FinishReason.STOP:
            assert terminal.citations
            contents = {source.id: source.content for source in terminal.sources}
            text = terminal.text.encode()
            for citation in terminal.citations:
                said = text[citation.start_byte : citation.end_byte].decode()
                assert any(_plain(said) in _plain(contents[item.source_id]) for item in citation.evidence)
        cited = {source.document for source in terminal.sources if source.disposition == 3}
        right += any(name.endswith(item["file"]) for name in cited)
    assert right >= len(ANSWERED) * 3 // 4


def _plain(text: str) -> str:
    return " ".join(text.split())


async def test_a_model_behind_http_streams_through_with_its_citations(
    client: AsyncClient, arrangement: Arrangement
) -> None:
    answer = client.answer("Is leave paid?", corpus="handbook", assistant="scripted/echo", history=[("user", "Hello")])
    terminal = assert_rules([chunk async for chunk in answer.chunks()])
    assert terminal.text == "".join(word for word in WORDS if word != "[1]").replace(" .", ".")
    assert terminal.assistant == "assistants/scripted/echo"
    assert terminal.model_version == "scripted-1"
    assert answer.finish_reason is FinishReason.STOP
    assert [item.source_id for citation in terminal.citations for item in citation.evidence] == ["1"]
    (request,) = arrangement.model.requests
    assert request["stream"] is True
    assert "Hello" in [message["content"] for message in request["messages"]]
    assert terminal.sources[0].content in json.loads(json.dumps(request["messages"][-1]["content"]))


async def test_an_answer_can_rest_on_several_corpora_and_on_part_of_one(client: AsyncClient) -> None:
    for corpus, animal in (("zoo-a", "zebra"), ("zoo-b", "yak")):
        await client.corpora.create(corpus, exist_ok=True)
        await client.documents.import_file(
            f"The {animal} eats forty kilograms of hay a day.".encode(),
            corpus=corpus,
            document_id=animal,
            media_type="text/plain",
            metadata={"animal": animal},
        )
    both = await client.answer("How much hay does the animal eat?", corpora=["zoo-a", "corpora/zoo-b"])
    documents = {"corpora/zoo-a/documents/zebra", "corpora/zoo-b/documents/yak"}
    assert {source.document for source in both.sources} == documents
    one = await client.answer("How much hay?", corpora=["zoo-a", "zoo-b"], filter=field("animal") == "yak")
    assert {source.document for source in one.sources} == {"corpora/zoo-b/documents/yak"}
    assert "yak" in str(one)
    none = await client.answer("How much hay?", corpora=["zoo-a"], filter=field("animal") == "yak")
    assert none.finish_reason is FinishReason.ABSTAINED
    assert not none.sources


async def test_an_answer_can_rest_on_sources_of_the_callers_own(client: AsyncClient) -> None:
    source = Source(content="The yak eats forty kilograms of hay a day.", title="Yaks", document="my own")
    answer = client.answer("How much hay does the yak eat?", sources=[source])
    terminal = assert_rules([chunk async for chunk in answer.chunks()])
    assert "forty kilograms" in terminal.text
    assert [(each.id, each.title, each.document) for each in terminal.sources] == [("1", "Yaks", "my own")]
    assert terminal.sources[0].disposition == source_pb2.SOURCE_DISPOSITION_CITED


async def test_an_ungrounded_answer_has_no_sources(client: AsyncClient, arrangement: Arrangement) -> None:
    answer = await client.answer("Say something", grounded=False, assistant="scripted/echo")
    assert not answer.sources
    assert len(arrangement.model.requests) == 1


async def test_where_nothing_is_found_or_relevant_the_answer_abstains(client: AsyncClient) -> None:
    empty = await client.answer("What about nothing?", sources=[])
    assert (empty.finish_reason, empty.abstain_reason and empty.abstain_reason.name) == (
        FinishReason.ABSTAINED,
        "NO_SOURCES",
    )
    strict = await client.answer("Who won the football World Cup?", corpus="handbook", min_score=0.99)
    assert (strict.finish_reason, strict.abstain_reason and strict.abstain_reason.name) == (
        FinishReason.ABSTAINED,
        "LOW_RELEVANCE",
    )


async def test_errors_come_through_with_their_details(client: AsyncClient) -> None:
    with pytest.raises(NotFound) as unknown_corpus:
        await client.answer("Why?", corpus="nothing-here")
    assert unknown_corpus.value.reason == "RESOURCE_NOT_FOUND"
    assert unknown_corpus.value.resource == "corpora/nothing-here"
    with pytest.raises(NotFound) as unknown_assistant:
        await client.answer("Why?", corpus="handbook", assistant="nobody/at-all")
    assert "nobody" in unknown_assistant.value.message
    with pytest.raises(InvalidRequest) as invalid:
        await client.answer("Why?", corpus="handbook", temperature=3)
    assert [item.field for item in invalid.value.violations] == ["generation.temperature"]
    with pytest.raises(InvalidRequest) as cannot:
        await client.answer("How much leave is there?", corpus="handbook", temperature=1)  # the extractive one cannot
    assert cannot.value.reason == "INVALID_FIELD"
    assert cannot.value.violations
    with pytest.raises(NotFound) as unknown_answer:
        await client.get_answer("answers/a")
    assert unknown_answer.value.resource == "answers/a"


async def test_failures_of_the_provider_keep_their_reasons(client: AsyncClient) -> None:
    with pytest.raises(ProviderRateLimited) as limited:
        await client.answer("Why?", grounded=False, assistant="scripted/limited")
    assert limited.value.retry_after == 7
    assert limited.value.metadata["provider"] == "scripted"
    answer = client.answer("Why?", grounded=False, assistant="scripted/truncated")
    with pytest.raises(ProviderTruncated):
        await answer
    assert answer.partial.startswith("Leave is paid")


async def test_cancelling_closes_the_upstreams_socket_and_keeps_the_part(
    client: AsyncClient, arrangement: Arrangement
) -> None:
    answer = client.answer("Why?", grounded=False, assistant="scripted/hanging")
    stopped, chunks = False, list[AnswerChunk]()
    async for chunk in answer.chunks():
        chunks.append(chunk)
        if chunk.HasField("text") and not stopped:
            stopped = True
            await answer.cancel()
    terminal = assert_rules(chunks)
    assert answer.finish_reason is FinishReason.CANCELLED
    assert terminal.text.startswith("Leave")
    assert terminal.usage.partial
    await hung_up(arrangement)


async def hung_up(arrangement: Arrangement) -> None:
    """Waits until the model server's client has closed its connection."""
    assert await anyio.to_thread.run_sync(arrangement.model.hung_up.wait, WAIT_SECONDS)


async def test_a_reader_that_goes_away_closes_the_upstreams_socket(
    client: AsyncClient, arrangement: Arrangement
) -> None:
    async with client.answer("Why?", grounded=False, assistant="scripted/hanging") as answer:
        async for _ in answer:
            break
        assert not arrangement.model.hung_up.is_set(), "a break alone stops nothing"
    await hung_up(arrangement)


async def test_the_callers_deadline_closes_the_upstreams_socket(client: AsyncClient, arrangement: Arrangement) -> None:
    with pytest.raises(DeadlineExceeded):
        await client.answer("Why?", grounded=False, assistant="scripted/hanging", timeout=0.5)
    await hung_up(arrangement)


async def test_the_three_limits(client: AsyncClient, arrangement: Arrangement) -> None:
    with pytest.raises(FirstTokenTimeout):
        await client.answer("Why?", grounded=False, assistant="scripted/silent", limits=Limits(first_token=0.2))
    with pytest.raises(StreamStalled):
        await client.answer("Why?", grounded=False, assistant="scripted/hanging", limits=Limits(between_tokens=0.2))
    cut = await client.answer("Why?", grounded=False, assistant="scripted/hanging", limits=Limits(total=1.5))
    assert cut.finish_reason is FinishReason.TIME_LIMIT
    assert str(cut).startswith("Leave is paid")
    await hung_up(arrangement)


async def test_a_silent_assistant_gives_heartbeats(client: AsyncClient) -> None:
    chunks: list[AnswerChunk] = []
    async with client.answer("Why?", grounded=False, assistant="scripted/silent") as answer:
        async for chunk in answer.chunks():
            chunks.append(chunk)
            if sum(each.HasField("heartbeat") for each in chunks) == 2:
                break
    assert_begins_by_the_rules(chunks)


async def test_a_request_id_that_runs_is_refused_and_cancels_by_it(client: AsyncClient) -> None:
    answer = client.answer("Why?", grounded=False, assistant="scripted/hanging", request_id=REQUEST_ID)
    await answer.retrieved()
    with pytest.raises(RequestIdReused):
        await client.answer("Why?", grounded=False, assistant="scripted/echo", request_id=REQUEST_ID)
    ended = await client.cancel_answer(request_id=REQUEST_ID)
    assert (await answer).message == ended


async def test_many_answers_at_once_keep_apart(client: AsyncClient) -> None:
    async def ask(item: dict[str, str]) -> None:
        answer = client.answer(item["question"], corpus="handbook")
        assert assert_rules([chunk async for chunk in answer.chunks()]).prompt == item["question"]

    async with anyio.create_task_group() as tasks:
        for item in ANSWERED * 2:
            tasks.start_soon(ask, item)


async def test_a_token_is_needed_and_tenants_do_not_see_each_other(
    client: AsyncClient, arrangement: Arrangement
) -> None:
    answer = client.answer("Why?", grounded=False, assistant="scripted/hanging")
    await answer.retrieved()
    async with AsyncClient(arrangement.target) as nobody, AsyncClient(arrangement.target, token=OTHER_TOKEN) as other:
        with pytest.raises(Unauthenticated):
            await nobody.answer("Why?")
        with pytest.raises(NotFound):
            await other.cancel_answer(answer.name)
        with pytest.raises(NotFound):
            await other.answer("Why?", corpus="handbook")
        assert [corpus.name async for corpus in other.corpora.list()] == []
    await answer.cancel()
    assert (await answer).finish_reason is FinishReason.CANCELLED
