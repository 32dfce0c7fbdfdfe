"""What the fault runs have found in the orchestrator, each as small as it can be made."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from structlog.testing import capture_logs
from structlog.typing import EventDict

from headwater.v1.answer_pb2 import FINISH_REASON_CANCELLED, AnswerChunk
from headwater.v1.answer_service_pb2 import DeleteAnswerRequest, GetAnswerRequest, ListAnswersRequest
from headwater_server.errors import Reason, ResourceNotFound, ServiceError
from headwater_server.orchestrator import recovery
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.answer_log.protocol import AnswerWriter, NewAnswer
from tests.orchestrator.asking import ME, REQUEST_ID, WAIT_SECONDS, answer_into, asking, duration
from tests.orchestrator.backends import HELLO, Services, saying, saying_then_hanging
from tests.orchestrator.full_disk import file_size_limit
from tests.orchestrator.hooked_log import HookedLog
from tests.orchestrator.rules import assert_rules
from tests.orchestrator.test_resuming import Steps, resume_into

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def log() -> Iterator[list[EventDict]]:
    """The server's own log, which is not on the disk that is full here."""
    with capture_logs() as events:
        yield events


class SlowSeals(MemoryAnswerLog):
    """A log that takes its time to end an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.sealing = anyio.Event()
        self.go_on = anyio.Event()

    async def begin(self, answer: NewAnswer) -> AnswerWriter:  # type: ignore[override]  # around the log's own
        return _SlowWriter(await super().begin(answer), self)


class _SlowWriter:
    """Passes everything on, a seal when it may."""

    def __init__(self, writer: AnswerWriter, answer_log: SlowSeals) -> None:
        self._writer = writer
        self._log = answer_log

    @property
    def name(self) -> str:
        return self._writer.name

    @property
    def epoch(self) -> int:
        return self._writer.epoch

    @property
    def last_sequence(self) -> int:
        return self._writer.last_sequence

    async def append(self, events: Sequence[bytes]) -> None:
        await self._writer.append(events)

    async def seal(self, ending: bytes, *, state: int, expires: float | None) -> None:
        self._log.sealing.set()
        await self._log.go_on.wait()
        await self._writer.seal(ending, state=state, expires=expires)

    def close(self) -> None:
        self._writer.close()


async def test_all_who_wait_while_an_answer_is_sealed_get_its_end() -> None:
    answer_log = SlowSeals()
    received: list[list[AnswerChunk]] = [[] for _ in range(50)]
    async with Services(saying(*HELLO)).orchestrator(answer_log=answer_log) as orchestrator:
        with anyio.fail_after(WAIT_SECONDS):
            async with anyio.create_task_group() as tasks:
                for chunks in received:
                    tasks.start_soon(answer_into, chunks, orchestrator, asking(request_id=REQUEST_ID))
                await answer_log.sealing.wait()
                await wait_all_tasks_blocked()
                answer_log.go_on.set()
    assert_rules(received[0])
    assert all(chunks == received[0] for chunks in received)


@pytest.mark.parametrize("request_id", ["", REQUEST_ID])
async def test_an_answer_that_is_deleted_while_it_begins_is_stopped_first(request_id: str) -> None:
    answer_log, recorded, go_on = HookedLog(), anyio.Event(), anyio.Event()

    async def wait(_: Sequence[AnswerChunk]) -> None:
        recorded.set()
        await go_on.wait()

    answer_log.after_begin = wait
    chunks: list[AnswerChunk] = []
    async with Services(saying_then_hanging(*HELLO)).orchestrator(answer_log=answer_log) as orchestrator:
        with anyio.fail_after(WAIT_SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(answer_into, chunks, orchestrator, asking(request_id=request_id))
                await recorded.wait()
                (listed,) = (await orchestrator.list_answers(ListAnswersRequest(), ME)).answers
                tasks.start_soon(orchestrator.delete_answer, DeleteAnswerRequest(name=listed.name), ME)
                await wait_all_tasks_blocked()
                go_on.set()
        with pytest.raises(ResourceNotFound):
            await orchestrator.get_answer(GetAnswerRequest(name=listed.name), ME)
    assert chunks[-1].answer.finish_reason == FINISH_REASON_CANCELLED


async def test_a_snapshot_of_an_answer_that_is_about_to_end_leaves_its_end_to_come() -> None:
    answer_log = SlowSeals()
    chunks: list[AnswerChunk] = []
    late: list[AnswerChunk] = []
    async with Services(saying(*HELLO)).orchestrator(answer_log=answer_log) as orchestrator:
        with anyio.fail_after(WAIT_SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(answer_into, chunks, orchestrator, asking())
                await answer_log.sealing.wait()
                tasks.start_soon(resume_into, late, orchestrator, chunks[0].started.answer)
                await wait_all_tasks_blocked()
                answer_log.go_on.set()
    snapshot, terminal = late
    assert terminal == chunks[-1]
    assert snapshot.sequence == snapshot.snapshot.last_sequence == terminal.sequence - 1


async def test_nobody_goes_on_with_an_answer_of_which_its_readers_have_more_than_was_logged(tmp_path: Path) -> None:
    steps = Steps("logged ", "not logged")
    chunks: list[AnswerChunk] = []
    async with (
        EmbeddedAnswerLog.open(tmp_path) as answer_log,
        Services(steps.script).orchestrator(answer_log=answer_log) as orchestrator,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(answer_into, chunks, orchestrator, asking(resume_window=duration(60)))
        for count in (1, 2):
            with anyio.fail_after(WAIT_SECONDS), file_size_limit(1 << 30 if count == 1 else 0):
                steps.step()
                while sum(chunk.HasField("text") for chunk in chunks) < count:  # noqa: ASYNC110 (nothing tells of it)
                    await anyio.sleep(0.005)
                if count == 2:  # the disk has no room even to note that the answer is to be forgotten
                    async with EmbeddedAnswerLog.open(tmp_path) as of_the_next_server:
                        assert await of_the_next_server.unsealed() == []
        tasks.cancel_scope.cancel()


async def test_an_answer_for_which_the_next_server_has_no_room_goes_on_when_there_is(
    tmp_path: Path, log: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_FULL_PAUSE", 0.01)
    request = asking(request_id=REQUEST_ID, resume_window=duration(60))
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        left = NewAnswer("answers/one", ME.tenant, request.SerializeToString(), time.time(), request_id=REQUEST_ID)
        (await answer_log.begin(left)).close()
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        with file_size_limit(0):
            opened = Services(saying(*HELLO)).orchestrator(answer_log=answer_log)
            orchestrator = await opened.__aenter__()
            with anyio.fail_after(WAIT_SECONDS):
                while not any(event["event"] == "answer.unrecovered" for event in log):  # noqa: ASYNC110 (it is a list)
                    await anyio.sleep(0.005)
        with anyio.fail_after(WAIT_SECONDS):
            chunks: list[AnswerChunk] = []
            while not chunks:
                try:
                    await answer_into(chunks, orchestrator, request)
                except ServiceError as error:
                    if error.reason is not Reason.SERVER_DRAINING:  # by which whoever asks meanwhile comes back
                        raise
                    await anyio.sleep(0.005)
        await opened.__aexit__(None, None, None)
    assert assert_rules(chunks).name == "answers/one"
