from __future__ import annotations

import time
from collections.abc import AsyncIterator

import anyio
import pytest

from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.answer_log.protocol import AnswerLog, LogFull
from tests.orchestrator.answer_log.conformance import SUCCEEDED, AnswerLogConformance, new_answer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def answer_log(anyio_backend: str) -> AsyncIterator[AnswerLog]:
    async with MemoryAnswerLog.open() as opened:
        yield opened


class TestMemoryAnswerLog(AnswerLogConformance):
    pass


async def test_what_ended_first_makes_room_and_what_runs_does_not() -> None:
    answer_log = MemoryAnswerLog(max_bytes=1000)
    ended = [new_answer() for _ in range(3)]
    for answer in ended:
        writer = await answer_log.begin(answer)
        await writer.append([b"x" * 300])
        await writer.seal(b"", state=SUCCEEDED, expires=None)
    running = await answer_log.begin(new_answer())
    await running.append([b"y" * 600])
    assert [await answer_log.find(answer.name) is not None for answer in ended] == [False, False, True]
    with pytest.raises(LogFull):
        await running.append([b"y" * 400])
    assert running.last_sequence == 1
    await running.append([b"y" * 200])


async def test_expired_answers_are_forgotten() -> None:
    async with MemoryAnswerLog.open(interval=0.001) as answer_log:
        answer = new_answer()
        await (await answer_log.begin(answer)).seal(b"ending", state=SUCCEEDED, expires=time.time() - 1)
        with anyio.fail_after(30):
            while await answer_log.find(answer.name):  # noqa: ASYNC110 (the log tells nobody what it forgets)
                await anyio.sleep(0.001)
        assert await answer_log.list_answers(answer.tenant, limit=1) == []
