"""A folder of answers that several processes share."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest

from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog, Retention
from headwater_server.orchestrator.answer_log.owners import Owners
from headwater_server.orchestrator.answer_log.protocol import AnswerRecord, Fenced, LogUnavailable, RequestIdTaken
from headwater_server.orchestrator.answer_log.table import AnswerTable
from tests.orchestrator.answer_log.conformance import SUCCEEDED, logged, new_answer

pytestmark = pytest.mark.anyio

_JOIN = """
import sys, time, pathlib
from headwater_server.orchestrator.answer_log.owners import Owners
with Owners.joined(pathlib.Path(sys.argv[1]), target="unix:/nowhere") as owners:
    print(owners.me, owners.leads(), flush=True)
    time.sleep(600)
"""


def test_who_cannot_tell_takes_nobody_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with Owners.joined(tmp_path, target="a") as other, Owners.joined(tmp_path, target="b") as mine:
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", exhausted)
            assert mine.is_alive(other.me)
            assert mine.dead() == set()
            patched.setattr(os, "listdir", exhausted)
            with pytest.raises(LogUnavailable):
                mine.living()
        assert mine.living() == {mine.me, other.me}
    assert not other.is_alive("nobody")


async def test_answers_of_several_that_died_are_inherited_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [new_answer(), new_answer()]
    for answer in answers:
        async with sharing(tmp_path) as (answer_log, _):
            await (await answer_log.begin(answer)).append([b"event"])
    inherit, calls = AnswerTable.inherit, 0

    def fails_once(table: AnswerTable, owner: str, *, heir: str) -> list[AnswerRecord]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise LogUnavailable("database is locked")
        return inherit(table, owner, heir=heir)

    monkeypatch.setattr(AnswerTable, "inherit", fails_once)
    async with sharing(tmp_path) as (answer_log, _):
        with pytest.raises(LogUnavailable):
            await answer_log.orphans()
        assert {record.name for record in await answer_log.orphans()} == {answer.name for answer in answers}


@asynccontextmanager
async def sharing(
    folder: Path, *, retention: Retention | None = None
) -> AsyncIterator[tuple[EmbeddedAnswerLog, Owners]]:
    """One of the processes that share a folder: a lock does not mind that they are one."""
    with Owners.joined(folder / "owners", target="unix:/nowhere") as owners:
        async with EmbeddedAnswerLog.open(folder, owners=owners, retention=retention) as answer_log:
            yield answer_log, owners


def test_a_process_that_was_killed_is_dead_at_once_and_one_that_is_frozen_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _JOIN, str(tmp_path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other,
        Owners.joined(tmp_path, target="t") as mine,
    ):
        assert other.stdout is not None
        name, leads = other.stdout.readline().split()
        assert leads == "True"
        assert not mine.leads()
        assert mine.target(name) == "unix:/nowhere"
        assert mine.living() == {name, mine.me}
        os.kill(other.pid, signal.SIGSTOP)
        assert mine.is_alive(name)
        other.kill()
        other.wait()
        assert mine.dead() == {name}
        assert mine.living() == {mine.me}
        assert mine.leads()
        mine.forget(name)
        assert mine.dead() == set()
    with Owners.joined(tmp_path, target="t") as next_one:
        assert next_one.dead() == {mine.me}


async def test_of_many_that_begin_with_one_request_id_in_several_processes_one_does(tmp_path: Path) -> None:
    async with sharing(tmp_path) as (first, _), sharing(tmp_path) as (second, _):
        begun: list[str] = []
        taken: list[str] = []

        async def begin(answer_log: EmbeddedAnswerLog, request_id: str) -> None:
            try:
                writer = await answer_log.begin(new_answer(request_id=request_id))
                begun.append(writer.name)
            except RequestIdTaken as error:
                taken.append(error.record.name)

        for _ in range(10):
            begun.clear()
            taken.clear()
            request_id = str(uuid.uuid4())
            async with anyio.create_task_group() as tasks:
                for number in range(10):
                    tasks.start_soon(begin, (first, second)[number % 2], request_id)
            assert len(begun) == 1
            assert set(taken) == set(begun)


async def test_what_one_process_has_logged_all_can_read_and_none_but_it_can_write(tmp_path: Path) -> None:
    async with sharing(tmp_path) as (first, mine), sharing(tmp_path) as (second, _):
        answer = new_answer()
        writer = await first.begin(answer)
        await writer.append([b"one", b"two"])
        assert await logged(second, answer.name) == [b"one", b"two"]
        record = await second.find(answer.name)
        assert record is not None
        assert (record.owner, record.ending) == (mine.me, b"")
        assert await second.unsealed() == []
        assert await second.orphans() == []
        await writer.seal(b"ended", state=SUCCEEDED, expires=None)
        record = await second.find(answer.name)
        assert record is not None
        assert record.ending == b"ended"


async def test_the_answers_of_one_that_has_gone_go_to_one_of_the_others_each(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        heirs = [(await stack.enter_async_context(sharing(tmp_path)))[0] for _ in range(3)]
        async with sharing(tmp_path) as (gone, _):
            names = []
            for number in range(20):
                writer = await gone.begin(answer := new_answer())
                await writer.append([str(number).encode()])
                names.append(answer.name)
        kept = await heirs[0].begin(new_answer())
        shares: list[list[str]] = []

        async def inherit(heir: EmbeddedAnswerLog) -> None:
            shares.append([record.name for record in await heir.unsealed()])

        async with anyio.create_task_group() as tasks:
            for heir in heirs:
                tasks.start_soon(inherit, heir)
        assert sorted(name for share in shares for name in share) == sorted(names)
        assert kept.name not in names
        record = await heirs[1].find(names[0])
        assert record is not None
        writer = await heirs[1].claim(names[0])
        assert (writer.epoch, writer.last_sequence) == (2, 1)


async def test_orphans_are_found_without_a_look_at_the_table_where_nobody_died(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _JOIN, str(tmp_path / "owners")]
    async with sharing(tmp_path) as (mine, owners):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:  # noqa: ASYNC220 (nothing else runs)
            assert other.stdout is not None
            name = other.stdout.readline().split()[0]
            answer = new_answer()
            await (await mine.begin(answer)).append([b"one"])
            await mine.use_table(lambda answers: answers.inherit(owners.me, heir=name))
            assert await mine.orphans() == []
            other.kill()
            other.wait()
        (record,) = await mine.orphans()
        assert (record.name, record.owner) == (answer.name, owners.me)
        assert await mine.orphans() == []
        assert owners.dead() == set()


async def test_an_owner_whose_answer_was_taken_over_or_deleted_by_another_is_fenced(tmp_path: Path) -> None:
    async with sharing(tmp_path) as (first, _), sharing(tmp_path) as (second, _):
        taken, deleted = new_answer(), new_answer()
        writers = [await first.begin(taken), await first.begin(deleted)]
        for writer in writers:
            await writer.append([b"one"])
        await second.claim(taken.name)
        await second.delete(deleted.name)
        for writer in writers:
            with pytest.raises(Fenced):
                await writer.append([b"two"])


async def test_one_process_forgets_what_has_expired_and_when_it_dies_another_does(tmp_path: Path) -> None:
    quick = Retention(interval=0.01)
    async with sharing(tmp_path, retention=quick) as (second, owners):
        async with sharing(tmp_path, retention=quick) as (first, leader):
            assert [leader.leads(), owners.leads()].count(True) == 1
            await _expired(first)
        await _expired(second)


async def _expired(answer_log: EmbeddedAnswerLog) -> None:
    answer = new_answer()
    writer = await answer_log.begin(answer)
    await writer.seal(b"ended", state=SUCCEEDED, expires=time.time() - 1)
    with anyio.fail_after(30):
        while await answer_log.find(answer.name) is not None:  # noqa: ASYNC110 (it is forgotten by and by)
            await anyio.sleep(0.01)


async def test_a_folder_of_the_version_before_is_brought_up_to_date_and_its_answers_go_on(tmp_path: Path) -> None:
    answer = new_answer()
    async with EmbeddedAnswerLog.open(tmp_path) as alone:
        await (await alone.begin(answer)).append([b"one"])
    with closing(sqlite3.connect(tmp_path / "answers.sqlite3")) as connection:
        connection.execute("ALTER TABLE answers DROP COLUMN owner")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    async with sharing(tmp_path) as (shared, owners):
        (record,) = await shared.unsealed()
        assert (record.name, record.owner) == (answer.name, owners.me)
    async with EmbeddedAnswerLog.open(tmp_path) as alone:
        assert [record.name for record in await alone.unsealed()] == [answer.name]
