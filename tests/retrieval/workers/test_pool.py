from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

from headwater_server.retrieval.workers.errors import (
    TaskRaised,
    WorkerDied,
    WorkerHung,
    WorkerOutOfMemory,
    WorkerUnavailable,
)
from headwater_server.retrieval.workers.limits import WorkerLimits
from headwater_server.retrieval.workers.pool import WorkerPool
from tests.retrieval.workers import tasks

ROOT = Path(__file__).resolve().parents[3]

LIMITS = WorkerLimits(memory_bytes=400_000_000, open_files=32, niceness=7)


@pytest.fixture
async def pool() -> AsyncGenerator[WorkerPool]:
    async with WorkerPool.open(tasks.behave, size=1, limits=LIMITS) as opened:
        yield opened


async def run(
    pool: WorkerPool, request: Any, *, silence: float = 60, total: float = 60, file: Path | None = None
) -> list[Any]:
    pieces: list[Any] = []
    await pool.run(request, file=file, receive=into(pieces), silence_seconds=silence, total_seconds=total)
    return pieces


def into(pieces: list[Any]) -> Callable[[bytes], None]:
    """Puts the pieces of a result where they are looked at."""
    return lambda data: pieces.append(json.loads(data))


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def has_ended(process: int) -> bool:
    """Whether a child is dead, without taking its exit code from who waits for that."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110 (of another process; nothing tells us)
            await anyio.sleep(0.01)


@pytest.mark.anyio
async def test_the_pieces_of_a_result_come_in_order(pool: WorkerPool) -> None:
    assert await run(pool, ("echo", 1, "two", [3.0])) == [1, "two", [3.0]]
    assert await run(pool, ("echo",)) == []


@pytest.mark.anyio
async def test_a_large_piece_arrives_whole(pool: WorkerPool) -> None:
    assert await run(pool, ("echo", "x" * 30_000_000)) == ["x" * 30_000_000]


@pytest.mark.anyio
async def test_workers_are_started_when_they_are_needed_and_used_again() -> None:
    async with WorkerPool.open(tasks.Counting(), size=2, limits=LIMITS) as pool:
        assert pool.idle_workers == 0
        first = await run(pool, "a")
        second = await run(pool, "b")
        assert pool.idle_workers == 1
    assert [first[0], second[0]] == [1, 2]
    assert first[1] == second[1]
    assert not is_alive(first[1])


@pytest.mark.anyio
async def test_jobs_share_as_many_workers_as_there_may_be() -> None:
    processes: set[int] = set()

    async def job(pool: WorkerPool) -> None:
        processes.add((await run(pool, None))[1])

    async with WorkerPool.open(tasks.Counting(), size=2, limits=LIMITS) as pool:
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(job, pool)
        assert pool.idle_workers == 2
    assert len(processes) == 2


@pytest.mark.anyio
async def test_a_task_that_raises_costs_its_job_and_not_the_worker(pool: WorkerPool) -> None:
    pieces: list[Any] = []
    with pytest.raises(TaskRaised) as raised:
        await pool.run("raise", receive=into(pieces), silence_seconds=60, total_seconds=60)
    assert pieces == ["begun"]
    assert raised.value.kind == "KeyError"
    assert "secret" not in str(raised.value)
    assert "secret" in raised.value.traceback
    assert pool.idle_workers == 1
    assert await run(pool, ("echo", 1)) == [1]


@pytest.mark.parametrize(
    ("request_", "words"), [("segfault", "SIGSEGV"), ("exit", "exit code 3"), ("killed", "SIGKILL")]
)
@pytest.mark.anyio
async def test_a_worker_that_dies_costs_its_job_and_not_the_pool(pool: WorkerPool, request_: str, words: str) -> None:
    with pytest.raises(WorkerDied, match=words):
        await run(pool, request_)
    assert await run(pool, ("echo", 1)) == [1]


@pytest.mark.anyio
async def test_a_worker_that_died_while_it_was_idle_is_replaced() -> None:
    async with WorkerPool.open(tasks.Counting(), size=1, limits=LIMITS) as pool:
        process = (await run(pool, None))[1]
        os.kill(process, signal.SIGKILL)
        await until(lambda: has_ended(process))
        assert (await run(pool, None))[0] == 1


@pytest.mark.anyio
async def test_a_worker_that_is_silent_too_long_is_killed(pool: WorkerPool) -> None:
    pieces: list[int] = []
    with pytest.raises(WorkerHung):
        await pool.run("hang", receive=into(pieces), silence_seconds=1, total_seconds=60)
    assert not is_alive(pieces[0])
    assert await run(pool, ("echo", 1)) == [1]


@pytest.mark.anyio
async def test_a_worker_that_gives_signs_of_life_is_killed_when_it_takes_too_long_in_all(pool: WorkerPool) -> None:
    with pytest.raises(WorkerHung):
        await run(pool, ("slow", 0.05), silence=30, total=1)


@pytest.mark.anyio
async def test_a_frozen_worker_is_killed(pool: WorkerPool) -> None:
    pieces: list[int] = []

    def freeze(data: bytes) -> None:
        pieces.append(json.loads(data))
        os.kill(pieces[0], signal.SIGSTOP)

    with pytest.raises(WorkerHung):
        await pool.run("hang", receive=freeze, silence_seconds=1, total_seconds=60)
    assert not is_alive(pieces[0])


@pytest.mark.anyio
async def test_a_job_that_needs_too_much_memory_costs_its_worker(pool: WorkerPool) -> None:
    pieces: list[int] = []
    with pytest.raises(WorkerOutOfMemory):
        await pool.run("gluttony", receive=into(pieces), silence_seconds=60, total_seconds=60)
    assert 0 < len(pieces) < 40
    assert await run(pool, ("echo", 1)) == [1]


@pytest.mark.anyio
async def test_a_job_cannot_open_more_files_than_it_may(pool: WorkerPool) -> None:
    with pytest.raises(TaskRaised) as raised:
        await run(pool, "files")
    assert raised.value.kind == "OSError"


@pytest.mark.anyio
async def test_workers_limit_themselves(pool: WorkerPool) -> None:
    (limits,) = await run(pool, "limits")
    own_niceness = os.nice(0)
    expected = min(19, own_niceness + 7)
    assert limits == {"niceness": expected, "memory": 400_000_000, "files": 32, "sigint": True, "session": True}


@pytest.mark.anyio
async def test_a_result_that_cannot_be_sent_costs_its_job(pool: WorkerPool) -> None:
    with pytest.raises(TaskRaised):
        await run(pool, "unspeakable")
    assert await run(pool, ("echo", 1)) == [1]


@pytest.mark.anyio
async def test_a_cancelled_job_kills_its_worker_and_frees_its_place(pool: WorkerPool) -> None:
    pieces: list[int] = []
    async with anyio.create_task_group() as group:

        async def hang() -> None:
            await pool.run("hang", receive=into(pieces), silence_seconds=60, total_seconds=60)

        group.start_soon(hang)
        await until(lambda: bool(pieces))
        group.cancel_scope.cancel()
    assert not is_alive(pieces[0])
    assert (pool.idle_workers, pool.busy_workers) == (0, 0)
    assert await run(pool, ("echo", 1)) == [1]


@pytest.mark.anyio
async def test_an_idle_worker_is_ended() -> None:
    async with WorkerPool.open(tasks.Counting(), size=1, limits=LIMITS, idle_seconds=0.05) as pool:
        process = (await run(pool, None))[1]
        await until(lambda: not is_alive(process))
        assert pool.idle_workers == 0
        assert (await run(pool, None))[0] == 1


@pytest.mark.anyio
async def test_a_worker_that_cannot_be_set_up_is_not_the_jobs_fault() -> None:
    async with WorkerPool.open(tasks.BrokenSetup(), size=1, limits=LIMITS) as pool:
        with pytest.raises(WorkerUnavailable, match="exit code 7"):
            await run(pool, None)


PARENT = """
import sys, anyio
from headwater_server.retrieval.workers.limits import WorkerLimits
from headwater_server.retrieval.workers.pool import WorkerPool
from tests.retrieval.workers import tasks

