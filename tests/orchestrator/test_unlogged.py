"""Answers that the log has no room for: they go on, say so, and are had by those who read them while they run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from structlog.testing import capture_logs
from structlog.typing import EventDict

from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import DISCONNECT_POLICY_CONTINUE, GetAnswerRequest
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater_server.errors import ResourceNotFound
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.feed import TAIL_BYTES
from headwater_server.orchestrator.service import Orchestrator
from tests.orchestrator.asking import ME, REQUEST_ID, WAIT_SECONDS, answer, answer_into, asking, duration
from tests.orchestrator.backends import HELLO, Services, saying, saying_then_hanging
from tests.orchestrator.events import ended, text
from tests.orchestrator.full_disk import file_size_limit
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules
from tests.orchestrator.test_resuming import Steps, broken_off, resume_into, resumed

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def log() -> Iterator[list[EventDict]]:
    """The server's own log, which is not on the disk that is full here."""
    with capture_logs() as events:
        yield events


async def until(happened: Callable[[], bool]) -> None:
    """Waits for something that no event tells of."""
    with anyio.fail_after(WAIT_SECONDS):
        while not happened():  # noqa: ASYNC110 (nothing tells of it)
            await anyio.sleep(0.005)


async def is_unknown(orchestrator: Orchestrator, name: str) -> bool:
    try:
        await orchestrator.get_answer(GetAnswerRequest(name=name), ME)
    except ResourceNotFound:
        return True
    return False


async def test_an_answer_that_is_logged_says_nothing_of_it() -> None:
    async with Services(saying(*HELLO)).orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking())
    assert not chunks[0].started.unlogged
    assert not chunks[-1].answer.unlogged


async def test_where_there_is_no_room_from_the_beginning_the_first_event_says_so_and_the_last() -> None:
    services = Services(saying(*HELLO))
    async with services.orchestrator(answer_log=MemoryAnswerLog(max_bytes=10)) as orchestrator:
        chunks = await answer(orchestrator, asking())
        assert chunks[0].started.unlogged
        assert assert_rules(chunks).unlogged
        assert await is_unknown(orchestrator, chunks[0].started.answer)


@pytest.mark.parametrize("room", [0, 2000], ids=["none at all", "for events, and not for the end"])
async def test_a_disk_that_fills_up_on_the_way_is_told_in_the_last_message(tmp_path: Path, room: int) -> None:
    steps = Steps("one ", "two")
    async with (
        EmbeddedAnswerLog.open(tmp_path) as answer_log,
        Services(steps.script).orchestrator(answer_log=answer_log) as orchestrator,
        anyio.create_task_group() as tasks,
    ):
        chunks: list[AnswerChunk] = []
        tasks.start_soon(answer_into, chunks, orchestrator, asking(request_id=REQUEST_ID))
        steps.step()
        await until(lambda: len(chunks) == 3)
        with file_size_limit(room):
            steps.step()
            await until(lambda: chunks[-1].HasField("answer"))
        assert not chunks[0].started.unlogged
        assert assert_rules(chunks).unlogged
        assert await is_unknown(orchestrator, chunks[0].started.answer), "also where the disk could not forget it"


async def test_a_reader_comes_back_to_an_unlogged_answer_while_it_runs(tmp_path: Path) -> None:
    steps = Steps("one ", "two ", "three ", "four")
    async with (
        EmbeddedAnswerLog.open(tmp_path) as answer_log,
        Services(steps.script).orchestrator(answer_log=answer_log) as orchestrator,
        anyio.create_task_group() as tasks,
    ):
        steps.step(1)
        before = await broken_off(orchestrator, after_text=1, resume_window=duration(60))
        name = before[0].started.answer
        with file_size_limit(0):
            steps.step(1)
            await wait_all_tasks_blocked()  # the word has come, and there was no room for it
            rest: list[AnswerChunk] = []
            snapshot: list[AnswerChunk] = []
            all_of_it: list[AnswerChunk] = []
            for chunks, after in ((rest, before[-1].sequence), (snapshot, None), (all_of_it, 0)):
                tasks.start_soon(resume_into, chunks, orchestrator, name, after)
            await until(lambda: bool(snapshot and rest and all_of_it))
            assert snapshot[0].snapshot.unlogged
            assert (await orchestrator.get_answer(GetAnswerRequest(name=name), ME)).unlogged
            steps.step(2)
            await until(lambda: all(each[-1].HasField("answer") for each in (rest, snapshot, all_of_it)))
        assert assert_rules([*before, *rest]).unlogged
        assert assert_rules(all_of_it).text == "one two three four"
        assert await is_unknown(orchestrator, name)


async def test_a_reader_who_is_far_behind_when_the_log_is_given_up_misses_nothing(tmp_path: Path) -> None:
    long = [text(f"{number:06} " * 1000) for number in range(3 * TAIL_BYTES // 7000)]
    full, go_on = anyio.Event(), anyio.Event()

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        for event in long:
            yield event
        full.set()
        await go_on.wait()
        for event in long:
            yield event
        yield ended()

    async with (
        EmbeddedAnswerLog.open(tmp_path) as answer_log,
        Services(script).orchestrator(answer_log=answer_log) as orchestrator,
        anyio.create_task_group() as tasks,
    ):
        before = await broken_off(orchestrator, after_text=1, on_disconnect=DISCONNECT_POLICY_CONTINUE)
        with anyio.fail_after(WAIT_SECONDS):
            await full.wait()
        rest: list[AnswerChunk] = []
        with file_size_limit(0):
            go_on.set()
            tasks.start_soon(resume_into, rest, orchestrator, before[0].started.answer, before[-1].sequence)
            await until(lambda: bool(rest) and rest[-1].HasField("answer"))
    assert assert_rules([*before, *rest]).unlogged
    assert rest[-1].answer.text == "".join(event.text.text for event in long) * 2


async def test_a_request_id_whose_answer_was_not_kept_begins_another(tmp_path: Path) -> None:
    services = Services(saying(*HELLO))
    async with (
        EmbeddedAnswerLog.open(tmp_path) as answer_log,
        services.orchestrator(answer_log=answer_log) as orchestrator,
    ):
        with file_size_limit(0):
            first = await answer(orchestrator, asking(request_id=REQUEST_ID))
        second = await answer(orchestrator, asking(request_id=REQUEST_ID))
        assert first[0].started.unlogged
        assert not assert_rules(second).unlogged
        assert second[0].started.answer != first[0].started.answer
        assert await resumed(orchestrator, second[0].started.answer, 0) == second


async def test_an_unlogged_answer_that_a_server_leaves_behind_was_begun_by_the_rules(tmp_path: Path) -> None:
    services = Services(saying_then_hanging(text("so far")))
    async with (
        EmbeddedAnswerLog.open(tmp_path) as answer_log,
        services.orchestrator(answer_log=answer_log) as orchestrator,
        anyio.create_task_group() as tasks,
    ):
        chunks: list[AnswerChunk] = []
        with file_size_limit(0):
            tasks.start_soon(answer_into, chunks, orchestrator, asking())
            await until(lambda: len(chunks) == 3)
        tasks.cancel_scope.cancel()
    assert chunks[0].started.unlogged
    assert assert_begins_by_the_rules(chunks) is None
