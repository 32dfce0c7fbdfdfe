"""The calls about chats and turns."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from headwater.v1.answer_service_pb2 import (
    CreateChatRequest,
    DeleteChatRequest,
    GetChatRequest,
    GetTurnRequest,
    ListChatsRequest,
    ListTurnsRequest,
    UpdateChatRequest,
)
from headwater.v1.chat_pb2 import Chat
from headwater.v1.source_pb2 import RetrievalOptions
from headwater_server.errors import InvalidRequest, Reason, ResourceNotFound, ServiceError
from headwater_server.orchestrator.service import Orchestrator
from tests.orchestrator.asking import ME, REQUEST_ID, STRANGER
from tests.orchestrator.backends import Services, saying
from tests.orchestrator.chats.databases import Database
from tests.orchestrator.chats.talking import ask, chat_of, echoing, new_chat
from tests.orchestrator.events import ended, text

pytestmark = pytest.mark.anyio

WHOLE = Chat(
    display_name="Leave\x00 of absence",
    assistant="assistants/a/b",
    retrieval=RetrievalOptions(corpora=["hr"], top_k=3),
    labels={"team": "people"},
)


@pytest.fixture
def services() -> Services:
    return Services(echoing)


@pytest.fixture
async def orchestrator(services: Services, database: Database) -> AsyncIterator[Orchestrator]:
    async with services.orchestrator(open_chats=database.open) as opened:
        yield opened


def only(chat: Chat) -> Chat:
    """What callers may set of a chat."""
    bare = Chat()
    bare.CopyFrom(chat)
    for field in ("name", "running_answer", "turn_count", "create_time", "update_time"):
        bare.ClearField(field)
    return bare


async def updated(orchestrator: Orchestrator, chat: Chat, *paths: str) -> Chat:
    request = UpdateChatRequest(chat=chat, update_mask=FieldMask(paths=paths))
    return await orchestrator.update_chat(request, ME)


async def test_a_chat_has_what_it_was_created_with_and_what_the_server_says(orchestrator: Orchestrator) -> None:
    asked = Chat(name="chats/mine", running_answer="answers/x", turn_count=7)
    asked.MergeFrom(WHOLE)
    created = await orchestrator.create_chat(CreateChatRequest(chat=asked), ME)
    assert only(created) == WHOLE
    assert created.name.startswith("chats/")
    assert len(created.name) == len("chats/") + 32
    assert (created.running_answer, created.turn_count) == ("", 0)
    assert created.create_time.seconds > 0
    assert created.update_time == created.create_time
    assert await orchestrator.get_chat(GetChatRequest(name=created.name), ME) == created
    empty = await orchestrator.create_chat(CreateChatRequest(), ME)
    assert only(empty) == Chat()


async def test_creating_is_idempotent_by_request_id(orchestrator: Orchestrator) -> None:
    request = CreateChatRequest(chat=WHOLE, request_id=REQUEST_ID)
    created = await orchestrator.create_chat(request, ME)
    await updated(orchestrator, Chat(name=created.name, display_name="new"), "display_name")
    again = await orchestrator.create_chat(request, ME)
    assert again.name == created.name
    with pytest.raises(ServiceError) as reused:
        await orchestrator.create_chat(CreateChatRequest(request_id=REQUEST_ID), ME)
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    assert reused.value.metadata == {"request_id": REQUEST_ID, "chat": created.name}
    assert (await orchestrator.create_chat(request, STRANGER)).name != created.name


async def test_an_update_changes_what_its_mask_says_and_nothing_else(orchestrator: Orchestrator) -> None:
    created = await orchestrator.create_chat(CreateChatRequest(chat=WHOLE), ME)
    name = created.name
    renamed = await updated(orchestrator, Chat(name=name, display_name="new", assistant="x/y"), "display_name")
    assert (renamed.display_name, renamed.assistant) == ("new", "assistants/a/b")
    assert (renamed.retrieval, renamed.labels) == (WHOLE.retrieval, WHOLE.labels)
    assert renamed.update_time.ToNanoseconds() > created.update_time.ToNanoseconds()
    assert renamed.create_time == created.create_time
    relabelled = await updated(orchestrator, Chat(name=name, labels={"b": "c"}), "labels")
    assert dict(relabelled.labels) == {"b": "c"}
    cleared = await updated(orchestrator, Chat(name=name), "retrieval", "assistant")
    assert only(cleared) == Chat(display_name="new", labels={"b": "c"})
    narrowed = await updated(orchestrator, Chat(name=name, retrieval=RetrievalOptions(top_k=1)))
    assert only(narrowed) == Chat(display_name="new", labels={"b": "c"}, retrieval=RetrievalOptions(top_k=1))
    replaced = await updated(orchestrator, Chat(name=name, assistant="x/y"), "*")
    assert only(replaced) == Chat(assistant="x/y")
    assert await chat_of(orchestrator, name) == replaced


@pytest.mark.parametrize("path", ["name", "turn_count", "retrieval.top_k", "nothing", ""])
async def test_an_update_of_anything_else_is_refused(orchestrator: Orchestrator, path: str) -> None:
    name = await new_chat(orchestrator)
    with pytest.raises(InvalidRequest) as refused:
        await updated(orchestrator, Chat(name=name, display_name="new"), "display_name", path)
    assert refused.value.violations[0].field == "update_mask.paths[1]"
    assert (await chat_of(orchestrator, name)).display_name == ""


async def test_names_that_are_none_are_refused(orchestrator: Orchestrator) -> None:
    with pytest.raises(InvalidRequest, match=r"chat\.name"):
        await updated(orchestrator, Chat(name="answers/a", display_name="new"), "display_name")
    with pytest.raises(InvalidRequest, match=r"chat\.assistant"):
        await orchestrator.create_chat(CreateChatRequest(chat=Chat(assistant="no assistant")), ME)


async def test_an_update_holds_for_the_next_answer(services: Services, orchestrator: Orchestrator) -> None:
    name = await new_chat(orchestrator, assistant="a/b")
    await ask(orchestrator, name)
    await updated(orchestrator, Chat(name=name, assistant="x/y"), "assistant")
    await ask(orchestrator, name)
    assert [request.assistant for request in services.assistants.requests] == ["assistants/a/b", "assistants/x/y"]


async def test_chats_are_listed_last_changed_first_in_pages_and_each_tenant_s_own(orchestrator: Orchestrator) -> None:
    names = [await new_chat(orchestrator, display_name=f"{number}") for number in range(5)]
    stranger = await new_chat(orchestrator, caller=STRANGER)
    await ask(orchestrator, names[1])
    listed: list[str] = []
    token = ""
    while True:
        page = await orchestrator.list_chats(ListChatsRequest(page_size=2, page_token=token), ME)
        assert len(page.chats) <= 2
        listed += [chat.name for chat in page.chats]
        if not (token := page.next_page_token):
            break
    assert listed == [names[1], names[4], names[3], names[2], names[0]]
    theirs = await orchestrator.list_chats(ListChatsRequest(), STRANGER)
    assert [chat.name for chat in theirs.chats] == [stranger]
    token = (await orchestrator.list_chats(ListChatsRequest(page_size=2), ME)).next_page_token
    for request, caller in ((ListChatsRequest(page_token=token), STRANGER), (ListChatsRequest(page_token="x"), ME)):
        with pytest.raises(InvalidRequest, match="page_token"):
            await orchestrator.list_chats(request, caller)


async def test_turns_are_listed_oldest_first_in_pages(orchestrator: Orchestrator) -> None:
    name = await new_chat(orchestrator)
    for number in range(5):
        await ask(orchestrator, name, f"q{number}")
    prompts: list[str] = []
    token = ""
    while True:
        page = await orchestrator.list_turns(ListTurnsRequest(parent=name, page_size=2, page_token=token), ME)
        prompts += [turn.prompt for turn in page.turns]
        if not (token := page.next_page_token):
            break
    assert prompts == [f"q{number}" for number in range(5)]
    token = (await orchestrator.list_turns(ListTurnsRequest(parent=name, page_size=2), ME)).next_page_token
    with pytest.raises(InvalidRequest, match="page_token"):
        await orchestrator.list_turns(ListTurnsRequest(parent=await new_chat(orchestrator), page_token=token), ME)


async def test_a_page_of_turns_ends_at_3_mib(services: Services, orchestrator: Orchestrator) -> None:
    services.assistants.script = saying(text("x" * 900_000), ended())
    name = await new_chat(orchestrator)
    for number in range(5):
        await ask(orchestrator, name, f"q{number}")
    first = await orchestrator.list_turns(ListTurnsRequest(parent=name), ME)
    assert [turn.prompt for turn in first.turns] == ["q0", "q1", "q2"]
    assert first.ByteSize() < 3 * 1024 * 1024 + 1024
    request = ListTurnsRequest(parent=name, page_token=first.next_page_token)
    second = await orchestrator.list_turns(request, ME)
    assert [turn.prompt for turn in second.turns] == ["q3", "q4"]
    assert not second.next_page_token


async def test_what_is_another_s_or_not_there_is_not_found(orchestrator: Orchestrator) -> None:
    name = await new_chat(orchestrator)
    await ask(orchestrator, name)
    (turn,) = (await orchestrator.list_turns(ListTurnsRequest(parent=name), ME)).turns
    other = await new_chat(orchestrator)
    calls = (
        (orchestrator.get_chat, GetChatRequest(name=name), STRANGER),
        (orchestrator.update_chat, UpdateChatRequest(chat=Chat(name=name, display_name="x")), STRANGER),
        (orchestrator.delete_chat, DeleteChatRequest(name=name), STRANGER),
        (orchestrator.get_turn, GetTurnRequest(name=turn.name), STRANGER),
        (orchestrator.list_turns, ListTurnsRequest(parent=name), STRANGER),
        (orchestrator.get_chat, GetChatRequest(name="chats/none"), ME),
        (orchestrator.get_turn, GetTurnRequest(name=turn.name.replace(name, other)), ME),
        (orchestrator.list_turns, ListTurnsRequest(parent="chats/none"), ME),
    )
    for call, request, caller in calls:
        with pytest.raises(ResourceNotFound):
            await call(request, caller)  # type: ignore[arg-type]  # each goes with its own
    assert (await chat_of(orchestrator, name)).turn_count == 1
