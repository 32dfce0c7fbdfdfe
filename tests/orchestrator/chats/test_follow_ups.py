"""What is searched for where a prompt follows others."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.v1 import source_pb2
from headwater.v1.answer_pb2 import Answer, AnswerChunk
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.chat_pb2 import CHAT_ROLE_ASSISTANT, CHAT_ROLE_USER, ChatMessage
from headwater.v1.retrieval_service_pb2 import RetrieveRequest, RetrieveResponse
from headwater.v1.source_pb2 import NoGrounding, RetrievalOptions
from headwater_server.errors import Reason, ServiceError
from headwater_server.orchestrator.config import ChatsConfig, OrchestratorConfig
from headwater_server.orchestrator.searching import condensing
from headwater_server.orchestrator.searching.fusing import fused
from headwater_server.orchestrator.searching.turns_query import MAX_ADDED, query_of_turns
from headwater_server.orchestrator.service import Orchestrator
from tests.orchestrator.asking import ME, answer
from tests.orchestrator.backends import Script, Services, saying, saying_then_failing, saying_then_hanging
from tests.orchestrator.chats.databases import SqliteDatabase
from tests.orchestrator.chats.talking import ask, history_of, new_chat
from tests.orchestrator.events import ended, reasoning, text
from tests.orchestrator.rules import assert_rules

pytestmark = pytest.mark.anyio

LEAVE = "How many days of annual leave do I get?"
ASSISTANT = OrchestratorConfig(chats=ChatsConfig(follow_up="assistant"))
PROMPT = OrchestratorConfig(chats=ChatsConfig(follow_up="prompt"))


@pytest.fixture
def services() -> Services:
    return Services(saying(text("a"), ended()))


def queries(services: Services) -> list[str]:
    return [request.options.query for request in services.retrieval.requests]


async def talk(orchestrator: Orchestrator, *prompts: str, **fields: Any) -> Answer:
    """The answer to the last of some prompts of one chat."""
    chat = await new_chat(orchestrator)
    for prompt in prompts[:-1]:
        await ask(orchestrator, chat, prompt)
    return await ask(orchestrator, chat, prompts[-1], **fields)


@pytest.mark.parametrize(
    ("prompts", "query"),
    [
        ([LEAVE, "And for part-time staff?"], "And for part-time staff? many days annual leave get"),
        (["How long is parental leave?", "Is it paid?"], "Is it paid? long parental leave"),
        (["How long is parental leave?", "Is it paid?", "And for temps?"], "And for temps? paid long parental leave"),
        (["Wie viel Urlaub habe ich?", "Und in Teilzeit?"], "Und in Teilzeit? urlaub"),
        (["Combien de congés ai-je ?", "Et à mi-temps ?"], "Et à mi-temps ? combien congés ai-je"),
        ([LEAVE, "What about annual leave?"], "What about annual leave? many days get"),
        ([LEAVE, "When is lunch served in the canteen?"], "When is lunch served in the canteen?"),
        ([LEAVE, "What does the company add to my pension?"], "What does the company add to my pension?"),
        ([LEAVE, "   And?\n"], "   And? many days annual leave get"),
        (["?!", "And?"], "And?"),
        (["And?"], "And?"),
    ],
)
def test_a_prompt_gets_what_it_leaves_out_of_those_before_it(prompts: list[str], query: str) -> None:
    assert query_of_turns(prompts[:-1], prompts[-1]) == query


@given(st.lists(st.text(max_size=60), max_size=8), st.text(max_size=200))
def test_a_query_begins_with_its_prompt_and_has_few_words_more(earlier: list[str], prompt: str) -> None:
    query = query_of_turns(earlier, prompt)
    assert query == prompt or query.startswith(f"{prompt.rstrip()} ")
    assert len(query.removeprefix(prompt.rstrip()).split()) <= MAX_ADDED
    query.encode("utf-8", "surrogatepass")


def found(*names: str) -> list[source_pb2.Source]:
    return [source_pb2.Source(passage=name, content=name) for name in names]


def test_what_both_searches_find_comes_first_and_the_longer_list_says_how_many() -> None:
    both = fused(found("old", "x", "new", "y"), found("z", "new"))
    assert both[0].passage == "new"
    assert len(both) == 4
    assert [source.rank for source in both] == [1, 2, 3, 4]
    assert [source.score for source in both] == sorted((source.score for source in both), reverse=True)
    assert fused([], []) == []
    assert [source.passage for source in fused(found("a"), [])] == ["a"]


async def test_a_follow_up_is_searched_for_with_and_without_its_turns_and_says_so(
    services: Services, tmp_path: Path
) -> None:
    async def search(request: RetrieveRequest) -> AsyncGenerator[RetrieveResponse, None]:
        names = ["parental", "annual"] if request.options.query == "And part-time?" else ["annual", "pension"]
        statistics = source_pb2.RetrievalStatistics(candidates=2, index_current=True)
        yield RetrieveResponse(sources=found(*names), statistics=statistics)

    services.retrieval.search = search
    async with services.orchestrator(open_chats=SqliteDatabase(tmp_path).open) as orchestrator:
        chat = await new_chat(orchestrator)
        first = await ask(orchestrator, chat, LEAVE)
        assert not first.timings.HasField("condensation")
        request = StreamAnswerRequest(chat=chat, prompt="And part-time?", retrieval=RetrievalOptions(corpora=["hr"]))
        chunks = await answer(orchestrator, request)
    assert sorted(queries(services)[1:]) == ["And part-time?", "And part-time? many days annual leave get"]
    assert {tuple(request.options.corpora) for request in services.retrieval.requests[1:]} == {("hr",)}
    terminal = assert_rules(chunks)
    assert [source.passage for source in terminal.sources] == ["annual", "pension"]
    statistics = chunks[1].retrieved.statistics
    assert statistics.query == "And part-time? many days annual leave get"
    assert (statistics.candidates, statistics.index_current) == (4, True)
    assert terminal.timings.HasField("condensation")


async def test_the_token_budget_holds_for_both_searches_together(services: Services) -> None:
    async def search(request: RetrieveRequest) -> AsyncGenerator[RetrieveResponse, None]:
        sources = [
            source_pb2.Source(passage=f"{len(request.options.query)} {number}", content="x" * 400) for number in (1, 2)
        ]
        yield RetrieveResponse(sources=sources, statistics=source_pb2.RetrievalStatistics())

    services.retrieval.search = search
    async with services.orchestrator() as orchestrator:
        history = [ChatMessage(role=CHAT_ROLE_USER, text=LEAVE)]
        request = StreamAnswerRequest(prompt="And?", history=history, retrieval=RetrievalOptions(token_budget=150))
        terminal = assert_rules(await answer(orchestrator, request))
    assert len(terminal.sources) == 1


async def test_a_search_that_fails_beside_another_fails_the_answer_with_its_own_error(services: Services) -> None:
    async def search(request: RetrieveRequest) -> AsyncGenerator[RetrieveResponse, None]:
        if request.options.query == "And?":
            raise ServiceError(Reason.RESOURCE_NOT_FOUND, "no such corpus")
        await anyio.sleep_forever()
        yield RetrieveResponse()

    services.retrieval.search = search
    async with services.orchestrator() as orchestrator:
        history = [ChatMessage(role=CHAT_ROLE_USER, text=LEAVE)]
        with pytest.raises(ServiceError, match="no such corpus"):
            await answer(orchestrator, StreamAnswerRequest(prompt="And?", history=history))


async def test_a_conversation_that_the_caller_keeps_is_followed_up_as_well(services: Services) -> None:
    history = [
        ChatMessage(role=CHAT_ROLE_USER, text=LEAVE),
        ChatMessage(role=CHAT_ROLE_ASSISTANT, text="30 days, says the handbook."),
    ]
    async with services.orchestrator() as orchestrator:
        await answer(orchestrator, StreamAnswerRequest(prompt="And part-time?", history=history))
    assert sorted(queries(services)) == ["And part-time?", "And part-time? many days annual leave get"]


async def test_nothing_is_made_where_the_request_says_what_to_search_for_or_the_setting_wants_the_prompt(
    services: Services, tmp_path: Path
) -> None:
    async with services.orchestrator(open_chats=SqliteDatabase(tmp_path).open) as orchestrator:
        told = await talk(orchestrator, LEAVE, "And?", retrieval=RetrievalOptions(query="pension"))
        ungrounded = await talk(orchestrator, LEAVE, "And?", ungrounded=NoGrounding())
    assert queries(services) == [LEAVE, "pension", LEAVE]
    assert not told.timings.HasField("condensation")
    assert not ungrounded.timings.HasField("condensation")
    async with services.orchestrator(PROMPT, open_chats=SqliteDatabase(tmp_path).open) as orchestrator:
        await talk(orchestrator, LEAVE, "And?")
    assert queries(services)[3:] == [LEAVE, "And?"]


def condensing_script(condense: Script) -> Script:
    """A script that condenses as told, and answers everything else."""

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        if "searches" in request.generation.instructions:
            events = condense(request)
        else:
            events = saying(text("30 days."), ended())(request)
        async for event in events:
            yield event

    return script


async def test_an_assistant_makes_the_question_stand_alone(services: Services, tmp_path: Path) -> None:
    said = saying(reasoning("hm"), text("How much annual leave\n do part-time "), text("staff get?\n"), ended())
    services.assistants.script = condensing_script(said)
    async with services.orchestrator(ASSISTANT, open_chats=SqliteDatabase(tmp_path).open) as orchestrator:
        terminal = await talk(orchestrator, LEAVE, "And part-time?", assistant="a/b")
    assert queries(services) == [LEAVE, "How much annual leave do part-time staff get?"]
    asked = services.assistants.requests[1]
    assert asked.assistant == "assistants/a/b"
    assert not asked.grounded
    assert LEAVE in asked.prompt
    assert "30 days." in asked.prompt
    assert "And part-time?" in asked.prompt
    assert history_of(services.assistants.requests[2]) == [LEAVE, "30 days."]
    assert services.assistants.requests[2].prompt == "And part-time?"
    assert terminal.timings.HasField("condensation")


@pytest.mark.parametrize(
    "condense",
    [
        saying(ended()),
        saying(text("  \n"), ended()),
        saying(text("broken off")),
        saying(text("x" * 2000), ended()),
        saying_then_failing(ServiceError(Reason.PROVIDER_RATE_LIMITED, "slow down"), text("part")),
        saying_then_failing(KeyError("a defect")),
        saying_then_hanging(text("part")),
    ],
    ids=["nothing", "blank", "broken off", "too long", "refused", "defect", "hanging"],
)
async def test_an_assistant_that_fails_at_it_is_done_without(
    condense: Script, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(condensing, "MAX_SECONDS", 0.2)
    services.assistants.script = condensing_script(condense)
    async with services.orchestrator(ASSISTANT, open_chats=SqliteDatabase(tmp_path).open) as orchestrator:
        terminal = await talk(orchestrator, LEAVE, "And part-time?")
    assert terminal.text == "30 days."
    assert sorted(queries(services)[1:]) == ["And part-time?", "And part-time? many days annual leave get"]
    assert services.assistants.running == 0


async def test_a_stop_while_the_question_is_made_stops_the_answer(services: Services) -> None:
    services.assistants.script = condensing_script(saying_then_hanging())
    history = [ChatMessage(role=CHAT_ROLE_USER, text=LEAVE)]
    async with services.orchestrator(ASSISTANT) as orchestrator:
        stream = orchestrator.stream_answer(StreamAnswerRequest(prompt="And?", history=history), ME)
        await anext(stream)
        await anyio.wait_all_tasks_blocked()
        await stream.aclose()
        await services.assistants.closed.wait()
    assert services.retrieval.requests == []
    assert services.assistants.running == 0
