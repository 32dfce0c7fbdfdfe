from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from headwater_server.orchestrator.answer_log.protocol import AnswerLogError, LogUnavailable, NewAnswer, RequestIdTaken
from headwater_server.orchestrator.answer_log.table import AnswerTable
from headwater_server.orchestrator.answer_log.table_thread import MOST_TOGETHER, TableThread, Together
from tests.orchestrator.answer_log.conformance import SUCCEEDED, new_answer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def answer_log(tmp_path: Path) -> AsyncGenerator[EmbeddedAnswerLog]:
    async with EmbeddedAnswerLog.open(tmp_path) as opened:
        yield opened


async def test_answers_that_begin_and_end_together_are_all_there(answer_log: EmbeddedAnswerLog) -> None:
    answers = [new_answer() for _ in range(3 * MOST_TOGETHER)]

    async def make(number: int) -> None:
        writer = await answer_log.begin(answers[number])
        await writer.append([b"event"])
        await writer.seal(b"ending %d" % number, state=SUCCEEDED, expires=None)

    async with anyio.create_task_group() as tasks:
        for number in range(len(answers)):
            tasks.start_soon(make, number)
    for number, answer in enumerate(answers):
        record = await answer_log.find(answer.name)
        assert record is not None
        assert (record.ending, record.last_sequence) == (b"ending %d" % number, 1)


async def test_one_that_cannot_begin_keeps_none_of_the_others_from_it(answer_log: EmbeddedAnswerLog) -> None:
    first = new_answer(request_id="5d5b1a90-0000-4000-8000-000000000000")
    await answer_log.begin(first)
    others = [new_answer() for _ in range(8)]
    again = new_answer(request_id=first.request_id)
    taken: list[str] = []

    async def begin_again() -> None:
        with pytest.raises(RequestIdTaken) as caught:
            await answer_log.begin(again)
        taken.append(caught.value.record.name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer_log.begin, others[0])
        tasks.start_soon(begin_again)
        for answer in others[1:]:
            tasks.start_soon(answer_log.begin, answer)
    assert taken == [first.name]
    assert await answer_log.find(again.name) is None
    assert {record.name for record in await answer_log.unsealed()} == {first.name, *(one.name for one in others)}


async def test_statements_that_waited_are_one_transaction_and_what_follows_each_comes_after_it(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite3"
    table = AnswerTable(path, durable=False)
    thread = TableThread(table)
    held = threading.Event()
    seen: list[int] = []
    answers = [new_answer() for _ in range(4)]

    def count() -> None:
        with closing(sqlite3.connect(path)) as other:
            seen.append(other.execute("SELECT count(*) FROM answers").fetchone()[0])

    async def use(answer: NewAnswer) -> None:
        await thread.use(pytest.fail, together=Together(lambda: table.insert(answer), count))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(thread.use, held.wait)
        await checkpoint()
        for answer in answers:
            tasks.start_soon(use, answer)
        await checkpoint()
        held.set()
    assert seen == [4, 4, 4, 4]
    await thread.aclose()


async def test_a_closed_one_does_no_more(tmp_path: Path) -> None:
    thread = TableThread(AnswerTable(tmp_path / "answers.sqlite3", durable=False))
    assert await thread.use(lambda: 1) == 1
    await thread.aclose()
    with pytest.raises(LogUnavailable):
        await thread.use(lambda: 1)


async def test_an_error_of_the_work_comes_to_whoever_asked_for_it(tmp_path: Path) -> None:
    thread = TableThread(AnswerTable(tmp_path / "answers.sqlite3", durable=False))

    def fail() -> None:
        raise AnswerLogError("no")

    with pytest.raises(AnswerLogError, match="no"):
        await thread.use(fail)
    assert await thread.use(lambda: "goes on") == "goes on"
    await thread.aclose()
