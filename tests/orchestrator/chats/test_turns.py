"""Answers in chats: stored before they begin, settled when they end, one at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import (
    ANSWER_STATE_CANCELLED,
    ANSWER_STATE_FAILED,
    ANSWER_STATE_RUNNING,
    ANSWER_STATE_SUCCEEDED,
    AnswerChunk,
)
from headwater.v1.answer_service_pb2 import (
    DISCONNECT_POLICY_CONTINUE,
    CancelAnswerRequest,
    DeleteAnswerRequest,
    DeleteChatRequest,
    GetAnswerRequest,
    ListAnswersRequest,
    ResumeAnswerRequest,
    StreamAnswerRequest,
)
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.source_pb2 import NoGrounding, RetrievalOptions
from headwater_server.errors import OutOfRange, Reason, RecordedFailure, ResourceNotFound, ServiceError
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.chats import conversations
from headwater_server.orchestrator.chats.answers import chat_id
from headwater_server.orchestrator.chats.protocol import ChatStore, ChatsUnavailable
from headwater_server.orchestrator.config import ChatsConfig, OrchestratorConfig
from headwater_server.orchestrator.service import Orchestrator
from tests.orchestrator.asking import ME, REQUEST_ID, STRANGER, WAIT_SECONDS, answer_into
from tests.orchestrator.backends import Services, saying, saying_then_failing, saying_then_hanging
from tests.orchestrator.chats.databases import Database
from tests.orchestrator.chats.making import begun
from tests.orchestrator.chats.talking import ask, chat_of, echoing, history_of, new_chat, turn_of, turns_of
from tests.orchestrator.events import ended, text
from tests.orchestrator.rules import assert_rules

pytestmark = pytest.mark.anyio

SLOW_DOWN = ServiceError(Reason.PROVIDER_RATE_LIMITED, "slow down", retry_after=2)


@pytest.fixture
def services() -> Services:
    return Services(echoing)


@pytest.fixture
async def orchestrator(services: Services, database: Database) -> AsyncIterator[Orchestrator]:
    async with services.orchestrator(open_chats=database.open) as opened:
        yield opened


async def collected(stream: AsyncGenerator[AnswerChunk]) -> list[AnswerChunk]:
    async with aclosing(stream) as chunks:
        return [chunk async for chunk in chunks]


async def started(stream: AsyncGenerator[AnswerChunk], *, texts: int = 1) -> list[AnswerChunk]:
    """The chunks up to some text."""
    chunks: list[AnswerChunk] = []
    with anyio.fail_after(WAIT_SECONDS):
        async for chunk in stream:
            chunks.append(chunk)
            texts -= chunk.HasField("text")
            if not texts:
                break
    return chunks


async def test_a_turn_has_its_prompt_and_its_answer(services: Services, orchestrator: Orchestrator) -> None:
    chat = await new_chat(orchestrator)
    chunks: list[AnswerChunk] = []
    await answer_into(chunks, orchestrator, StreamAnswerRequest(chat=chat, prompt="why?", labels={"a": "b"}))
    answer = assert_rules(chunks)
    assert chunks[0].started.chat == chat
    assert answer.chat == chat
    assert not answer.HasField("expire_time"), "answers of chats live as long as the chat"
    (listed,) = await turns_of(orchestrator, chat)
    turn = await turn_of(orchestrator, listed.name)
    assert turn.name.startswith(f"{chat}/turns/")
    assert turn.prompt == "why?"
    assert turn.answer == answer
    assert [source.content for source in turn.answer.sources] == ["first", "second"]
    assert [source.content for source in listed.answer.sources] == ["", ""]
    assert listed.answer.text == "re: why?"
    kept = await chat_of(orchestrator, chat)
    assert (kept.turn_count, kept.running_answer) == (1, "")


async def test_the_prompt_is_stored_before_generation_begins(services: Services, orchestrator: Orchestrator) -> None:
    chat = await new_chat(orchestrator)
    seen: list[tuple[str, int, str]] = []

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        (turn,) = await turns_of(orchestrator, chat)
        seen.append((turn.prompt, turn.answer.state, (await chat_of(orchestrator, chat)).running_answer))
        yield ended()

    services.assistants.script = script
    answer = await ask(orchestrator, chat, "why?")
    assert seen == [("why?", ANSWER_STATE_RUNNING, answer.name)]


async def test_a_running_turn_shows_its_answer_as_far_as_it_has_come(
    services: Services, orchestrator: Orchestrator
) -> None:
    services.assistants.script = saying_then_hanging(text("so "), text("far"))
    chat = await new_chat(orchestrator)
    async with aclosing(orchestrator.stream_answer(StreamAnswerRequest(chat=chat, prompt="why?"), ME)) as stream:
        chunks = await started(stream)
        (turn,) = await turns_of(orchestrator, chat)
        assert turn.answer.name == chunks[0].started.answer
        assert turn.answer.text.startswith("so ")
        assert (await turn_of(orchestrator, turn.name)).answer.state == ANSWER_STATE_RUNNING


async def test_a_chat_has_one_running_answer_and_is_free_as_soon_as_its_reader_has_the_end(
    services: Services, orchestrator: Orchestrator
) -> None:
    services.assistants.script = saying_then_hanging(text("a"))
    chat = await new_chat(orchestrator)
    async with aclosing(orchestrator.stream_answer(StreamAnswerRequest(chat=chat, prompt="1"), ME)) as stream:
        name = (await started(stream))[0].started.answer
        with pytest.raises(ServiceError) as busy:
            await ask(orchestrator, chat, "2")
        assert busy.value.reason is Reason.CHAT_BUSY
        assert busy.value.metadata == {"chat": chat, "answer": name}
        assert (await chat_of(orchestrator, chat)).running_answer == name
        await orchestrator.cancel_answer(CancelAnswerRequest(name=name), ME)
    services.assistants.script = echoing
    for number in range(20):
        assert (await ask(orchestrator, chat, str(number))).text == f"re: {number}"
    services.assistants.script = saying_then_failing(SLOW_DOWN)
    for _ in range(5):
        with pytest.raises(ServiceError, match="slow down"):
            await ask(orchestrator, chat)
    assert (await chat_of(orchestrator, chat)).turn_count == 26


async def test_of_fifty_callers_in_one_chat_one_is_answered(services: Services, orchestrator: Orchestrator) -> None:
    services.assistants.script = saying_then_hanging(text("a"))
    chat = await new_chat(orchestrator)
    names: list[str] = []
    busy: list[str] = []

    async def call(number: int) -> None:
        request = StreamAnswerRequest(chat=chat, prompt=f"{number}", on_disconnect=DISCONNECT_POLICY_CONTINUE)
        try:
            async with aclosing(orchestrator.stream_answer(request, ME)) as stream:
                names.append((await started(stream))[0].started.answer)
        except ServiceError as error:
            busy.append(f"{error.reason} {error.metadata['answer']}")

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(call, number)
    assert len(names) == 1
    assert busy == [f"CHAT_BUSY {names[0]}"] * 49
    assert len(services.assistants.requests) == 1
    await orchestrator.cancel_answer(CancelAnswerRequest(name=names[0]), ME)


async def test_a_request_id_attaches_in_a_chat_too(services: Services, orchestrator: Orchestrator) -> None:
    chat = await new_chat(orchestrator)
    first = await ask(orchestrator, chat, request_id=REQUEST_ID)
    await ask(orchestrator, chat, "another")
    assert await ask(orchestrator, chat, request_id=REQUEST_ID) == first
    assert len(services.assistants.requests) == 2
    with pytest.raises(ServiceError) as reused:
        await ask(orchestrator, chat, "something else", request_id=REQUEST_ID)
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    with pytest.raises(ServiceError) as reused:
        await ask(orchestrator, "", request_id=REQUEST_ID)
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    assert (await chat_of(orchestrator, chat)).turn_count == 2


async def test_a_request_id_used_outside_a_chat_leaves_no_turn(services: Services, orchestrator: Orchestrator) -> None:
    chat = await new_chat(orchestrator)
    await ask(orchestrator, "", request_id=REQUEST_ID)
    with pytest.raises(ServiceError) as reused:
        await ask(orchestrator, chat, request_id=REQUEST_ID)
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    kept = await chat_of(orchestrator, chat)
    assert (kept.turn_count, kept.running_answer) == (0, "")
    await ask(orchestrator, chat)


async def test_another_tenant_s_chat_cannot_be_answered_in(orchestrator: Orchestrator) -> None:
    chat = await new_chat(orchestrator)
    for name, caller in ((chat, STRANGER), ("chats/unknown", ME)):
        with pytest.raises(ResourceNotFound):
            await ask(orchestrator, name, caller=caller)
    assert (await chat_of(orchestrator, chat)).turn_count == 0


async def test_the_model_gets_what_was_said_in_order_and_nothing_of_what_failed(
    services: Services, orchestrator: Orchestrator
) -> None:
    chat = await new_chat(orchestrator)
    await ask(orchestrator, chat, "q1")
    services.assistants.script = saying_then_failing(SLOW_DOWN, text("failed part"))
    with pytest.raises(ServiceError):
        await ask(orchestrator, chat, "q2")
    services.assistants.script = saying(text("cut"), ended(answer_pb2.FINISH_REASON_MAX_TOKENS))
    await ask(orchestrator, chat, "q3")
    services.assistants.script = saying_then_hanging(text("stopped"))
    async with aclosing(orchestrator.stream_answer(StreamAnswerRequest(chat=chat, prompt="q4"), ME)) as stream:
        name = (await started(stream))[0].started.answer
        await orchestrator.cancel_answer(CancelAnswerRequest(name=name), ME)
    services.assistants.script = saying(ended(answer_pb2.FINISH_REASON_ABSTAINED))
    await ask(orchestrator, chat, "q5")
    services.assistants.script = echoing
    await ask(orchestrator, chat, "q6")
    assert history_of(services.assistants.requests[-1]) == ["q1", "re: q1", "q3", "cut", "q4", "stopped"]
    turns = await turns_of(orchestrator, chat)
    assert [turn.prompt for turn in turns] == ["q1", "q2", "q3", "q4", "q5", "q6"]
    states = [ANSWER_STATE_SUCCEEDED, ANSWER_STATE_FAILED, ANSWER_STATE_SUCCEEDED, ANSWER_STATE_CANCELLED]
    assert [turn.answer.state for turn in turns][:4] == states
    assert turns[1].answer.text == "failed part"
    assert turns[1].answer.error.message == "slow down"


async def test_the_chat_s_assistant_and_retrieval_apply_where_the_request_says_nothing(
    services: Services, orchestrator: Orchestrator
) -> None:
    chat = await new_chat(
        orchestrator, assistant="assistants/a/chat", retrieval=RetrievalOptions(corpora=["c"], top_k=3)
    )
    answer = await ask(orchestrator, chat, "q1")
    assert services.assistants.requests[-1].assistant == "assistants/a/chat"
    assert services.retrieval.requests[-1].options == RetrievalOptions(corpora=["c"], top_k=3, query="q1")
    await ask(orchestrator, chat, assistant="b/other", retrieval=RetrievalOptions(corpora=["d"], query="so"))
    assert services.assistants.requests[-1].assistant == "assistants/b/other"
    assert services.retrieval.requests[-1].options == RetrievalOptions(corpora=["d"], query="so")
    await ask(orchestrator, chat, ungrounded=NoGrounding())
    assert len(services.retrieval.requests) == 2
    assert answer.timings.HasField("retrieval")


async def test_too_long_a_history_loses_its_oldest_turns_and_says_so(
    services: Services, orchestrator: Orchestrator
) -> None:
    chat = await new_chat(orchestrator)
    services.assistants.script = saying(text("x" * 400_000), ended())
    for number in range(4):
        await ask(orchestrator, chat, f"q{number}")
    answer = await ask(orchestrator, chat, "last")
    given = history_of(services.assistants.requests[-1])
    assert given[0::2] == ["q2", "q3"]
    assert answer.timings.dropped_history_messages == 4
    assert services.assistants.requests[-1].ByteSize() < 4 * 1024 * 1024


async def test_what_the_model_s_context_had_no_room_for_is_counted_with_what_was_not_sent(
    services: Services, orchestrator: Orchestrator
) -> None:
    chat = await new_chat(orchestrator)
    services.assistants.script = saying(text("x" * 600_000), ended())
    await ask(orchestrator, chat, "q1")
    await ask(orchestrator, chat, "q2")
    last = ended()
    last.answer.timings.dropped_history_messages = 1
    services.assistants.script = saying(text("a"), last)
    answer = await ask(orchestrator, chat, "q3")
    assert len(services.assistants.requests[-1].history) == 2
    assert answer.timings.dropped_history_messages == 3


async def test_quotas_are_kept(services: Services, database: Database) -> None:
    config = OrchestratorConfig(chats=ChatsConfig(max_chats=1, max_turns=2))
    async with services.orchestrator(config, open_chats=database.open) as orchestrator:
        chat = await new_chat(orchestrator)
        with pytest.raises(ServiceError) as refused:
            await new_chat(orchestrator)
        assert refused.value.reason is Reason.QUOTA_EXCEEDED
        assert refused.value.metadata == {"quota": "chats", "maximum": "1"}
        await ask(orchestrator, chat)
        await ask(orchestrator, chat)
        with pytest.raises(ServiceError) as refused:
            await ask(orchestrator, chat)
        assert refused.value.metadata == {"quota": "turns", "maximum": "2"}
        assert len(services.assistants.requests) == 2


async def test_an_answer_of_a_chat_is_there_when_the_log_has_forgotten_it(
    services: Services, database: Database
) -> None:
    answer_log = MemoryAnswerLog()
    async with services.orchestrator(answer_log=answer_log, open_chats=database.open) as orchestrator:
        chat = await new_chat(orchestrator)
        answer = await ask(orchestrator, chat, request_id=REQUEST_ID, labels={"a": "b"})
        services.assistants.script = saying_then_failing(SLOW_DOWN, text("part"))
        with pytest.raises(ServiceError):
            await ask(orchestrator, chat, "again?")
        failed = (await turns_of(orchestrator, chat))[1].answer.name
        for name in (answer.name, failed):
            await answer_log.delete(name)
        assert await orchestrator.get_answer(GetAnswerRequest(name=answer.name), ME) == answer
        for after in (None, 0, 1):
            request = ResumeAnswerRequest(name=answer.name, after_sequence=after)
            snapshot, terminal = await collected(orchestrator.resume_answer(request, ME))
            assert snapshot.snapshot.text == answer.text
            assert snapshot.sequence == answer.last_sequence - 1
            assert terminal == AnswerChunk(sequence=answer.last_sequence, answer=answer)
        request = ResumeAnswerRequest(name=answer.name, after_sequence=answer.last_sequence)
        assert await collected(orchestrator.resume_answer(request, ME)) == [terminal]
        request = ResumeAnswerRequest(name=answer.name, after_sequence=answer.last_sequence + 1)
        with pytest.raises(OutOfRange):
            await collected(orchestrator.resume_answer(request, ME))
        with pytest.raises(RecordedFailure, match="slow down"):
            await collected(orchestrator.resume_answer(ResumeAnswerRequest(name=failed), ME))
        assert await ask(orchestrator, chat, request_id=REQUEST_ID, labels={"a": "b"}) == answer
        with pytest.raises(ServiceError) as reused:
            await ask(orchestrator, chat, "other", request_id=REQUEST_ID)
        assert reused.value.reason is Reason.REQUEST_ID_REUSED
        with pytest.raises(ResourceNotFound):
            await orchestrator.get_answer(GetAnswerRequest(name=answer.name), STRANGER)
        cancelled = await orchestrator.cancel_answer(CancelAnswerRequest(request_id=REQUEST_ID), ME)
        assert cancelled == answer


async def test_a_deleted_answer_leaves_its_prompt_and_is_not_shown_to_the_model(
    services: Services, orchestrator: Orchestrator
) -> None:
    chat = await new_chat(orchestrator)
    answer = await ask(orchestrator, chat, "q1")
    await ask(orchestrator, chat, "q2")
    await orchestrator.delete_answer(DeleteAnswerRequest(name=answer.name), ME)
    with pytest.raises(ResourceNotFound):
        await orchestrator.get_answer(GetAnswerRequest(name=answer.name), ME)
    first, second = await turns_of(orchestrator, chat)
    assert first.prompt == "q1"
    assert not first.HasField("answer")
    assert second.answer.text == "re: q2"
    await ask(orchestrator, chat, "q3")
    assert history_of(services.assistants.requests[-1]) == ["q2", "re: q2"]


async def test_deleting_a_chat_stops_its_answer_and_deletes_all_of_them(
    services: Services, orchestrator: Orchestrator
) -> None:
    chat = await new_chat(orchestrator)
    await ask(orchestrator, chat)
    services.assistants.script = saying_then_hanging(text("a"))
    stream = orchestrator.stream_answer(StreamAnswerRequest(chat=chat, prompt="2"), ME)
    chunks = await started(stream)
    await orchestrator.delete_chat(DeleteChatRequest(name=chat), ME)
    chunks += await collected(stream)
    assert chunks[-1].answer.finish_reason == answer_pb2.FINISH_REASON_CANCELLED
    with pytest.raises(ResourceNotFound):
        await chat_of(orchestrator, chat)
    with pytest.raises(ResourceNotFound):
        await orchestrator.get_answer(GetAnswerRequest(name=chunks[-1].answer.name), ME)
    assert not (await orchestrator.list_answers(ListAnswersRequest(), ME)).answers
    with pytest.raises(ResourceNotFound):
        await orchestrator.delete_chat(DeleteChatRequest(name=chat), ME)


async def test_an_answer_whose_chat_has_no_room_is_refused_and_one_that_cannot_be_settled_is_later(
    services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await database.open()
    whole = store.settle

    async def broken(*_: object, **__: object) -> bool:
        raise ChatsUnavailable("the database has gone")

    async def open_it() -> ChatStore:
        return store

    async with services.orchestrator(open_chats=open_it) as orchestrator:
        chat = await new_chat(orchestrator)
        monkeypatch.setattr(store, "settle", broken)
        answer = await ask(orchestrator, chat, "q1")
        assert answer.text == "re: q1"
        assert (await chat_of(orchestrator, chat)).running_answer == answer.name
        with pytest.raises(ServiceError) as failed:
            await ask(orchestrator, chat, "q2")
        assert failed.value.reason is Reason.PROVIDER_UNAVAILABLE
        monkeypatch.setattr(store, "settle", whole)
        await ask(orchestrator, chat, "q3")
        assert history_of(services.assistants.requests[-1]) == ["q1", "re: q1"]


async def test_turns_survive_a_restart_and_a_running_one_is_settled_from_the_log(
    services: Services, database: Database, tmp_path: Path
) -> None:
    async with EmbeddedAnswerLog.open(tmp_path / "answers") as answer_log:
        stack = AsyncExitStack()
        first = await stack.enter_async_context(services.orchestrator(answer_log=answer_log, open_chats=database.open))
        chat = await new_chat(first, assistant="a/b")
        await ask(first, chat, "q1")
        services.assistants.script = saying_then_hanging(text("so "), text("far"))
        stream = first.stream_answer(StreamAnswerRequest(chat=chat, prompt="q2"), ME)
        name = (await started(stream))[0].started.answer
        first.drain()  # the log is not sealed, as after a kill
        with pytest.raises(ServiceError):
            await collected(stream)
        await stack.aclose()
        services.assistants.script = echoing
        async with services.orchestrator(answer_log=answer_log, open_chats=database.open) as second:
            with pytest.raises(RecordedFailure):
                await collected(second.resume_answer(ResumeAnswerRequest(name=name), ME))
            turns = await turns_of(second, chat)
            assert turns[1].answer.state == ANSWER_STATE_FAILED
            assert turns[1].answer.text.startswith("so ")
            assert (await chat_of(second, chat)).running_answer == ""
            await ask(second, chat, "q3")
            assert history_of(services.assistants.requests[-1]) == ["q1", "re: q1"]


async def test_an_answer_that_goes_on_after_a_restart_settles_its_turn_and_has_the_same_history(
    services: Services, database: Database, tmp_path: Path
) -> None:
    async with EmbeddedAnswerLog.open(tmp_path / "answers") as answer_log:
        stack = AsyncExitStack()
        first = await stack.enter_async_context(services.orchestrator(answer_log=answer_log, open_chats=database.open))
        chat = await new_chat(first, assistant="a/b")
        await ask(first, chat, "q1")
        services.assistants.script = saying_then_hanging()
        request = StreamAnswerRequest(chat=chat, prompt="q2", on_disconnect=DISCONNECT_POLICY_CONTINUE)
        stream = first.stream_answer(request, ME)
        name = (await anext(stream)).started.answer
        await wait_all_tasks_blocked()
        first.drain()
        with pytest.raises(ServiceError):
            await collected(stream)
        await stack.aclose()
        services.assistants.script = echoing
        async with services.orchestrator(answer_log=answer_log, open_chats=database.open) as second:
            chunks = await collected(second.resume_answer(ResumeAnswerRequest(name=name, after_sequence=0), ME))
            assert assert_rules(chunks).text == "re: q2"
            assert services.assistants.requests[-1].assistant == "assistants/a/b"
            assert history_of(services.assistants.requests[-1]) == ["q1", "re: q1"]
            turns = await turns_of(second, chat)
            assert turns[1].answer.text == "re: q2"
            assert (await chat_of(second, chat)).running_answer == ""


async def test_a_prompt_whose_server_died_before_it_had_an_answer_is_kept_and_leaves_the_chat_free(
    services: Services, database: Database
) -> None:
    store = await database.open()
    async with services.orchestrator(open_chats=database.open) as orchestrator:
        chat = await new_chat(orchestrator)
    outline = answer_pb2.Answer(name="answers/a", chat=chat, state=ANSWER_STATE_RUNNING)
    turn = await begun(store, chat_id(chat), "q1", answer=outline.name, outline=outline.SerializeToString())
    await store.aclose()  # and dies
    async with services.orchestrator(open_chats=database.open) as orchestrator:
        (kept,) = await turns_of(orchestrator, chat)
        assert kept.prompt == "q1"
        assert kept.answer.name == turn.answer
        assert kept.answer.state == ANSWER_STATE_FAILED
        with pytest.raises(RecordedFailure, match="has gone"):
            await collected(orchestrator.resume_answer(ResumeAnswerRequest(name=turn.answer), ME))
        await ask(orchestrator, chat, "q2")
        assert history_of(services.assistants.requests[-1]) == []


async def test_a_database_that_is_not_there_is_said_to_everyone_and_tried_again_later(
    services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def fail() -> ChatStore:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ChatsUnavailable("nobody listens there")
        return await database.open()

    async with services.orchestrator(open_chats=fail) as orchestrator:
        failures: list[Reason] = []

        async def create() -> None:
            with pytest.raises(ServiceError) as failed:
                await new_chat(orchestrator)
            failures.append(failed.value.reason)

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(create)
        assert failures == [Reason.PROVIDER_UNAVAILABLE] * 10
        assert tries == 1
        assert (await ask(orchestrator, "")).text == "re: why?", "answers outside chats go on"
        monkeypatch.setattr(conversations, "_RETRY_SECONDS", 0)
        await ask(orchestrator, await new_chat(orchestrator))
