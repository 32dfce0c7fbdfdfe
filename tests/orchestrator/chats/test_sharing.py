"""Several servers on one database: one running answer a chat, and no chat left busy by a dead one."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing

import anyio
import anyio.lowlevel
import pytest
import sqlalchemy as sa

from headwater.v1.answer_pb2 import ANSWER_STATE_FAILED, ANSWER_STATE_RUNNING, ANSWER_STATE_SUCCEEDED, Answer
from headwater.v1.answer_service_pb2 import (
    DISCONNECT_POLICY_CONTINUE,
    CancelAnswerRequest,
    DeleteAnswerRequest,
    DeleteChatRequest,
    GetAnswerRequest,
    ResumeAnswerRequest,
    StreamAnswerRequest,
)
from headwater_server.errors import Reason, ResourceNotFound, ServiceError
from headwater_server.orchestrator.chats import conversations
from headwater_server.orchestrator.chats.answers import chat_id
from headwater_server.orchestrator.chats.protocol import ChatBusy, ChatStore
from headwater_server.orchestrator.service import Orchestrator
from tests.orchestrator.asking import ME, REQUEST_ID, WAIT_SECONDS
from tests.orchestrator.backends import Services, saying_then_hanging
from tests.orchestrator.chats.databases import PostgresDatabase
from tests.orchestrator.chats.making import ACME, NOW, begun, ending, lost, made
from tests.orchestrator.chats.talking import ask, chat_of, echoing, history_of, new_chat, turns_of
from tests.orchestrator.events import text

pytestmark = pytest.mark.anyio


def lapse(database: PostgresDatabase, owner: str) -> None:
    """Makes an owner one that has not said for long that it lives."""
    engine = database.engine()
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE chats SET lease = 0 WHERE owner = :owner"), {"owner": owner})
    engine.dispose()


async def test_a_living_owner_s_turn_is_its_own_and_a_dead_one_s_is_settled(
    postgres_database: PostgresDatabase,
) -> None:
    dead, alive = await postgres_database.open("dead"), await postgres_database.open("alive")
    chats = [await made(dead), await made(dead), await made(dead)]
    doomed = [await begun(dead, chat) for chat in chats[:2]]
    kept = await begun(alive, chats[2])
    for store in (dead, alive):
        assert await store.settle_lapsed(lost, now=NOW) == []
    lapse(postgres_database, "dead")
    await dead.renew()
    with pytest.raises(ChatBusy):
        await begun(alive, chats[0])
    assert [turn.answer for turn in await dead.running()] == [turn.answer for turn in doomed]
    assert [turn.answer for turn in await alive.running()] == [kept.answer]
    lapse(postgres_database, "dead")
    second = await begun(alive, chats[0])
    assert second.number == 2
    first = await alive.find_answer(doomed[0].answer)
    assert first is not None
    assert (first.state, first.outline) == (ANSWER_STATE_FAILED, b"lost " + doomed[0].answer.encode())
    assert await alive.settle_lapsed(lost, now=NOW) == [doomed[1].answer]
    assert (await alive.get(ACME, chats[1])).running == ""
    for turn in doomed:  # the owner was only frozen, and wakes up
        assert not await dead.settle(turn.answer, ending(), now=NOW)
    assert (await alive.get(ACME, chats[0])).running == second.answer
    await dead.aclose()
    await alive.aclose()


async def test_an_owner_whose_lease_has_lapsed_keeps_what_nobody_has_taken(postgres_database: PostgresDatabase) -> None:
    store = await postgres_database.open("me")
    chat = await made(store)
    turn = await begun(store, chat)
    lapse(postgres_database, "me")
    assert await store.settle_lapsed(lost, now=NOW) == []
    with pytest.raises(ChatBusy):
        await begun(store, chat)
    assert await store.settle(turn.answer, ending(), now=NOW)
    await store.aclose()


async def test_of_many_callers_of_two_servers_one_is_answered_in_a_chat(postgres_database: PostgresDatabase) -> None:
    stores = [await postgres_database.open(name) for name in ("one", "two")]
    chat = await made(stores[0])
    begun_turns: list[str] = []
    refused: list[str] = []

    async def call(store: ChatStore) -> None:
        try:
            begun_turns.append((await begun(store, chat)).answer)
        except ChatBusy as busy:
            refused.append(busy.answer)

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(call, stores[number % 2])
    assert len(begun_turns) == 1
    assert refused == begun_turns * 49
    for store in stores:
        await store.aclose()


async def test_what_another_server_answers_can_be_seen_and_goes_on_here(postgres_database: PostgresDatabase) -> None:
    async with AsyncExitStack() as stack:
        there, here = Services(saying_then_hanging(text("a"))), Services(echoing)
        one: Orchestrator = await stack.enter_async_context(
            there.orchestrator(open_chats=lambda: postgres_database.open("one"))
        )
        two: Orchestrator = await stack.enter_async_context(
            here.orchestrator(open_chats=lambda: postgres_database.open("two"))
        )
        chat = await new_chat(one)
        request = StreamAnswerRequest(chat=chat, prompt="q1", on_disconnect=DISCONNECT_POLICY_CONTINUE)
        async with aclosing(one.stream_answer(request, ME)) as stream:
            name = (await anext(stream)).started.answer
            with pytest.raises(ServiceError) as busy:
                await ask(two, chat, "q2")
            assert busy.value.reason is Reason.CHAT_BUSY
            assert (await chat_of(two, chat)).running_answer == name
            assert (await two.get_answer(GetAnswerRequest(name=name), ME)).state == ANSWER_STATE_RUNNING
            for call in (
                anext(two.resume_answer(ResumeAnswerRequest(name=name), ME)),
                two.cancel_answer(CancelAnswerRequest(name=name), ME),
                two.delete_answer(DeleteAnswerRequest(name=name), ME),
            ):
                with pytest.raises(ServiceError, match="another server makes the answer"):
                    await call
        await one.cancel_answer(CancelAnswerRequest(name=name), ME)
        second = await ask(two, chat, "q2", request_id=REQUEST_ID)
        assert history_of(here.assistants.requests[-1]) == ["q1", "a"]
        assert await one.get_answer(GetAnswerRequest(name=second.name), ME) == second
        assert await ask(one, chat, "q2", request_id=REQUEST_ID) == second
        assert [turn.answer.state for turn in await turns_of(one, chat)][1] == ANSWER_STATE_SUCCEEDED


async def test_a_chat_of_a_dead_server_becomes_free_without_anybody_asking_in_it(
    postgres_database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "_ROUND_SECONDS", 0.02)
    dead = await postgres_database.open("dead")
    async with Services().orchestrator(open_chats=lambda: postgres_database.open("alive")) as orchestrator:
        chat = await new_chat(orchestrator)
        outline = Answer(name="answers/a", chat=chat, state=ANSWER_STATE_RUNNING)
        await begun(dead, chat_id(chat), answer=outline.name, outline=outline.SerializeToString())
        assert (await chat_of(orchestrator, chat)).running_answer == "answers/a"
        lapse(postgres_database, "dead")
        with anyio.fail_after(WAIT_SECONDS):
            while (await chat_of(orchestrator, chat)).running_answer:
                await anyio.lowlevel.checkpoint()
        (turn,) = await turns_of(orchestrator, chat)
        assert turn.answer.state == ANSWER_STATE_FAILED
    await dead.aclose()


async def keep_getting(orchestrator: Orchestrator, name: str) -> None:
    with anyio.fail_after(WAIT_SECONDS):
        while True:
            await orchestrator.get_answer(GetAnswerRequest(name=name), ME)
            await anyio.lowlevel.checkpoint()


async def test_an_answer_whose_chat_another_server_has_deleted_is_deleted_when_it_ends(
    postgres_database: PostgresDatabase,
) -> None:
    there, here = Services(saying_then_hanging(text("a"))), Services(echoing)
    async with (
        there.orchestrator(open_chats=lambda: postgres_database.open("one")) as one,
        here.orchestrator(open_chats=lambda: postgres_database.open("two")) as two,
    ):
        chat = await new_chat(two)
        stream = one.stream_answer(StreamAnswerRequest(chat=chat, prompt="q"), ME)
        name = (await anext(stream)).started.answer
        await two.delete_chat(DeleteChatRequest(name=chat), ME)
        await stream.aclose()
        with pytest.raises(ResourceNotFound):
            await keep_getting(one, name)