def say(process):
    print("worker", process.decode(), flush=True)

async def main():
    async with WorkerPool.open(tasks.behave, size=1, limits=WorkerLimits()) as pool:
        await pool.run("hang", receive=say, silence_seconds=60, total_seconds=60)

anyio.run(main)
"""


def test_workers_end_with_a_parent_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        worker = next(int(line.split()[1]) for line in parent.stdout if line.startswith("worker "))
        assert is_alive(worker)
        parent.kill()
    anyio.run(until, lambda: not is_alive(worker))


@pytest.mark.anyio
async def test_a_job_is_given_its_file_to_read(pool: WorkerPool, tmp_path: Path) -> None:
    (tmp_path / "document").write_text("thirty days of leave")
    assert await run(pool, "read", file=tmp_path / "document") == ["thirty days of leave"]
    with pytest.raises(FileNotFoundError):
        await run(pool, "read", file=tmp_path / "missing")
    assert await run(pool, ("echo", 1)) == [1]


@pytest.mark.parametrize("request_", ["gibberish", "tirade"])
@pytest.mark.anyio
async def test_a_worker_that_cannot_be_understood_is_ended(pool: WorkerPool, request_: str) -> None:
    with pytest.raises(WorkerDied):
        await run(pool, request_, silence=60)
    assert await run(pool, ("echo", 1)) == [1]


@pytest.mark.anyio
async def test_what_a_worker_says_is_never_run(pool: WorkerPool) -> None:
    pieces: list[bytes] = []
    with pytest.raises(WorkerHung):
        await pool.run("pickle", receive=pieces.append, silence_seconds=2, total_seconds=60)
    assert b"_exit" in pieces[0]


@pytest.mark.anyio
async def test_the_last_words_of_a_worker_go_to_the_log(pool: WorkerPool) -> None:
    with structlog.testing.capture_logs() as logs, pytest.raises(WorkerDied, match="exit code 4"):
        await run(pool, "chatter")
    assert [entry["said"] for entry in logs if "said" in entry] == ["last words of the worker"]


@pytest.mark.anyio
async def test_a_worker_is_not_told_the_keys_of_the_service(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("HEADWATER_TOKENS__ACME", "canary")
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "1")  # as whoever loads ONNX Runtime in the service sets it
    (environment,) = await run(pool, "environment")
    assert "PATH" in environment
    assert "canary" not in str(environment)
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"


def test_a_pool_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        WorkerPool(tasks.behave, size=0, limits=LIMITS)
