"""Chats and what is kept of answers, through the asyncio client."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator

import pytest

from headwater import (
    AnswerNotFinished,
    AnswerState,
    ArgumentError,
    AsyncClient,
    ChatBusy,
    FinishReason,
    NotFound,
    ProviderUnavailable,
    field,
)
from headwater.v1 import source_pb2
from tests.client.chat_server import MemoryChats, chat_server

pytestmark = pytest.mark.anyio


@pytest.fixture
def chats() -> MemoryChats:
    return MemoryChats()


@pytest.fixture
async def client(chats: MemoryChats, one_loop: None) -> AsyncIterator[AsyncClient]:
    with chat_server(chats) as target:
        async with AsyncClient(target) as client:
            yield client


async def test_a_chat_is_created_with_what_its_turns_are_to_do(client: AsyncClient, chats: MemoryChats) -> None:
    chat = await client.chats.create(
        display_name="Tides",
        assistant="openai/any",
        corpora=["sea", "corpora/moon"],
        filter=field("year") >= 2020,
        mode="lexical",
        top_k=3,
        token_budget=900,
        labels={"team": "coast"},
    )
    assert chat.name == "chats/c1"
    assert chat.display_name == "Tides"
    assert chat.assistant == "openai/any"
    assert list(chat.retrieval.corpora) == ["corpora/sea", "corpora/moon"]
    assert chat.retrieval.mode == source_pb2.RETRIEVAL_MODE_LEXICAL
    assert (chat.retrieval.top_k, chat.retrieval.token_budget) == (3, 900)
    assert chat.retrieval.HasField("filter")
    assert chat.labels == {"team": "coast"}


async def test_a_chat_with_the_server_s_defaults_says_nothing_of_retrieval(client: AsyncClient) -> None:
    assert not (await client.chats.create()).HasField("retrieval")


async def test_creating_always_has_a_request_id_and_takes_the_caller_s(client: AsyncClient, chats: MemoryChats) -> None:
    own = uuid.uuid4()
    await client.chats.create()
    await client.chats.create(request_id=own)
    assert uuid.UUID(chats.created[0].request_id).version == 4
    assert chats.created[1].request_id == str(own)


async def test_a_chat_is_got_by_its_name_its_id_or_itself(client: AsyncClient) -> None:
    chat = await client.chats.create(display_name="Tides")
    assert await client.chats.get("chats/c1") == await client.chats.get("c1") == await client.chats.get(chat)
    with pytest.raises(NotFound) as missing:
        await client.chats.get("absent")
    assert missing.value.resource == "chats/absent"


async def test_lists_of_chats_and_turns_are_fetched_a_page_at_a_time(client: AsyncClient) -> None:
    for number in range(5):
        await client.chats.create(display_name=str(number))
        await client.answer(f"{number}?", chat="c1").content()
    assert [chat.display_name async for chat in client.chats.list()] == ["4", "3", "2", "1", "0"]
    assert [turn.prompt async for turn in client.chats.list_turns("c1")] == ["0?", "1?", "2?", "3?", "4?"]


async def test_an_update_changes_what_is_given_and_nothing_else(client: AsyncClient, chats: MemoryChats) -> None:
    chat = await client.chats.create(display_name="Tides", assistant="openai/any", corpus="sea", top_k=3)
    changed = await client.chats.update(chat, display_name="Ebb")
    assert (changed.display_name, changed.assistant, changed.retrieval.top_k) == ("Ebb", "openai/any", 3)
    assert list(chats.updated[0].update_mask.paths) == ["display_name"]
    assert (await client.chats.update(chat, corpora=[])).retrieval == source_pb2.RetrievalOptions()
    with pytest.raises(ArgumentError, match="nothing to change"):
        await client.chats.update("c1")


async def test_a_deleted_chat_is_gone(client: AsyncClient) -> None:
    chat = await client.chats.create()
    await client.chats.delete(chat)
    with pytest.raises(NotFound):
        await client.chats.get(chat)


async def test_an_answer_in_a_chat_becomes_its_turn(client: AsyncClient) -> None:
    chat = await client.chats.create()
    answer = await client.answer("When does the tide come in?", chat=chat)
    assert answer.message.chat == chat.name
    (turn,) = [turn async for turn in client.chats.list_turns(chat)]
    assert turn.prompt == "When does the tide come in?"
    assert turn.answer.text == str(answer)
    found = await client.chats.get_turn("t1", chat=chat)
    assert found.answer.sources[0].content == "Twice a day."
    assert found == await client.chats.get_turn(turn.name)
    with pytest.raises(ArgumentError, match="is not in chats/c2"):
        await client.chats.get_turn(turn.name, chat="c2")


async def test_a_second_answer_in_a_chat_says_which_one_runs(client: AsyncClient) -> None:
    chat = await client.chats.create()
    async with client.answer("hold on", chat=chat) as first:
        assert await anext(aiter(first)) == "The tide comes in "
        with pytest.raises(ChatBusy) as busy:
            await client.answer("And now?", chat=chat)
        assert busy.value.answer == first.name
        assert busy.value.chat == chat.name
        await client.cancel_answer(busy.value.answer)
        await first
        assert first.finish_reason is FinishReason.CANCELLED
    assert str(await client.answer("And now?", chat=chat))


async def test_a_failed_turn_is_kept_with_its_error(client: AsyncClient) -> None:
    chat = await client.chats.create()
    with pytest.raises(ProviderUnavailable):
        await client.answer("fail at once", chat=chat)
    (turn,) = [turn async for turn in client.chats.list_turns(chat)]
    assert AnswerState(turn.answer.state) is AnswerState.FAILED


async def test_answers_are_listed_newest_first_and_by_their_state(client: AsyncClient) -> None:
    for prompt in ("one", "two", "three"):
        await client.answer(prompt)
    async with client.answer("hold on") as running:
        await anext(aiter(running))
        assert [answer.prompt async for answer in client.list_answers()] == ["hold on", "three", "two", "one"]
        assert [answer.prompt async for answer in client.list_answers(state="running")] == ["hold on"]
    with pytest.raises(ArgumentError, match="state is one of"):
        await anext(client.list_answers(state="paused"))  # type: ignore[arg-type]  # on purpose


async def test_a_deleted_answer_can_be_neither_got_nor_resumed(client: AsyncClient) -> None:
    answer = await client.answer("When?")
    assert str(await client.resume(answer.name)) == str(answer)
    await client.delete_answer(answer.name)
    with pytest.raises(NotFound):
        await client.get_answer(answer.name)
    with pytest.raises(NotFound):
        await client.resume(answer.name)


async def test_an_answer_that_is_not_logged_says_so_from_its_first_chunk_on(client: AsyncClient) -> None:
    async with client.answer("full house") as answer:
        with pytest.raises(AnswerNotFinished):
            _ = answer.unlogged
        await anext(aiter(answer))
        assert answer.unlogged
        assert (await answer).unlogged
    assert not (await client.answer("When?")).unlogged


async def test_a_broken_connection_is_resumed_unseen_and_said_to_the_log_once(
    client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "headwater.client"):
        async with client.answer("break it") as answer:
            assert [piece async for piece in answer] == ["The tide comes in ", "twice a day."]
    assert answer.timings.continuations == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"the connection to {client.target} broke in mid-call: the connection broke; going on with {answer.name}"
    ]
