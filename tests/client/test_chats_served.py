"""Chats through both clients against a real server, so that it and the scripted one of the other tests agree."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from headwater import AnswerState, AsyncClient, ChatBusy, Client, FinishReason, NotFound, field
from headwater.v1 import source_pb2
from tests.cli.upstream import endless_model
from tests.serving import headwater, serving

EXTRACTIVE = "builtin/extractive"
QUESTION = "How often does the tide come in?"


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose default assistant never ends; its corpus has one note."""
    folder: Path = tmp_path_factory.mktemp("chats")
    with endless_model() as model:
        settings = {"OPENAI_BASE_URL": model.base_url, "HEADWATER_DRAIN": "1", "HEADWATER_DRAIN_NOTICE": "0.1"}
        with serving(folder / "data", "--assistant", "openai/any", extra=settings) as server:
            (folder / "note.md").write_text("The tide comes in twice a day.")
            assert headwater("import", folder / "note.md", target=server.target).returncode == 0
            yield server.target


@pytest.fixture
def client(endless: str) -> Iterator[Client]:
    with Client(endless) as client:
        yield client


@pytest.fixture
async def async_client(endless: str, one_loop: None) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(endless) as client:
        yield client


def test_a_chat_lives_as_the_client_says(client: Client) -> None:
    made = client.chats.create(
        display_name="Tides",
        assistant=EXTRACTIVE,
        corpus="default",
        filter=field("year") >= 2020,
        top_k=3,
        labels={"team": "coast"},
    )
    assert client.chats.get(made) == made
    assert made.retrieval.top_k == 3
    assert made.create_time.seconds
    changed = client.chats.update(made, display_name="Ebb")
    assert (changed.display_name, changed.assistant, changed.retrieval) == ("Ebb", EXTRACTIVE, made.retrieval)
    changed = client.chats.update(made, assistant="", corpora=[], labels={})
    assert (changed.display_name, changed.assistant) == ("Ebb", "")
    assert not changed.labels
    assert changed.retrieval == source_pb2.RetrievalOptions()
    client.chats.delete(made)
    with pytest.raises(NotFound) as missing:
        client.chats.get(made)
    assert missing.value.resource == made.name


def test_creating_twice_with_one_request_id_makes_one_chat(client: Client) -> None:
    request_id = "5b3b8f0e-5d0c-4f5c-9f0a-3d3a4c1a7c11"
    first = client.chats.create(display_name="Tides", request_id=request_id)
    assert client.chats.create(display_name="Tides", request_id=request_id) == first


def test_chats_and_turns_are_listed_over_several_pages(client: Client) -> None:
    chats = [client.chats.create(display_name=str(number), assistant=EXTRACTIVE) for number in range(3)]
    listed = [chat.name for chat in client.chats.list(page_size=2)]
    assert [name for name in listed if name in {chat.name for chat in chats}] == [chat.name for chat in chats[::-1]]
    for number in range(3):
        client.answer(f"{QUESTION} {number}", chat=chats[0]).content()
    turns = list(client.chats.list_turns(chats[0], page_size=2))
    assert [turn.prompt for turn in turns] == [f"{QUESTION} {number}" for number in range(3)]
    assert next(client.chats.list(page_size=1)).name == chats[0].name  # the last changed first
    assert not turns[0].answer.sources[0].content
    whole = client.chats.get_turn(turns[0].name)
    assert whole.answer.sources[0].content == "The tide comes in twice a day."
    assert client.chats.get_turn(turns[0].name.rpartition("/")[2], chat=chats[0]) == whole


def test_a_busy_chat_names_its_answer_until_that_is_cancelled(client: Client) -> None:
    chat = client.chats.create()
    with client.answer(QUESTION, chat=chat) as first:
        next(iter(first))
        assert client.chats.get(chat).running_answer == first.name
        with pytest.raises(ChatBusy) as busy:
            client.answer("And now?", chat=chat).content()
        assert (busy.value.answer, busy.value.chat) == (first.name, chat.name)
        assert [answer.name for answer in client.list_answers(state="running")] == [first.name]
        client.cancel_answer(busy.value.answer)
        first.content()
        assert first.finish_reason is FinishReason.CANCELLED
    assert client.answer(QUESTION, chat=chat, assistant=EXTRACTIVE).content()
    stopped, done = client.chats.list_turns(chat)
    assert AnswerState(stopped.answer.state) is AnswerState.CANCELLED
    assert stopped.answer.text == first.content()
    assert AnswerState(done.answer.state) is AnswerState.SUCCEEDED
    assert client.chats.get(chat).turn_count == 2


def test_deleting_a_chat_stops_its_answer_and_deletes_it(client: Client) -> None:
    chat = client.chats.create()
    with client.answer(QUESTION, chat=chat) as answer:
        next(iter(answer))
        client.chats.delete(chat)
        answer.content()
        assert answer.finish_reason is FinishReason.CANCELLED
    with pytest.raises(NotFound):
        client.get_answer(answer.name)
    with pytest.raises(NotFound):
        next(client.chats.list_turns(chat))


def test_a_deleted_answer_is_gone(client: Client) -> None:
    answer = client.answer(QUESTION, assistant=EXTRACTIVE)
    answer.content()
    assert not answer.unlogged
    assert answer.timings.continuations == 0
    assert client.resume(answer.name).content() == answer.content()
    client.delete_answer(answer.name)
    with pytest.raises(NotFound) as missing:
        client.get_answer(answer.name)
    assert missing.value.resource == answer.name


def test_an_answer_in_a_chat_that_does_not_exist_is_refused(client: Client) -> None:
    with pytest.raises(NotFound) as missing:
        client.answer(QUESTION, chat="absent").content()
    assert missing.value.resource == "chats/absent"


@pytest.mark.anyio
async def test_the_async_client_does_the_same(async_client: AsyncClient) -> None:
    chats, client = async_client.chats, async_client
    chat = await chats.create(display_name="Tides")
    assert (await chats.update(chat, display_name="Ebb")).display_name == "Ebb"
    async with client.answer(QUESTION, chat=chat) as first:
        await anext(aiter(first))
        with pytest.raises(ChatBusy) as busy:
            await client.answer("And now?", chat=chat)
        assert busy.value.answer == first.name
        await client.cancel_answer(busy.value.answer)
        await first
    answer = await client.answer(QUESTION, chat=chat, assistant=EXTRACTIVE)
    turns = [turn async for turn in chats.list_turns(chat, page_size=1)]
    assert [turn.answer.text for turn in turns] == [str(first), str(answer)]
    assert (await chats.get_turn(turns[1].name)).answer.sources[0].content
    assert chat.name in [each.name async for each in chats.list()]
    assert answer.name in [each.name async for each in client.list_answers(state="succeeded")]
    await client.delete_answer(answer.name)
    await chats.delete(chat)
    with pytest.raises(NotFound):
        await chats.get(chat)
