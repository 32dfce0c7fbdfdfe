"""Processes of one server that share a file of chats: each knows for certain which of the others live."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.v1.answer_pb2 import ANSWER_STATE_RUNNING
from headwater_server.orchestrator.chats.databases import sqlite_engine
from headwater_server.orchestrator.chats.protocol import ChatBusy
from headwater_server.orchestrator.chats.store import SqlChatStore
from tests.orchestrator.chats.making import NOW, begun, ending, lost, made

pytestmark = pytest.mark.anyio


async def test_a_turn_is_only_settled_by_what_became_of_its_answer_whether_its_process_lives_or_not(
    tmp_path: Path,
) -> None:
    living = {"one", "two"}
    one, two = [
        await SqlChatStore.open(lambda: sqlite_engine(tmp_path), owner=name, lease=None, living=lambda: living)
        for name in ("one", "two")
    ]
    chat = await made(one)
    turn = await begun(one, chat)
    for process_lives in (True, False):
        if not process_lives:
            living.discard("one")
        with pytest.raises(ChatBusy):
            await begun(two, chat)
        assert await two.settle_lapsed(lost, now=NOW) == []
        found = [running.answer for running in await two.running()]
        assert found == ([] if process_lives else [turn.answer]), "that of a dead one is anybody's to look after"
    taken = await two.take_on(turn.answer)
    assert taken is not None
    assert (taken.answer, taken.state) == (turn.answer, ANSWER_STATE_RUNNING)
    living.update({"one", "two"})
    assert await one.running() == []
    assert [running.answer for running in await two.running()] == [turn.answer]
    assert await two.settle(turn.answer, ending(), now=NOW)
    assert not await one.settle(turn.answer, ending(), now=NOW)
    settled = await two.take_on(turn.answer)
    assert settled is not None
    assert settled.state != ANSWER_STATE_RUNNING
    assert await two.take_on("answers/none") is None
    assert (await begun(one, chat)).number == 2
    await one.aclose()
    await two.aclose()
