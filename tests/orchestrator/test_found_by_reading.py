"""What reading the orchestrator has found: rare orders of events, and failures that nobody had thought of."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from types import SimpleNamespace
from typing import cast

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from structlog.testing import capture_logs
from structlog.typing import EventDict

from headwater.v1 import answer_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import (
    DISCONNECT_POLICY_CONTINUE,
    CancelAnswerRequest,
    DeleteAnswerRequest,
    ResumeAnswerRequest,
)
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.retrieval_service_pb2 import RetrieveRequest, RetrieveResponse
from headwater_server.errors import Reason, RecordedFailure, ResourceNotFound, ServiceError, ServiceUnreachable
from headwater_server.orchestrator import service, trying
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.answer_log.protocol import (
    AnswerSealed,
    AnswerUnknown,
    Entry,
    LogFull,
    LogUnavailable,
    NewAnswer,
)
from headwater_server.orchestrator.chats import conversations
from headwater_server.orchestrator.chats.conversations import open_conversations
from headwater_server.orchestrator.chats.protocol import ChatStore
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.feed import TAIL_BYTES, Feed
from headwater_server.orchestrator.journal import Journal
from headwater_server.orchestrator.pressure import Pressure
from headwater_server.orchestrator.registry import Opening, Registry
from headwater_server.orchestrator.service import Orchestrator
from headwater_server.runtime.activity import Activity
from headwater_server.runtime.status import described
from tests.orchestrator.asking import ME, REQUEST_ID, WAIT_SECONDS, answer, answer_into, asking, duration
from tests.orchestrator.backends import HELLO, Script, Services, saying, saying_then_failing, saying_then_hanging
from tests.orchestrator.events import ended, text
from tests.orchestrator.hooked_log import Hook, HookedLog, nothing
from tests.orchestrator.rules import assert_rules
from tests.orchestrator.test_resuming import resume_into, resumed

pytestmark = pytest.mark.anyio

LONG = [text(f"{number:06} " * 1000) for number in range(3 * TAIL_BYTES // 7000)]
"""More than is kept in memory for readers who are behind."""


@pytest.fixture(autouse=True)
def log() -> Iterator[list[EventDict]]:
    with capture_logs() as events:
        yield events


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(trying, "_LONGEST_PAUSE", 0.001)


def until_set(event: anyio.Event, *, kind: str = "") -> Hook:
    """Waits for an event, with what has events of a kind, or with everything."""

    async def hook(chunks: Sequence[AnswerChunk]) -> None:
        if not kind or any(chunk.WhichOneof("event") == kind for chunk in chunks):
            await event.wait()

    return hook


def failing(error: Exception) -> Hook:
    async def hook(chunks: Sequence[AnswerChunk]) -> None:
        del chunks
        raise error

    return hook


def in_two_parts(go_on: anyio.Semaphore, then: Exception | None = None) -> Script:
    """Says something when it may, and when it may again, ends or fails."""

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        await go_on.acquire()
        yield text("one ")
        await go_on.acquire()
        if then is not None:
            raise then
        yield ended()

    return script


async def begun_in(answer_log: MemoryAnswerLog, name: str, request: bytes) -> None:
    """Leaves an answer behind whose owner has gone."""
    (await answer_log.begin(NewAnswer(name, ME.tenant, request, time.time()))).close()


async def failure_of(reading: Awaitable[object]) -> Exception:
    try:
        await reading
    except (ServiceError, RecordedFailure) as failure:
        return failure
    raise AssertionError("it succeeded")


# Waiting for one another.


async def test_a_snapshot_asked_for_while_the_last_words_are_logged_does_not_stop_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flush, flushes = Feed.flush, 0

    async def counted(feed: Feed) -> None:
        nonlocal flushes
        flushes += 1
        assert flushes < 1000, "it goes round and round"
        await flush(feed)

    monkeypatch.setattr(Feed, "flush", counted)
    answer_log, go_on, logged = HookedLog(), anyio.Semaphore(0), anyio.Event()
    answer_log.before_append = until_set(logged, kind="text")
    chunks: list[AnswerChunk] = []
    late: list[AnswerChunk] = []
    services = Services(in_two_parts(go_on))
    async with services.orchestrator(answer_log=answer_log) as orchestrator, anyio.create_task_group() as tasks:
        tasks.start_soon(answer_into, chunks, orchestrator, asking())
        await wait_all_tasks_blocked()
        go_on.release()
        await wait_all_tasks_blocked()
        tasks.start_soon(resume_into, late, orchestrator, chunks[0].started.answer)
        await wait_all_tasks_blocked()
        go_on.release()
        await wait_all_tasks_blocked()
        logged.set()
    assert_rules(chunks)
    snapshot, terminal = late
    assert (snapshot.snapshot.text, snapshot.sequence) == ("one ", terminal.sequence - 1)
    assert terminal == chunks[-1]


def full_registry() -> tuple[Registry, Opening]:
    registry = Registry(1, Pressure(most=1, least=1, lateness=1, buffer_bytes=1))
    return registry, registry.admit(asking(), ME)


async def test_all_who_wait_for_room_get_it_one_after_another() -> None:
    registry, last = full_registry()
    admitted = [last]

    async def wait(name: str) -> None:
        await registry.room()
        admitted.append(registry.admit(asking(), ME, name=name))

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(wait, f"answers/{number}")
        for count in range(1, 5):
            await wait_all_tasks_blocked()
            assert len(admitted) == count
            registry.remove(admitted[-1])
            if count == 4:
                break


async def test_all_who_wait_until_nothing_runs_are_told() -> None:
    registry, running = full_registry()
    activity = Activity()
    idle: list[str] = []

    async def wait(what: str, until: Callable[[], Awaitable[None]]) -> None:
        await until()
        idle.append(what)

    async with anyio.create_task_group() as tasks:
        with activity.call("/a/b"):
            for _ in range(2):
                tasks.start_soon(wait, "registry", registry.idle)
                tasks.start_soon(wait, "activity", activity.idle)
            await wait_all_tasks_blocked()
        registry.remove(running)
        await wait_all_tasks_blocked()
        assert sorted(idle) == ["activity", "activity", "registry", "registry"]
        tasks.cancel_scope.cancel()


# One answer's defect.


async def test_a_finish_reason_of_a_newer_assistant_is_passed_on() -> None:
    async with Services(saying(text("a"), ended(99))).orchestrator() as orchestrator:  # type: ignore[arg-type]  # unknown
        assert assert_rules(await answer(orchestrator, asking())).finish_reason == 99
        await wait_all_tasks_blocked()
        assert_rules(await answer(orchestrator, asking()))


async def test_an_answer_whose_end_cannot_be_noted_fails_alone() -> None:
    answer_log = HookedLog()
    answer_log.before_seal = failing(AnswerSealed("of all things"))
    services = Services(saying_then_failing(KeyError("x")))
    async with services.orchestrator(answer_log=answer_log) as orchestrator:
        failure = await failure_of(answer(orchestrator, asking()))
        assert isinstance(failure, RecordedFailure)
        assert "internal error" in failure.status.message
        services.assistants.script = saying(*HELLO)
        for _ in range(2):
            await wait_all_tasks_blocked()
            assert_rules(await answer(orchestrator, asking()))  # it was logged, and could not be sealed


class TwoTurns:
    """A store of chats with two turns that run, as far as it knows."""

    def __init__(self) -> None:
        self.settled: list[str] = []
        self.rounds = 0
        self.lasts = anyio.Event()

    async def deleted(self) -> list[tuple[str, list[str]]]:
        return []

    async def running(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(answer="answers/spoilt"), SimpleNamespace(answer="answers/good")]

    async def settle(self, answer: str, ending: object, *, now: int) -> bool:
        del ending, now
        self.settled.append(answer)
        return True

    async def renew(self) -> None:
        self.rounds += 1
        if self.rounds == 2:
            raise KeyError("a defect")
        if self.rounds == 3:
            self.lasts.set()

    async def settle_lapsed(self, lost: object, *, now: int) -> list[str]:
        del lost, now
        return []

    async def aclose(self) -> None:
        pass


async def test_a_turn_that_cannot_be_settled_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "_ROUND_SECONDS", 0.001)
    answer_log, store = MemoryAnswerLog(), TwoTurns()
    ending = answer_pb2.Answer(state=answer_pb2.ANSWER_STATE_SUCCEEDED)
    for name, kept in (("answers/spoilt", b"\xff\xff"), ("answers/good", ending.SerializeToString())):
        writer = await answer_log.begin(NewAnswer(name, ME.tenant, b"", 0.0, chat="chats/one"))
        await writer.seal(kept, state=ending.state, expires=None)

    async def open_store() -> ChatStore:
        return cast("ChatStore", store)

    async with open_conversations(
        open_store, answer_log=answer_log, describe=described, max_turns=9, any_chats=lambda: True
    ) as opened:
        await opened.store()
        assert store.settled == ["answers/good"]
        with anyio.fail_after(WAIT_SECONDS):
            await store.lasts.wait()


# CancelAnswer says what is so.


async def test_an_answer_that_waits_to_be_taken_over_is_not_cancelled_by_the_way() -> None:
    answer_log = MemoryAnswerLog()
    for number in range(2):
        await begun_in(answer_log, f"answers/{number}", asking(resume_window=duration(60)).SerializeToString())
    services = Services(saying_then_hanging(text("a")))
    async with services.orchestrator(OrchestratorConfig(max_answers=1), answer_log=answer_log) as orchestrator:
        await wait_all_tasks_blocked()
        failure = await failure_of(orchestrator.cancel_answer(CancelAnswerRequest(name="answers/1"), ME))
        assert isinstance(failure, ServiceError)
        assert failure.reason is Reason.SERVER_DRAINING
        assert failure.retry_after


async def test_an_answer_that_the_server_hands_on_is_not_cancelled_by_the_way() -> None:
    answer_log, go_on, logged = HookedLog(), anyio.Semaphore(0), anyio.Event()
    answer_log.before_append = until_set(logged, kind="text")
    chunks: list[AnswerChunk] = []
    failures: list[Exception] = []

    async def read(orchestrator: Orchestrator) -> None:
        failures.append(await failure_of(answer_into(chunks, orchestrator, asking(resume_window=duration(60)))))

    async def cancel(orchestrator: Orchestrator) -> None:
        request = CancelAnswerRequest(name=chunks[0].started.answer)
        failures.append(await failure_of(orchestrator.cancel_answer(request, ME)))

    services = Services(in_two_parts(go_on))
    async with services.orchestrator(answer_log=answer_log) as orchestrator, anyio.create_task_group() as tasks:
        tasks.start_soon(read, orchestrator)
        await wait_all_tasks_blocked()
        go_on.release()
        await wait_all_tasks_blocked()
        orchestrator.drain()
        tasks.start_soon(cancel, orchestrator)
        await wait_all_tasks_blocked()
        logged.set()
    assert [failure.reason for failure in failures if isinstance(failure, ServiceError)] == [
        Reason.SERVER_DRAINING,
        Reason.SERVER_DRAINING,
    ]


async def test_an_answer_that_takes_too_long_to_end_is_to_be_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CANCEL_WAIT", 0.01)
    answer_log, sealed = HookedLog(), anyio.Event()
    answer_log.before_seal = until_set(sealed)
    chunks: list[AnswerChunk] = []
    async with Services(saying_then_hanging(text("a"))).orchestrator(answer_log=answer_log) as orchestrator:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_into, chunks, orchestrator, asking())
            await wait_all_tasks_blocked()
            request = CancelAnswerRequest(name=chunks[0].started.answer)
            failure = await failure_of(orchestrator.cancel_answer(request, ME))
            sealed.set()
        assert isinstance(failure, ServiceError)
        assert failure.retry_after
        await wait_all_tasks_blocked()
        assert (await orchestrator.cancel_answer(request, ME)).state == answer_pb2.ANSWER_STATE_CANCELLED


# Readers who are behind.


async def read_until_it_fails(stream: AsyncGenerator[AnswerChunk]) -> Exception:
    async with aclosing(stream) as chunks:
        try:
            async for chunk in chunks:
                assert not chunk.HasField("heartbeat"), "a sign of life, with nothing to come"
                assert not chunk.HasField("answer"), "the end, with something missing before it"
        except ServiceError as failure:
            return failure
    raise AssertionError("it ended well")


async def test_a_reader_behind_the_tail_when_the_log_gives_up_without_a_copy_is_sent_for_a_snapshot() -> None:
    answer_log, finish, unlogged = HookedLog(), anyio.Event(), anyio.Event()

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        for event in LONG:
            await wait_all_tasks_blocked()
            yield event
        await unlogged.wait()
        yield text("unlogged")
        await finish.wait()
        yield ended()

    chunks: list[AnswerChunk] = []
    late: list[AnswerChunk] = []
    services = Services(script)
    async with services.orchestrator(answer_log=answer_log) as orchestrator, anyio.create_task_group() as tasks:
        tasks.start_soon(answer_into, chunks, orchestrator, asking())
        with anyio.fail_after(WAIT_SECONDS):
            while sum(chunk.HasField("text") for chunk in chunks) < len(LONG):  # noqa: ASYNC110 (nothing tells of it)
                await anyio.sleep(0.005)
        answer_log.before_append = answer_log.before_read = failing(LogUnavailable("EIO"))
        unlogged.set()
        await wait_all_tasks_blocked()
        name = chunks[0].started.answer
        failure = await read_until_it_fails(
            orchestrator.resume_answer(ResumeAnswerRequest(name=name, after_sequence=1), ME)
        )
        tasks.start_soon(resume_into, late, orchestrator, name)
        await wait_all_tasks_blocked()
        finish.set()
    assert isinstance(failure, ServiceError)
    assert failure.reason is Reason.ANSWER_DIVERGED
    assert late[0].snapshot.text == chunks[-1].answer.text
    assert late[-1] == chunks[-1]


class LogWithoutFiles(HookedLog):
    """What is forgotten while it is read: its record was found, and its file is gone."""

    async def read(self, name: str, *, after: int, max_bytes: int = 1024 * 1024) -> Sequence[Entry]:
        try:
            return await super().read(name, after=after, max_bytes=max_bytes)
        except AnswerUnknown:
            return []


@pytest.mark.parametrize("kind", [HookedLog, LogWithoutFiles])
async def test_what_is_being_read_while_the_log_is_given_up_is_had_from_memory(kind: type[HookedLog]) -> None:
    answer_log, given_up = kind(), anyio.Event()
    journal = Journal(answer_log, await answer_log.begin(NewAnswer("answers/one", ME.tenant, b"", 0.0)))
    first, second = AnswerChunk(sequence=1, text=HELLO[0].text), AnswerChunk(sequence=2, text=HELLO[1].text)
    await journal.append([first])
    read: list[AnswerChunk] = []

    async def read_slowly() -> None:
        answer_log.before_read = until_set(given_up)
        read.extend(await journal.read(0))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_slowly)
        await wait_all_tasks_blocked()
        answer_log.before_read, answer_log.before_append = nothing, failing(LogFull("no room"))
        await journal.append([second])
        given_up.set()
    assert read == [first]


async def left_with_a_slow_reader(
    orchestrator: Orchestrator,
) -> tuple[str, AsyncGenerator[AnswerChunk]]:
    """An answer that another reader has read to its end, and one that has its first event alone."""
    slow = orchestrator.stream_answer(asking(on_disconnect=DISCONNECT_POLICY_CONTINUE), ME)
    name = (await anext(slow)).started.answer
    await resumed(orchestrator, name, 0)
    return name, slow


async def test_a_slow_reader_of_an_answer_that_is_deleted_hears_that_it_is_gone() -> None:
    async with Services(saying(*LONG, ended())).orchestrator() as orchestrator:
        name, slow = await left_with_a_slow_reader(orchestrator)
        await orchestrator.delete_answer(DeleteAnswerRequest(name=name), ME)
        assert isinstance(await read_until_it_fails(slow), ResourceNotFound)


async def test_a_slow_reader_of_a_log_that_cannot_be_read_is_to_come_back() -> None:
    answer_log = HookedLog()
    async with Services(saying(*LONG, ended())).orchestrator(answer_log=answer_log) as orchestrator:
        name, slow = await left_with_a_slow_reader(orchestrator)
        answer_log.before_read = failing(LogUnavailable("EIO"))
        replayed = orchestrator.resume_answer(ResumeAnswerRequest(name=name, after_sequence=0), ME)
        for stream in (slow, replayed):
            failure = await read_until_it_fails(stream)
            assert isinstance(failure, ServiceError)
            assert failure.reason is Reason.PROVIDER_UNAVAILABLE
            assert failure.retry_after


# Beginning, and beginning again.


async def test_an_answer_whose_request_cannot_be_read_ends_and_stops_no_other() -> None:
    answer_log = MemoryAnswerLog()
    await begun_in(answer_log, "answers/spoilt", b"\xff\xff")
    await begun_in(answer_log, "answers/good", asking(resume_window=duration(60)).SerializeToString())
    async with Services(saying(*HELLO)).orchestrator(answer_log=answer_log) as orchestrator:
        assert_rules(await resumed(orchestrator, "answers/good", 0))
        failure = await failure_of(resumed(orchestrator, "answers/spoilt", 0))
        assert isinstance(failure, RecordedFailure)
        assert "cannot be read" in failure.status.message
    assert await answer_log.unsealed() == []


async def test_a_caller_who_goes_away_leaves_the_answer_to_the_retry_that_waits_for_it() -> None:
    answer_log, recorded = HookedLog(), anyio.Event()
    answer_log.before_begin = until_set(recorded)
    retried: list[AnswerChunk] = []
    async with (
        Services(saying(*HELLO)).orchestrator(answer_log=answer_log) as orchestrator,
        anyio.create_task_group() as tasks,
    ):
        async with anyio.create_task_group() as first:
            first.start_soon(answer, orchestrator, asking(request_id=REQUEST_ID))
            await wait_all_tasks_blocked()
            tasks.start_soon(answer_into, retried, orchestrator, asking(request_id=REQUEST_ID))
            await wait_all_tasks_blocked()
            first.cancel_scope.cancel()
        recorded.set()
    assert assert_rules(retried).state == answer_pb2.ANSWER_STATE_SUCCEEDED


@pytest.mark.parametrize("others_prompt", ["why?", "something else"], ids=["same", "another"])
async def test_an_answer_for_which_nobody_waits_any_more_is_stopped(others_prompt: str) -> None:
    answer_log, recorded = HookedLog(), anyio.Event()
    answer_log.before_begin = until_set(recorded)
    services = Services(saying_then_hanging(text("a")))
    async with services.orchestrator(answer_log=answer_log) as orchestrator, anyio.create_task_group() as others:

        async def ask_another() -> None:
            failure = await failure_of(answer(orchestrator, asking(others_prompt, request_id=REQUEST_ID)))
            assert isinstance(failure, ServiceError)
            assert failure.reason is Reason.REQUEST_ID_REUSED

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer, orchestrator, asking(request_id=REQUEST_ID))
            await wait_all_tasks_blocked()
            if others_prompt == "why?":
                tasks.start_soon(answer, orchestrator, asking(request_id=REQUEST_ID))
            else:
                others.start_soon(ask_another)
            await wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        recorded.set()
        with anyio.fail_after(WAIT_SECONDS):
            await orchestrator.idle()


# Ends.


async def test_a_failure_that_is_overtaken_by_the_servers_stop_is_left_to_the_next_owner(log: list[EventDict]) -> None:
    answer_log, go_on, logged = HookedLog(), anyio.Semaphore(0), anyio.Event()
    answer_log.before_append = until_set(logged, kind="text")
    failures: list[Exception] = []

    async def read(orchestrator: Orchestrator) -> None:
        failures.append(await failure_of(answer(orchestrator, asking(resume_window=duration(60)))))

    services = Services(in_two_parts(go_on, KeyError("x")))
    async with services.orchestrator(answer_log=answer_log) as orchestrator, anyio.create_task_group() as tasks:
        tasks.start_soon(read, orchestrator)
        for _ in range(2):
            await wait_all_tasks_blocked()
            go_on.release()
        await wait_all_tasks_blocked()
        orchestrator.drain()
        logged.set()
    (failure,) = failures
    assert isinstance(failure, ServiceError)
    assert failure.reason is Reason.SERVER_DRAINING
    assert len(await answer_log.unsealed()) == 1
    assert [event["outcome"] for event in log if event["event"] == "answer.ended"] == ["DRAINED"]


async def test_a_search_that_ends_without_its_last_message_is_tried_again() -> None:
    left = [1, 1, 0]

    async def search(request: RetrieveRequest) -> AsyncGenerator[RetrieveResponse, None]:
        yield RetrieveResponse(sources=[source_pb2.Source(content="first")])
        if not left or left.pop(0) == 0:
            yield RetrieveResponse(statistics=source_pb2.RetrievalStatistics(candidates=1))

    async with Services(search=search).orchestrator() as orchestrator:
        assert [source.content for source in assert_rules(await answer(orchestrator, asking())).sources] == ["first"]
        left[:] = [1] * trying.TRIES
        assert isinstance(await failure_of(answer(orchestrator, asking())), ServiceUnreachable)
