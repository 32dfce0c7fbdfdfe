"""What a database that fails at the wrong moment must not do to the answers of a chat."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import (
    DISCONNECT_POLICY_CONTINUE,
    CancelAnswerRequest,
    DeleteAnswerRequest,
    GetAnswerRequest,
    ListAnswersRequest,
    ResumeAnswerRequest,
    StreamAnswerRequest,
)
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater_server.errors import Reason, ResourceNotFound, ServiceError
from headwater_server.orchestrator import recovery
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.chats import conversations
from headwater_server.orchestrator.chats.answers import chat_id
from headwater_server.orchestrator.chats.protocol import ChatsFull, ChatStore, ChatsUnavailable
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.service import Orchestrator, open_orchestrator
from headwater_server.runtime.status import described
from tests.orchestrator.asking import ME, REQUEST_ID, WAIT_SECONDS
from tests.orchestrator.backends import Services, saying_then_hanging
from tests.orchestrator.chats.databases import SqliteDatabase
from tests.orchestrator.chats.talking import ask, chat_of, echoing, new_chat, turns_of
from tests.orchestrator.events import text

pytestmark = pytest.mark.anyio


@pytest.fixture
def database(tmp_path: Path) -> SqliteDatabase:
    return SqliteDatabase(tmp_path)


async def broken(*_: object, **__: object) -> None:
    raise ChatsUnavailable("the database has gone")


async def ended(stream: AsyncGenerator[AnswerChunk]) -> list[AnswerChunk]:
    return [chunk async for chunk in stream]


async def left_running(database: SqliteDatabase, answer_log: MemoryAnswerLog) -> tuple[str, str]:
    """A chat, and the answer that runs there and whose server stops."""
    services = Services(saying_then_hanging())
    async with services.orchestrator(answer_log=answer_log, open_chats=database.open) as orchestrator:
        chat = await new_chat(orchestrator)
        request = StreamAnswerRequest(chat=chat, prompt="q1", on_disconnect=DISCONNECT_POLICY_CONTINUE)
        stream = orchestrator.stream_answer(request, ME)
        name = (await anext(stream)).started.answer
        await wait_all_tasks_blocked()
        orchestrator.drain()
        with pytest.raises(ServiceError):
            await ended(stream)
    return chat, name


async def resumed(orchestrator: Orchestrator, name: str) -> str:
    """The text of an answer, once the server can go on with it."""
    with anyio.fail_after(WAIT_SECONDS):
        while True:
            try:
                stream = orchestrator.resume_answer(ResumeAnswerRequest(name=name, after_sequence=0), ME)
                return "".join([chunk.text.text async for chunk in stream])
            except ServiceError as error:
                if error.reason is not Reason.SERVER_DRAINING:  # by which who asks meanwhile is told to come back
                    raise
                await anyio.sleep(0.005)


async def test_a_turn_whose_answer_could_not_begin_is_taken_back_and_its_request_id_with_it(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await database.open()

    async def open_it() -> ChatStore:
        return store

    async with Services(echoing).orchestrator(open_chats=open_it) as orchestrator:
        chat = await new_chat(orchestrator)
        with monkeypatch.context() as patched:
            patched.setattr(store, "said", broken)
            with pytest.raises(ServiceError) as failed:
                await ask(orchestrator, chat, "q1", request_id=REQUEST_ID)
            assert failed.value.reason is Reason.PROVIDER_UNAVAILABLE
        assert await turns_of(orchestrator, chat) == []
        assert (await chat_of(orchestrator, chat)).running_answer == ""
        assert (await ask(orchestrator, chat, "q1", request_id=REQUEST_ID)).text == "re: q1"


async def test_a_turn_is_taken_back_where_the_database_did_not_say_that_it_had_stored_it(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await database.open()
    begin_turn = store.begin_turn

    async def open_it() -> ChatStore:
        return store

    async def begun_unsaid(*arguments: object, **keywords: object) -> None:
        await begin_turn(*arguments, **keywords)  # type: ignore[arg-type]  # handed through as they came
        raise ChatsUnavailable("the connection broke off in COMMIT")

    async with Services(echoing).orchestrator(open_chats=open_it) as orchestrator:
        chat = await new_chat(orchestrator)
        with monkeypatch.context() as patched:
            patched.setattr(store, "begin_turn", begun_unsaid)
            with pytest.raises(ServiceError):
                await ask(orchestrator, chat, "q1", request_id=REQUEST_ID)
        assert (await ask(orchestrator, chat, "q1", request_id=REQUEST_ID)).text == "re: q1"


async def test_an_answer_goes_on_although_its_chats_database_comes_up_later_than_the_server(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_FULL_PAUSE", 0.001)
    monkeypatch.setattr(conversations, "_RETRY_SECONDS", 0)
    tries = 0

    async def open_late() -> ChatStore:
        nonlocal tries
        tries += 1
        if tries <= recovery.MAX_OWNERS + 5:
            raise ChatsUnavailable("nobody listens there")
        return await database.open()

    answer_log = MemoryAnswerLog()
    chat, name = await left_running(database, answer_log)
    async with Services(echoing).orchestrator(answer_log=answer_log, open_chats=open_late) as orchestrator:
        assert await resumed(orchestrator, name) == "re: q1"
        assert (await chat_of(orchestrator, chat)).running_answer == ""
    record = await answer_log.find(name)
    assert record is not None
    assert record.epoch == 2, "a try that could not begin makes nobody an owner"


async def test_a_chat_whose_answer_cannot_be_gone_on_with_by_a_defect_is_not_busy_with_it_for_ever(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_log = MemoryAnswerLog()
    chat, name = await left_running(database, answer_log)
    store = await database.open()

    async def open_it() -> ChatStore:
        return store

    async def defective(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(store, "said", defective)
        async with Services(echoing).orchestrator(answer_log=answer_log, open_chats=open_it) as orchestrator:
            with pytest.raises(ServiceError):
                await ended(orchestrator.resume_answer(ResumeAnswerRequest(name=name), ME))
            patched.undo()
            await answer_log.delete(name)
            assert (await ask(orchestrator, chat, "q2")).text == "re: q2"


async def test_a_chat_is_free_again_when_its_running_answer_was_taken_from_its_owner(database: SqliteDatabase) -> None:
    answer_log = MemoryAnswerLog()
    taken = anyio.Event()

    async def script(_: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        yield text("a")
        await taken.wait()
        yield text("b")
        await anyio.sleep_forever()

    services = Services(script)
    async with services.orchestrator(answer_log=answer_log, open_chats=database.open) as orchestrator:
        chat = await new_chat(orchestrator)
        stream = orchestrator.stream_answer(StreamAnswerRequest(chat=chat, prompt="q1"), ME)
        name = (await anext(stream)).started.answer
        await answer_log.delete(name)
        taken.set()
        with pytest.raises(ServiceError), anyio.fail_after(WAIT_SECONDS):
            await ended(stream)
        services.assistants.script = echoing
        assert (await ask(orchestrator, chat, "q2")).text == "re: q2"


async def test_what_waits_to_be_stored_with_a_turn_that_another_has_settled_is_let_go(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "_ROUND_SECONDS", 0.01)
    store = await database.open()
    answer_log = MemoryAnswerLog()
    settle = store.settle

    async def open_it() -> ChatStore:
        return store

    async with Services(echoing).orchestrator(answer_log=answer_log, open_chats=open_it) as orchestrator:
        chat = await new_chat(orchestrator)
        with monkeypatch.context() as patched:
            patched.setattr(store, "settle", broken)
            answer = await ask(orchestrator, chat, "q1")
            await store.mark_deleted(ME.tenant, chat_id(chat), although_running=answer.name)
            await store.remove(chat_id(chat))  # all of it by way of another server
            patched.setattr(store, "settle", settle)
        with anyio.fail_after(WAIT_SECONDS):
            while await answer_log.find(answer.name) is not None:  # noqa: ASYNC110 (nothing tells of it)
                await anyio.sleep(0.005)
        with pytest.raises(ResourceNotFound):
            await orchestrator.get_answer(GetAnswerRequest(name=answer.name), ME)


async def test_what_another_server_has_deleted_of_a_chat_is_found_and_listed_no_more(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await database.open()
    answer_log = MemoryAnswerLog()

    async def open_it() -> ChatStore:
        return store

    async with Services(echoing).orchestrator(answer_log=answer_log, open_chats=open_it) as orchestrator:
        chat, deleted = await new_chat(orchestrator), await new_chat(orchestrator)
        kept = await ask(orchestrator, chat, "q1")
        forgotten = await ask(orchestrator, chat, "q2")
        gone = await ask(orchestrator, deleted, "q3", request_id=REQUEST_ID)
        outside = await ask(orchestrator, "", "q4")
        await store.forget_answer(forgotten.name)
        await store.mark_deleted(ME.tenant, chat_id(deleted))
        with monkeypatch.context() as patched:
            patched.setattr(store, "kept", broken)
            listed = await orchestrator.list_answers(ListAnswersRequest(), ME)
            assert len(listed.answers) == 4, "the log is believed where the chats cannot be read"
        listed = await orchestrator.list_answers(ListAnswersRequest(page_size=1), ME)
        assert [answer.name for answer in listed.answers] == [outside.name]
        rest = await orchestrator.list_answers(ListAnswersRequest(page_size=1, page_token=listed.next_page_token), ME)
        assert [answer.name for answer in rest.answers] == [kept.name]
        assert not rest.next_page_token
        for name in (forgotten.name, gone.name):
            assert await answer_log.find(name) is None
            with pytest.raises(ResourceNotFound):
                await orchestrator.get_answer(GetAnswerRequest(name=name), ME)
        with pytest.raises(ResourceNotFound):
            await orchestrator.cancel_answer(CancelAnswerRequest(request_id=REQUEST_ID), ME)


async def test_an_answer_that_another_server_has_deleted_cannot_be_had_before_it_was_listed(
    database: SqliteDatabase,
) -> None:
    store = await database.open()

    async def open_it() -> ChatStore:
        return store

    async with Services(echoing).orchestrator(open_chats=open_it) as orchestrator:
        chat = await new_chat(orchestrator)
        answer = await ask(orchestrator, chat, "q1", request_id=REQUEST_ID)
        await store.forget_answer(answer.name)
        with pytest.raises(ResourceNotFound):
            await orchestrator.cancel_answer(CancelAnswerRequest(request_id=REQUEST_ID), ME)
        with pytest.raises(ResourceNotFound):
            await orchestrator.get_answer(GetAnswerRequest(name=answer.name), ME)


async def test_answers_that_are_large_are_listed_in_pages_like_any_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryAnswerLog.list_answers, "__kwdefaults__", {"state": None, "before": None, "max_bytes": 1})
    async with Services(echoing).orchestrator() as orchestrator:
        names = [(await ask(orchestrator, "", f"q{number}")).name for number in range(5)]
        first = await orchestrator.list_answers(ListAnswersRequest(page_size=3), ME)
        second = await orchestrator.list_answers(ListAnswersRequest(page_size=3, page_token=first.next_page_token), ME)
    assert [answer.name for answer in (*first.answers, *second.answers)] == names[::-1]
    assert (len(first.answers), second.next_page_token) == (3, "")


async def test_the_store_of_chats_is_not_opened_to_look_for_an_answer_that_nobody_has() -> None:
    async def full() -> ChatStore:
        raise ChatsFull("there is no room for chats")

    services = Services(echoing)
    async with open_orchestrator(
        services.backends,
        OrchestratorConfig(),
        answer_log=MemoryAnswerLog(),
        describe=described,
        open_chats=full,
        any_chats=lambda: False,
    ) as orchestrator:
        with pytest.raises(ResourceNotFound):
            await orchestrator.get_answer(GetAnswerRequest(name="answers/none"), ME)
        with pytest.raises(ResourceNotFound):
            await orchestrator.cancel_answer(CancelAnswerRequest(request_id=REQUEST_ID), ME)


async def test_an_answer_that_is_deleted_before_its_turn_is_settled_stays_deleted(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "_SETTLE_SECONDS", 0.01)
    store: list[ChatStore] = []

    async def opened() -> ChatStore:
        store.append(await database.open())
        return store[0]

    async with Services(echoing).orchestrator(open_chats=opened) as orchestrator:
        chat = await new_chat(orchestrator)
        await ask(orchestrator, chat, "q0")
        with monkeypatch.context() as patched:
            patched.setattr(store[0], "settle", broken)
            name = (await ask(orchestrator, chat, "q1")).name
            with pytest.raises(ServiceError) as refused:
                await orchestrator.delete_answer(DeleteAnswerRequest(name=name), ME)
            assert refused.value.reason is Reason.PROVIDER_UNAVAILABLE, "what cannot be done is not said to be done"
        await orchestrator.delete_answer(DeleteAnswerRequest(name=name), ME)
        with pytest.raises(ResourceNotFound):
            await orchestrator.get_answer(GetAnswerRequest(name=name), ME)
        assert [turn.answer.text for turn in await turns_of(orchestrator, chat)][1:] == [""]
