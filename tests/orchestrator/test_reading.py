"""What readers get of answers that have ended, and what others are shown of one that runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import GetAnswerRequest
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater_server.errors import OutOfRange, RecordedFailure
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from headwater_server.orchestrator.answer_log.protocol import AnswerRecord, NewAnswer
from headwater_server.orchestrator.reading import replay
from tests.orchestrator.asking import ME, WAIT_SECONDS, answer_into, asking
from tests.orchestrator.backends import Services
from tests.orchestrator.events import text
from tests.orchestrator.hooked_log import HookedLog
from tests.orchestrator.test_found_by_reading import until_set

pytestmark = pytest.mark.anyio

NAME = "answers/abcd"
EVENT_BYTES = 1000


async def kinds(stream: AsyncGenerator[AnswerChunk]) -> list[str | None]:
    return [chunk.WhichOneof("event") async for chunk in stream]


def flip_a_byte(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 0xFF
    file.write_bytes(content)


async def test_a_snapshot_in_place_of_lost_events_comes_first_or_not_at_all(tmp_path: Path) -> None:
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        writer = await answer_log.begin(NewAnswer(NAME, ME.tenant, b"", 1.0))
        for number in (1, 2, 3):
            thought = answer_pb2.ReasoningDelta(text="x" * EVENT_BYTES)
            await writer.append([AnswerChunk(sequence=number, reasoning=thought).SerializeToString()])
        ending = answer_pb2.Answer(name=NAME, state=answer_pb2.ANSWER_STATE_SUCCEEDED, last_sequence=4)
        await writer.append([AnswerChunk(sequence=4, answer=ending).SerializeToString()])
        await writer.seal(ending.SerializeToString(), state=ending.state, expires=None)
        flip_a_byte(tmp_path / "ab" / "abcd.log", int(2.5 * EVENT_BYTES))  # in the third
        record = await answer_log.find(NAME)
        assert record is not None
        stream = replay(record, after=0, answer_log=answer_log)
        assert [(await anext(stream)).sequence, (await anext(stream)).sequence] == [1, 2]
        with pytest.raises(OutOfRange, match="ask for a snapshot"):
            await anext(stream)
        assert await kinds(replay(record, after=2, answer_log=answer_log)) == ["snapshot", "answer"]
        assert await kinds(replay(record, after=None, answer_log=answer_log)) == ["snapshot", "answer"]
        assert await kinds(replay(record, after=0, answer_log=None)) == ["snapshot", "answer"]


async def test_who_comes_back_for_an_answer_that_was_lost_hears_that() -> None:
    lost = answer_pb2.Answer(name=NAME, state=answer_pb2.ANSWER_STATE_FAILED)
    record = AnswerRecord(NAME, ME.tenant, b"", 0.0, "", "chats/c", 1, lost.SerializeToString(), lost.state, 0, None)
    with pytest.raises(RecordedFailure):
        await kinds(replay(record, after=5, answer_log=None))


async def test_nobody_is_shown_what_is_not_logged() -> None:
    logged = anyio.Event()
    answer_log = HookedLog()
    answer_log.before_append = until_set(logged, kind="text")
    speak = anyio.Event()

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        del request
        await speak.wait()
        yield text("said")
        await anyio.sleep_forever()

    services = Services(script)
    async with services.orchestrator(answer_log=answer_log) as orchestrator, anyio.create_task_group() as tasks:
        chunks: list[AnswerChunk] = []
        tasks.start_soon(answer_into, chunks, orchestrator, asking())
        with anyio.fail_after(WAIT_SECONDS):
            while not chunks:  # noqa: ASYNC110 (nothing tells)
                await anyio.sleep(0.01)
        speak.set()
        await wait_all_tasks_blocked()
        shown: list[str] = []

        async def look() -> None:
            shown.append((await orchestrator.get_answer(GetAnswerRequest(name=chunks[0].started.answer), ME)).text)

        tasks.start_soon(look)
        await wait_all_tasks_blocked()
        assert not shown
        logged.set()
        with anyio.fail_after(WAIT_SECONDS):
            while not shown:  # noqa: ASYNC110 (nothing tells)
                await anyio.sleep(0.01)
        assert shown == ["said"]
        tasks.cancel_scope.cancel()
