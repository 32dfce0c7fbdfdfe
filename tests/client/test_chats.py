"""Chats and what is kept of answers, through the blocking client."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator

import pytest

from headwater import (
    AnswerNotFinished,
    AnswerState,
    ArgumentError,
    ChatBusy,
    Client,
    FinishReason,
    NotFound,
    ProviderUnavailable,
    field,
)
from headwater.v1 import source_pb2
from tests.client.chat_server import MemoryChats, chat_server


@pytest.fixture
def chats() -> MemoryChats:
    return MemoryChats()


@pytest.fixture
def client(chats: MemoryChats) -> Iterator[Client]:
    with chat_server(chats) as target, Client(target) as client:
        yield client


def test_a_chat_is_created_with_what_its_turns_are_to_do(client: Client, chats: MemoryChats) -> None:
    chat = client.chats.create(
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


def test_a_chat_with_the_server_s_defaults_says_nothing_of_retrieval(client: Client) -> None:
    assert not client.chats.create().HasField("retrieval")


def test_creating_always_has_a_request_id_and_takes_the_caller_s(client: Client, chats: MemoryChats) -> None:
    own = uuid.uuid4()
    client.chats.create()
    client.chats.create(request_id=own)
    assert uuid.UUID(chats.created[0].request_id).version == 4
    assert chats.created[1].request_id == str(own)


def test_a_chat_is_got_by_its_name_its_id_or_itself(client: Client) -> None:
    chat = client.chats.create(display_name="Tides")
    assert client.chats.get("chats/c1") == client.chats.get("c1") == client.chats.get(chat)


def test_a_chat_that_does_not_exist_is_not_found_and_named(client: Client) -> None:
    with pytest.raises(NotFound) as missing:
        client.chats.get("absent")
    assert missing.value.resource == "chats/absent"


def test_lists_of_chats_are_fetched_a_page_at_a_time(client: Client) -> None:
    for number in range(5):
        client.chats.create(display_name=str(number))
    assert [chat.display_name for chat in client.chats.list()] == ["4", "3", "2", "1", "0"]


def test_an_update_changes_what_is_given_and_nothing_else(client: Client, chats: MemoryChats) -> None:
    chat = client.chats.create(display_name="Tides", assistant="openai/any", corpus="sea", top_k=3)
    changed = client.chats.update(chat, display_name="Ebb")
    assert (changed.display_name, changed.assistant, changed.retrieval.top_k) == ("Ebb", "openai/any", 3)
    assert list(chats.updated[0].update_mask.paths) == ["display_name"]
    changed = client.chats.update(chat, assistant="", corpus="moon")
    assert (changed.display_name, changed.assistant) == ("Ebb", "")
    assert changed.retrieval == source_pb2.RetrievalOptions(corpora=["corpora/moon"])


def test_an_empty_list_of_corpora_takes_retrieval_back_to_the_defaults(client: Client) -> None:
    chat = client.chats.create(corpus="sea", top_k=3)
    assert client.chats.update(chat, corpora=[]).retrieval == source_pb2.RetrievalOptions()


def test_an_update_of_nothing_is_refused(client: Client) -> None:
    with pytest.raises(ArgumentError, match="nothing to change"):
        client.chats.update("c1")


def test_a_deleted_chat_is_gone(client: Client) -> None:
    chat = client.chats.create()
    client.chats.delete(chat)
    with pytest.raises(NotFound):
        client.chats.get(chat)


def test_an_answer_in_a_chat_becomes_its_turn(client: Client, chats: MemoryChats) -> None:
    chat = client.chats.create()
    answer = client.answer("When does the tide come in?", chat=chat)
    assert answer.content() == "The tide comes in twice a day."
    assert answer.message.chat == chat.name
    assert client.chats.get(chat).turn_count == 1
    (turn,) = client.chats.list_turns(chat)
    assert turn.prompt == "When does the tide come in?"
    assert turn.answer.text == answer.content()
    assert turn.answer.sources[0].content == ""
    assert client.chats.get_turn(turn.name).answer.sources[0].content == "Twice a day."
    assert client.chats.get_turn("t1", chat=chat) == client.chats.get_turn(turn.name)


def test_turns_are_fetched_a_page_at_a_time_oldest_first(client: Client) -> None:
    chat = client.chats.create()
    for number in range(5):
        client.answer(f"{number}?", chat=chat.name).content()
    assert [turn.prompt for turn in client.chats.list_turns("c1")] == ["0?", "1?", "2?", "3?", "4?"]


@pytest.mark.parametrize(
    ("turn", "chat", "words"),
    [
        ("t1", None, "by its id and chat="),
        ("", "c1", "by its id and chat="),
        ("chats/c1/turns/t1", "c2", "is not in chats/c2"),
    ],
)
def test_a_turn_that_is_not_named_wholly_is_refused(turn: str, chat: str | None, words: str, client: Client) -> None:
    with pytest.raises(ArgumentError, match=words):
        client.chats.get_turn(turn, chat=chat)


def test_a_second_answer_in_a_chat_says_which_one_runs(client: Client) -> None:
    chat = client.chats.create()
    with client.answer("hold on", chat=chat) as first:
        assert next(iter(first)) == "The tide comes in "
        with pytest.raises(ChatBusy) as busy:
            client.answer("And now?", chat=chat).content()
        assert busy.value.answer == first.name
        assert busy.value.chat == chat.name
        assert busy.value.code == "ABORTED"
        client.cancel_answer(busy.value.answer)
        assert first.content() == "The tide comes in "
        assert first.finish_reason is FinishReason.CANCELLED
    assert client.answer("And now?", chat=chat).content()


def test_a_failed_turn_is_kept_with_its_error(client: Client) -> None:
    chat = client.chats.create()
    with pytest.raises(ProviderUnavailable) as failed:
        client.answer("fail at once", chat=chat).content()
    assert failed.value.partial == "The tide comes in "
    (turn,) = client.chats.list_turns(chat)
    assert AnswerState(turn.answer.state) is AnswerState.FAILED
    assert turn.answer.error.message == "the model is away"


def test_answers_are_listed_newest_first_and_by_their_state(client: Client) -> None:
    for prompt in ("one", "two", "three"):
        client.answer(prompt).content()
    with client.answer("hold on") as running:
        next(iter(running))
        assert [answer.prompt for answer in client.list_answers()] == ["hold on", "three", "two", "one"]
        assert [answer.prompt for answer in client.list_answers(state="running")] == ["hold on"]
    with pytest.raises(ArgumentError, match="state is one of running, succeeded, failed, cancelled"):
        next(client.list_answers(state="paused"))  # type: ignore[arg-type]  # on purpose


def test_a_deleted_answer_can_be_neither_got_nor_resumed(client: Client) -> None:
    answer = client.answer("When?")
    answer.content()
    assert client.resume(answer.name).content() == answer.content()
    client.delete_answer(answer.name)
    with pytest.raises(NotFound):
        client.get_answer(answer.name)
    with pytest.raises(NotFound):
        client.resume(answer.name).content()


def test_an_answer_that_is_not_logged_says_so_from_its_first_chunk_on(client: Client) -> None:
    with client.answer("full house") as answer:
        with pytest.raises(AnswerNotFinished):
            _ = answer.unlogged
        next(iter(answer))
        assert answer.unlogged
        answer.content()
        assert answer.unlogged
    assert answer.message.unlogged
    with client.answer("When?") as answer:
        answer.content()
        assert not answer.unlogged


def test_a_broken_connection_is_resumed_unseen_and_said_to_the_log_once(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "headwater.client"), client.answer("break it") as answer:
        assert list(answer) == ["The tide comes in ", "twice a day."]
    assert answer.timings.continuations == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"the connection to {client.target} broke in mid-call: the connection broke; going on with {answer.name}"
    ]
