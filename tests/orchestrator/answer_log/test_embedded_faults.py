from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog, Retention
from headwater_server.orchestrator.answer_log.files import AnswerFile, read_frames
from headwater_server.orchestrator.answer_log.frames import MAGIC, MAX_EVENT
from headwater_server.orchestrator.answer_log.protocol import EventsLost, Fenced, LogFull, LogUnavailable, NewAnswer
from headwater_server.orchestrator.answer_log.table import AnswerTable
from tests.orchestrator.answer_log.conformance import FAILED, SUCCEEDED, logged, new_answer, new_tenant
from tests.orchestrator.full_disk import file_size_limit

pytestmark = pytest.mark.anyio


def answer_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.log"))


async def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    ended, running = new_answer(request_id="5d5b1a90-0000-4000-8000-000000000000"), new_answer()
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        writer = await answer_log.begin(ended)
        await writer.append([b"one", b"end"])
        await writer.seal(b"ending", state=SUCCEEDED, expires=None)
        await (await answer_log.begin(running)).append([b"half"])
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        assert await logged(answer_log, ended.name) == [b"one", b"end"]
        assert [record.name for record in await answer_log.unsealed()] == [running.name]
        taken = await answer_log.claim(running.name)
        assert (taken.epoch, taken.last_sequence) == (2, 1)
        await taken.append([b"whole"])
        assert await logged(answer_log, running.name) == [b"half", b"whole"]


async def test_a_file_that_a_loss_of_power_left_empty_is_put_aside_and_its_answer_can_be_ended(tmp_path: Path) -> None:
    answer = new_answer()
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        await (await answer_log.begin(answer)).append([b"event"])
    (file,) = answer_files(tmp_path)
    file.write_bytes(bytes(len(file.read_bytes())))
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        taken = await answer_log.claim(answer.name)
        assert (taken.epoch, taken.last_sequence) == (2, 0)
        await taken.seal(b"lost", state=FAILED, expires=None)
        assert await logged(answer_log, answer.name) == []
        assert (damaged := file.with_suffix(".damaged")).exists()
        await answer_log.delete(answer.name)
        assert not damaged.exists(), "nothing is left of it"


async def test_an_answer_that_finds_no_room_at_its_beginning_does_not_hold_its_request_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise LogFull("no room")

    answer = new_answer(request_id="5d5b1a90-0000-4000-8000-000000000000")
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        with monkeypatch.context() as patched:
            patched.setattr(AnswerFile, "create", full)
            patched.setattr(AnswerTable, "delete", full)
            with pytest.raises(LogFull):
                await answer_log.begin(answer)
        assert await answer_log.find_request(answer.tenant, answer.request_id) is None
        await answer_log.begin(new_answer(tenant=answer.tenant, request_id=answer.request_id))


def write_until_killed(folder: str, name: str, acknowledged: str) -> None:
    """Logs events, and notes each once it is acknowledged; for a process of its own."""

    async def write() -> None:
        async with EmbeddedAnswerLog.open(Path(folder)) as answer_log:
            writer = await answer_log.begin(NewAnswer(name, "tenant", b"asked", 1.0))
            for number in range(1_000_000):
                await writer.append([b"event %d" % number])
                notes.write(b"%d\n" % number)

    with Path(acknowledged).open("ab", buffering=0) as notes:
        anyio.run(write)


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    name = new_answer().name
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=write_until_killed, args=(str(tmp_path / "log"), name, str(notes)))
    process.start()
    while not (notes.exists() and notes.stat().st_size > 2_000):
        assert process.is_alive()
        await anyio.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    count = len(notes.read_bytes().splitlines())
    async with EmbeddedAnswerLog.open(tmp_path / "log") as answer_log:
        taken = await answer_log.claim(name)
        assert taken.last_sequence >= count
        events = await logged(answer_log, name)
        assert events == [b"event %d" % number for number in range(len(events))]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8),
    keep=st.floats(0, 1),
    tail=st.binary(max_size=40),
)
def test_a_torn_tail_is_cut_off_and_the_next_owner_writes_after_what_is_whole(
    tmp_path: Path, events: list[bytes], keep: float, tail: bytes
) -> None:
    path = tmp_path / "a.log"
    file = AnswerFile.create(path, epoch=1)
    file.append(events)
    file.close()
    content = path.read_bytes()
    cut = len(MAGIC) + int(keep * (len(content) - len(MAGIC)))
    path.write_bytes(content[:cut] + tail)
    next_owner = AnswerFile.take_over(path, epoch=2)
    whole = next_owner.last_sequence
    assert whole <= len(events) or cut == len(content)
    next_owner.append([b"more"])
    next_owner.close()
    assert [frame.entry.event for frame in read_frames(path)] == [*events[:whole], b"more"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8), data=st.data())
