"""The contract of a store of chats, on each database."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import anyio
import pytest

from headwater.v1.answer_pb2 import (
    ANSWER_STATE_CANCELLED,
    ANSWER_STATE_FAILED,
    ANSWER_STATE_RUNNING,
    ANSWER_STATE_SUCCEEDED,
    ANSWER_STATE_UNSPECIFIED,
)
from headwater_server.orchestrator.chats.protocol import (
    ChatBusy,
    ChatStore,
    ChatsUnavailable,
    ChatUnknown,
    Said,
    TooMany,
    TurnExists,
)
from tests.orchestrator.chats.databases import Database
from tests.orchestrator.chats.making import ACME, MANY, NOW, begun, ending, lost, made, new_chat, new_turn, told

pytestmark = pytest.mark.anyio
REQUEST_ID = "4f9619ff-8b86-4d01-b42d-00cf4fc964ff"


@pytest.fixture
async def store(database: Database) -> AsyncIterator[ChatStore]:
    opened = await database.open()
    yield opened
    await opened.aclose()


async def test_a_chat_is_kept_as_it_was_made(store: ChatStore) -> None:
    new = new_chat(settings=b"\x00\xff settings", request=b"\x00 request")
    record = await store.create(new, at_most=MANY)
    assert (record.id, record.tenant, record.settings, record.request) == (new.id, ACME, new.settings, new.request)
    assert (record.created, record.changed, record.turns, record.running) == (NOW, NOW, 0, "")
    assert await store.get(ACME, new.id) == record


async def test_another_tenant_s_chat_is_unknown_to_every_method(store: ChatStore) -> None:
    chat = await made(store)
    turn = await told(store, chat, "why?", "because")
    for call in (
        lambda: store.get("globex", chat),
        lambda: store.update("globex", chat, bytes, now=NOW),
        lambda: begun(store, chat, tenant="globex"),
        lambda: store.get_turn("globex", chat, turn.id),
        lambda: store.list_turns("globex", chat, after=0, limit=10, max_bytes=MANY),
        lambda: store.mark_deleted("globex", chat),
    ):
        with pytest.raises(ChatUnknown):
            await call()
    assert await store.list_chats("globex", limit=10) == []
    assert await store.find_request("globex", REQUEST_ID) is None
    assert (await store.get(ACME, chat)).turns == 1


async def test_a_request_id_makes_one_chat_however_often_and_at_once(store: ChatStore) -> None:
    found: list[str] = []

    async def create() -> None:
        found.append((await store.create(new_chat(request_id=REQUEST_ID), at_most=MANY)).id)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(create)
    assert len(set(found)) == 1
    assert len(await store.list_chats(ACME, limit=MANY)) == 1
    other = await store.create(new_chat("globex", request_id=REQUEST_ID), at_most=MANY)
    assert other.id not in found


async def test_a_tenant_has_no_more_chats_than_it_may_also_where_many_are_made_at_once(store: ChatStore) -> None:
    outcomes: Counter[str] = Counter()

    async def create() -> None:
        try:
            await store.create(new_chat(), at_most=5)
            outcomes["made"] += 1
        except TooMany:
            outcomes["refused"] += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(create)
    assert outcomes == {"made": 5, "refused": 7}
    await made(store, "globex")


async def test_chats_are_listed_by_their_last_change_in_pages(store: ChatStore) -> None:
    ids = [await made(store, created=NOW + number % 3) for number in range(7)]
    await store.update(ACME, ids[0], lambda _: b"new", now=NOW + 50)
    await begun(store, ids[1], created=NOW + 60)
    listed: list[str] = []
    before = None
    while page := await store.list_chats(ACME, before=before, limit=2):
        listed += [record.id for record in page]
        before = page[-1].changed, page[-1].id
    assert sorted(listed) == sorted(ids)
    assert listed[:2] == [ids[1], ids[0]]
    everything = await store.list_chats(ACME, limit=MANY)
    assert [record.id for record in everything] == listed
    assert [record.changed for record in everything] == sorted((r.changed for r in everything), reverse=True)


async def test_a_change_counts_as_later_even_if_the_clock_went_back(store: ChatStore) -> None:
    chat = await made(store)
    first = await store.update(ACME, chat, lambda old: old + b"!", now=NOW - 1_000_000)
    assert first.settings == b"as made!"
    assert first.changed > NOW


async def test_what_a_change_raises_comes_out_and_changes_nothing(store: ChatStore) -> None:
    chat = await made(store)
    before = await store.get(ACME, chat)

    def refuse(_: bytes) -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await store.update(ACME, chat, refuse, now=NOW + 1)
    assert await store.get(ACME, chat) == before


async def test_a_turn_is_stored_before_its_answer_and_runs_until_it_is_settled(store: ChatStore) -> None:
    chat = await made(store)
    new = new_turn(chat, "why\x00, and ünde\u2028r what 😀?", request_id=REQUEST_ID, digest=b"\x00\x01")
    turn = await store.begin_turn(new, at_most=MANY, lost=lost)
    assert (turn.id, turn.number, turn.prompt, turn.digest) == (new.id, 1, new.prompt, new.digest)
    assert (turn.state, turn.text, turn.outline, turn.settings) == (ANSWER_STATE_RUNNING, "", b"begun", b"as made")
    record = await store.get(ACME, chat)
    assert (record.running, record.turns) == (turn.answer, 1)
    assert record.changed > NOW
    assert [found.answer for found in await store.running()] == [turn.answer]
    assert await store.settle(turn.answer, ending("be\x00cause 😀"), now=NOW + 5)
    settled = await store.get_turn(ACME, chat, turn.id)
    assert (settled.state, settled.text) == (ANSWER_STATE_SUCCEEDED, "be\x00cause 😀")
    assert (settled.outline, settled.contents) == (b"ended", b"contents")
    assert await store.find_answer(turn.answer) == settled
    assert await store.find_request(ACME, REQUEST_ID) == settled
    assert (await store.get(ACME, chat)).running == ""
    assert await store.running() == []


async def test_a_turn_is_settled_once(store: ChatStore) -> None:
    chat = await made(store)
    turn = await told(store, chat, "why?", "because")
    before = await store.get(ACME, chat)
    assert not await store.settle(turn.answer, ending("no", ANSWER_STATE_CANCELLED), now=NOW + 9)
    assert (await store.get_turn(ACME, chat, turn.id)).text == "because"
    assert await store.get(ACME, chat) == before
    assert not await store.settle("answers/unknown", ending(), now=NOW)


async def test_a_chat_has_one_running_answer(store: ChatStore) -> None:
    chat = await made(store)
    turn = await begun(store, chat)
    with pytest.raises(ChatBusy) as busy:
        await begun(store, chat, "again?")
    assert busy.value.answer == turn.answer
    assert (await store.get(ACME, chat)).turns == 1
    await begun(store, await made(store))
    await store.settle(turn.answer, ending(), now=NOW)
    assert (await begun(store, chat, "again?")).number == 2


async def test_of_fifty_who_ask_at_once_in_one_chat_one_begins(store: ChatStore) -> None:
    chat = await made(store)
    begun_turns: list[str] = []
    refused: list[str] = []

    async def ask(number: int) -> None:
        try:
            begun_turns.append((await begun(store, chat, f"question {number}")).answer)
        except ChatBusy as error:
            refused.append(error.answer)

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(ask, number)
    assert len(begun_turns) == 1
    assert refused == begun_turns * 49
    assert (await store.get(ACME, chat)).turns == 1


async def test_a_request_id_begins_one_turn(store: ChatStore) -> None:
    chat = await made(store)
    turn = await begun(store, chat, request_id=REQUEST_ID)
    for _ in range(2):
        with pytest.raises(TurnExists) as exists:
            await begun(store, chat, request_id=REQUEST_ID)
        assert exists.value.turn.answer == turn.answer
        await store.settle(turn.answer, ending(), now=NOW)
    with pytest.raises(TurnExists):
        await begun(store, await made(store), request_id=REQUEST_ID)
    await begun(store, await made(store, "globex"), tenant="globex", request_id=REQUEST_ID)


async def test_of_many_who_use_one_request_id_in_many_chats_at_once_one_begins(store: ChatStore) -> None:
    chats = [await made(store) for _ in range(8)]
    outcomes: Counter[str] = Counter()

    async def ask(chat: str) -> None:
        try:
            await begun(store, chat, request_id=REQUEST_ID)
            outcomes["begun"] += 1
        except TurnExists:
            outcomes["exists"] += 1

    async with anyio.create_task_group() as tasks:
        for chat in chats:
            tasks.start_soon(ask, chat)
    assert outcomes == {"begun": 1, "exists": 7}


async def test_a_chat_has_no_more_turns_than_it_may(store: ChatStore) -> None:
    chat = await made(store)
    for _ in range(2):
        turn = await store.begin_turn(new_turn(chat), at_most=2, lost=lost)
        await store.settle(turn.answer, ending(), now=NOW)
    with pytest.raises(TooMany):
        await store.begin_turn(new_turn(chat), at_most=2, lost=lost)
    assert (await store.get(ACME, chat)).running == ""


async def test_a_turn_that_never_began_is_withdrawn_and_leaves_no_trace(store: ChatStore) -> None:
    chat = await made(store)
    await told(store, chat, "why?", "because")
    turn = await begun(store, chat, request_id=REQUEST_ID)
    await store.withdraw(turn.answer)
    record = await store.get(ACME, chat)
    assert (record.turns, record.running) == (1, "")
    assert await store.find_answer(turn.answer) is None
    again = await begun(store, chat, request_id=REQUEST_ID)
    assert again.number == 2
    await store.settle(again.answer, ending(), now=NOW)
    await store.withdraw(again.answer)
    assert (await store.get(ACME, chat)).turns == 2


async def test_turns_are_listed_in_order_in_pages_of_a_size(store: ChatStore) -> None:
    chat = await made(store)
    for number in range(6):
        await told(store, chat, f"question {number}", "x" * 100)
    await begun(store, chat, "question 6")
    everything = await store.list_turns(ACME, chat, after=0, limit=MANY, max_bytes=1_000_000)
    assert [turn.prompt for turn in everything] == [f"question {number}" for number in range(7)]
    assert {turn.contents for turn in everything} == {b""}
    assert everything[0].text == "x" * 100
    some = await store.list_turns(ACME, chat, after=2, limit=3, max_bytes=1_000_000)
    assert [turn.number for turn in some] == [3, 4, 5]
    small = await store.list_turns(ACME, chat, after=0, limit=MANY, max_bytes=400)
    assert [turn.number for turn in small] == [1, 2, 3, 4]
    least = await store.list_turns(ACME, chat, after=0, limit=MANY, max_bytes=1)
    assert [turn.number for turn in least] == [1]
    assert await store.list_turns(ACME, chat, after=7, limit=MANY, max_bytes=400) == []


async def test_what_was_said_comes_in_order_whole_and_without_what_failed_or_said_nothing(store: ChatStore) -> None:
    chat = await made(store)
    said = [
        ("q1", "a1", ANSWER_STATE_SUCCEEDED),
        ("q2", "a2", ANSWER_STATE_FAILED),
        ("q3", "a3", ANSWER_STATE_CANCELLED),
    ]
    said += [("q4", "", ANSWER_STATE_CANCELLED), ("q5", "a5", ANSWER_STATE_SUCCEEDED)]
    for prompt, text, state in said:
        await told(store, chat, prompt, text, state=state)
    await begun(store, chat, "now?")
    everything = [("q1", "a1"), ("q3", "a3"), ("q5", "a5")]
    assert await store.said(chat, before=6, limit=MANY, max_bytes=MANY) == Said(everything, 0)
    assert await store.said(chat, before=6, limit=2, max_bytes=MANY) == Said(everything[1:], 1)
    assert await store.said(chat, before=3, limit=MANY, max_bytes=MANY) == Said(everything[:1], 0)
    assert await store.said(chat, before=6, limit=MANY, max_bytes=11) == Said(everything[1:], 1)
    assert await store.said(chat, before=6, limit=MANY, max_bytes=3) == Said([], 3)
    assert await store.said(chat, before=1, limit=MANY, max_bytes=MANY) == Said([], 0)


async def test_an_answer_is_forgotten_and_its_prompt_stays(store: ChatStore) -> None:
    chat = await made(store)
    turn = await told(store, chat, "why?", "because")
    await store.forget_answer(turn.answer)
    kept = await store.get_turn(ACME, chat, turn.id)
    assert (kept.prompt, kept.state, kept.text) == ("why?", ANSWER_STATE_UNSPECIFIED, "")
    assert (kept.outline, kept.contents) == (b"", b"")
    running = await begun(store, chat)
    await store.forget_answer(running.answer)
    assert (await store.get_turn(ACME, chat, running.id)).state == ANSWER_STATE_RUNNING


async def test_a_deleted_chat_is_unknown_at_once_and_removed_later(store: ChatStore) -> None:
    chat = (await store.create(new_chat(request_id=REQUEST_ID), at_most=MANY)).id
    other_id = REQUEST_ID.replace("4", "5")
    turns = [await told(store, chat, "why?", "because"), await begun(store, chat, request_id=other_id)]
    answers = [turn.answer for turn in turns]
    with pytest.raises(ChatBusy) as busy:
        await store.mark_deleted(ACME, chat)
    assert busy.value.answer == answers[1]
    with pytest.raises(ChatBusy):
        await store.mark_deleted(ACME, chat, although_running=answers[0])
    assert await store.mark_deleted(ACME, chat, although_running=answers[1]) == answers
    with pytest.raises(ChatUnknown):
        await store.get(ACME, chat)
    with pytest.raises(ChatUnknown):
        await store.get_turn(ACME, chat, turns[0].id)
    assert await store.list_chats(ACME, limit=10) == []
    assert await store.find_answer(answers[0]) is None
    assert await store.find_request(ACME, other_id) is None
    assert await store.running() == []
    assert not await store.settle(answers[1], ending(), now=NOW)
    assert await store.deleted() == [(chat, answers)]
    again = await store.create(new_chat(request_id=REQUEST_ID), at_most=1)
    assert again.id != chat
    await begun(store, again.id, request_id=other_id)
    await store.remove(chat)
    await store.remove(again.id)
    assert await store.deleted() == []
    assert (await store.get(ACME, again.id)).turns == 1


async def test_what_was_done_is_there_after_it_was_opened_again(database: Database) -> None:
    first = await database.open()
    chat = await made(first)
    turn = await told(first, chat, "why?", "because")
    running = await begun(first, chat, "and now?")
    await first.aclose()
    with pytest.raises(ChatsUnavailable):
        await first.get(ACME, chat)
    second = await database.open()
    assert (await second.get_turn(ACME, chat, turn.id)).text == "because"
    assert [found.answer for found in await second.running()] == [running.answer]
    with pytest.raises(ChatBusy):
        await begun(second, chat)
    assert await second.settle(running.answer, ending(), now=NOW)
    await second.aclose()


async def test_a_cancelled_call_is_done_as_a_whole_or_not_at_all(store: ChatStore) -> None:
    chat = await made(store)
    for number in range(10):
        with anyio.move_on_after(0.0005 * number):
            await begun(store, chat)
        record = await store.get(ACME, chat)
        if record.running:
            await store.settle(record.running, ending(), now=NOW)
    record = await store.get(ACME, chat)
    turns = await store.list_turns(ACME, chat, after=0, limit=MANY, max_bytes=1_000_000)
    assert [turn.number for turn in turns] == list(range(1, record.turns + 1))
    assert {turn.state for turn in turns} <= {ANSWER_STATE_SUCCEEDED}
