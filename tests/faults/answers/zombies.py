"""Owners that are frozen in the middle of writing, whose answers another takes, and who then wake up."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from tests.faults.answers.life import BrokenPromise
from tests.faults.answers.owner import MOST_EVENTS, event

_WAIT_S = 60


async def run(rounds: int, *, seed: int, folder: Path) -> int:
    """Freezes an owner, takes its answer, wakes it; returns how many events its logs had in all.

    Args:
        rounds: How often.
        seed: Decides when the owner is frozen, and for how long.
        folder: For the log; empty.

    Raises:
        BrokenPromise: An event of the earlier owner was lost, or one was read that it wrote afterwards.
    """
    chance = random.Random(f"{seed}/zombies")  # noqa: S311 (chooses what to do)
    events = 0
    command = (sys.executable, "-m", "tests.faults.answers.owner", str(folder))
    owner = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    try:
        async with EmbeddedAnswerLog.open(folder) as answer_log:
            for _ in range(rounds):
                events += await _round(owner, answer_log, chance)
    finally:
        owner.send_signal(signal.SIGCONT)
        owner.kill()
        await owner.wait()
    return events


async def _round(owner: Process, answer_log: EmbeddedAnswerLog, chance: random.Random) -> int:
    name = f"answers/{uuid.UUID(int=chance.getrandbits(128)).hex}"
    await _tell(owner, name)
    await _hear(owner, f"{name} begun")
    await asyncio.sleep(chance.uniform(0, 0.05))
    os.kill(owner.pid, signal.SIGSTOP)
    writer = await answer_log.claim(name)
    theirs = writer.last_sequence
    mine = [b"ours %d" % number for number in range(chance.randrange(1, 5))]
    awake = chance.random() < 0.5
    if awake:  # it writes while the other does
        os.kill(owner.pid, signal.SIGCONT)
    for each in mine:
        await writer.append([each])
    if not awake:
        os.kill(owner.pid, signal.SIGCONT)
    said = (await _hear(owner, name)).split()
    if said[1] != "fenced":
        raise BrokenPromise(f"{name}: an owner that was taken for dead could go on: {said}")
    kept = [entry.event for entry in await answer_log.read(name, after=0, max_bytes=1 << 30)]
    if kept != [event(name, number) for number in range(1, theirs + 1)] + mine:
        raise BrokenPromise(f"{name}: {len(kept)} events are kept, not the {theirs} there were and the {len(mine)} new")
    if not theirs - 1 <= int(said[3]) <= theirs:
        raise BrokenPromise(f"{name}: {said[3]} events were acknowledged, and {theirs} are kept")
    await writer.append([b"last"])
    writer.close()
    return theirs


async def _tell(owner: Process, line: str) -> None:
    assert owner.stdin is not None
    owner.stdin.write(f"{line}\n".encode())
    await owner.stdin.drain()


async def _hear(owner: Process, expected: str) -> str:
    assert owner.stdout is not None
    line = (await asyncio.wait_for(owner.stdout.readline(), _WAIT_S)).decode().strip()
    if not line.startswith(expected):
        raise BrokenPromise(f"the owner said {line!r}, and {expected!r} was due (at most {MOST_EVENTS} events)")
    return line