def test_a_flipped_bit_ends_the_reading_and_never_changes_an_event(
    tmp_path: Path, events: list[bytes], data: st.DataObject
) -> None:
    path = tmp_path / "a.log"
    file = AnswerFile.create(path, epoch=1)
    file.append(events)
    file.close()
    content = bytearray(path.read_bytes())
    bit = data.draw(st.integers(8 * len(MAGIC), 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    frames = read_frames(path)
    assert len(frames) < len(events)
    assert [frame.entry.event for frame in frames] == events[: len(frames)]


@pytest.mark.parametrize("length", range(len(MAGIC)))
def test_a_file_cut_off_before_its_first_event_has_none_and_is_taken_over(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.log"
    AnswerFile.create(path, epoch=1).close()
    path.write_bytes(MAGIC[:length])
    assert read_frames(path) == []
    next_owner = AnswerFile.take_over(path, epoch=2)
    next_owner.append([b"first"])
    next_owner.close()
    assert [frame.entry.event for frame in read_frames(path)] == [b"first"]


async def test_damaged_events_of_an_ended_answer_are_lost_aloud_and_its_ending_is_not(tmp_path: Path) -> None:
    answer = new_answer()
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        writer = await answer_log.begin(answer)
        await writer.append([b"one", b"two"])
        await writer.seal(b"ending", state=SUCCEEDED, expires=None)
        (path,) = answer_files(tmp_path)
        path.write_bytes(path.read_bytes()[:-1])
        assert [entry.event for entry in await answer_log.read(answer.name, after=0)] == [b"one"]
        with pytest.raises(EventsLost):
            await answer_log.read(answer.name, after=1)
        path.unlink()
        with pytest.raises(EventsLost):
            await answer_log.read(answer.name, after=0)
        record = await answer_log.find(answer.name)
        assert record is not None
        assert record.ending == b"ending"


async def test_a_frozen_owner_of_another_process_is_refused_when_it_thaws(tmp_path: Path) -> None:
    answer = new_answer()
    async with EmbeddedAnswerLog.open(tmp_path) as frozen:
        writer = await frozen.begin(answer)
        await writer.append([b"one"])
        async with EmbeddedAnswerLog.open(tmp_path) as living:  # two owners of a folder, as after a lost lock
            taken = await living.claim(answer.name)
            with pytest.raises(Fenced):
                await writer.append([b"of a ghost"])
            with pytest.raises(Fenced):
                await writer.seal(b"of a ghost", state=FAILED, expires=None)
            await taken.append([b"two"])
            assert await logged(living, answer.name) == [b"one", b"two"]


def test_a_take_over_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    file = AnswerFile.create(path, epoch=1)
    file.append([b"one"])
    file.close()
    path.rename(path.with_suffix(".taken"))  # as far as the first step
    path.with_suffix(".partial").write_bytes(MAGIC + b"torn")
    again = AnswerFile.take_over(path, epoch=3)
    again.close()
    assert [frame.entry.event for frame in read_frames(path)] == [b"one"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.log"]


async def test_a_full_disk_refuses_whole_events_and_the_log_goes_on_when_there_is_room(tmp_path: Path) -> None:
    answer = new_answer()
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        writer = await answer_log.begin(answer)
        await writer.append([b"one"])
        with file_size_limit(200), pytest.raises(LogFull):
            await writer.append([b"x" * 50, b"y" * 1000])
        assert writer.last_sequence == 1
        await writer.append([b"two"])
        assert await logged(answer_log, answer.name) == [b"one", b"two"]


async def test_an_answer_for_which_there_is_no_room_was_never_begun(tmp_path: Path) -> None:
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        answer = new_answer()
        with file_size_limit(0), pytest.raises(LogFull):
            await answer_log.begin(answer)
        assert await answer_log.find(answer.name) is None
        (await answer_log.begin(answer)).close()


async def test_who_finds_no_room_to_take_an_answer_over_was_not_an_owner_of_it(tmp_path: Path) -> None:
    answer = new_answer()
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        writer = await answer_log.begin(answer)
        await writer.append([b"x" * 500_000])
        writer.close()
        for _ in range(3):
            with file_size_limit(400_000), pytest.raises(LogFull):
                await answer_log.claim(answer.name)
        taken = await answer_log.claim(answer.name)
        assert (taken.epoch, taken.last_sequence) == (2, 1)
        await taken.append([b"two"])
        assert await logged(answer_log, answer.name) == [b"x" * 500_000, b"two"]


async def test_an_event_on_its_way_to_the_disk_is_not_logged_yet_and_is_logged_once_however_often_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = new_answer()
    begun, go_on = threading.Event(), threading.Event()
    sync = AnswerFile.sync

    def slow(file: AnswerFile) -> None:
        begun.set()
        assert go_on.wait(30)
        sync(file)

    async with EmbeddedAnswerLog.open(tmp_path, sync=True) as answer_log:
        writer = await answer_log.begin(answer)
        monkeypatch.setattr(AnswerFile, "sync", slow)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writer.append, [b"one"])
            await anyio.to_thread.run_sync(begun.wait, 30)
            tasks.cancel_scope.cancel()
        assert writer.last_sequence == 0
        go_on.set()
        await writer.append([b"one", b"two"])
        assert writer.last_sequence == 2
        assert await logged(answer_log, answer.name) == [b"one", b"two"]


async def test_expired_answers_are_forgotten_and_their_files_with_them(tmp_path: Path) -> None:
    async with EmbeddedAnswerLog.open(tmp_path, retention=Retention(interval=0.01)) as answer_log:
        expired, kept, running = new_answer(), new_answer(), new_answer()
        for answer, expires in ((expired, time.time() - 1), (kept, time.time() + 1000)):
            writer = await answer_log.begin(answer)
            await writer.append([b"end"])
            await writer.seal(b"ending", state=SUCCEEDED, expires=expires)
        await answer_log.begin(running)
        with anyio.fail_after(30):
            while await answer_log.find(expired.name):  # noqa: ASYNC110 (the log tells nobody what it forgets)
                await anyio.sleep(0.01)
        assert await logged(answer_log, kept.name) == [b"end"]
        assert await answer_log.find(running.name) is not None
        assert len(answer_files(tmp_path)) == 2


async def test_where_more_is_kept_than_allowed_what_ended_first_goes_first(tmp_path: Path) -> None:
    tenant = new_tenant()
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        answers = [new_answer(tenant=tenant) for _ in range(5)]
        for answer in answers:
            writer = await answer_log.begin(answer)
            await writer.append([b"x" * 1000])
            await writer.seal(b"ending", state=SUCCEEDED, expires=None)
    async with EmbeddedAnswerLog.open(tmp_path, retention=Retention(max_bytes=2500, interval=0.01)) as answer_log:
        with anyio.fail_after(30):
            while len(await answer_log.list_answers(tenant, limit=10)) > 2:  # noqa: ASYNC110 (see above)
                await anyio.sleep(0.01)
        kept = {record.name for record in await answer_log.list_answers(tenant, limit=10)}
    assert kept == {answer.name for answer in answers[3:]}


async def test_an_event_that_no_message_could_carry_is_refused(tmp_path: Path) -> None:
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        writer = await answer_log.begin(new_answer())
        with pytest.raises(ValueError, match="bytes"):
            await writer.append([b"x" * (MAX_EVENT + 1)])
        with pytest.raises(ValueError, match="bytes"):
            await writer.append([b"fine", b""])
        assert writer.last_sequence == 0


async def test_a_log_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    async with EmbeddedAnswerLog.open(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "answers.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LogUnavailable, match="newer"):
        async with EmbeddedAnswerLog.open(tmp_path):
            pytest.fail("it cannot be opened")


async def test_a_closed_log_says_that_it_is_closed(tmp_path: Path) -> None:
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log:
        answer = new_answer()
        await answer_log.begin(answer)
    with pytest.raises(LogUnavailable, match="closed"):
        await answer_log.find(answer.name)
    with pytest.raises(LogUnavailable, match="closed"):
        await answer_log.wait(answer.name, after=0)
