"""An owner of answers who knows nothing of being frozen: a process of its own, told on standard input what to write.

For each name it reads it begins an answer in the log of a folder, writes to it without a pause until it is refused, and
says how much had been acknowledged: `NAME fenced after N`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from headwater.v1 import answer_pb2
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from headwater_server.orchestrator.answer_log.protocol import Fenced, NewAnswer

MOST_EVENTS = 20_000


def event(name: str, number: int) -> bytes:
    """What it writes."""
    return f"{name} {number} ".encode() * 8


async def main(folder: Path) -> None:
    """Serves until its input ends."""
    async with EmbeddedAnswerLog.open(folder) as answer_log:
        while name := (await anyio.to_thread.run_sync(sys.stdin.readline)).strip():
            writer = await answer_log.begin(NewAnswer(name=name, tenant="local", request=b"asked", created=1.0))
            sys.stdout.write(f"{name} begun\n")
            sys.stdout.flush()
            acknowledged = 0
            try:
                while acknowledged < MOST_EVENTS:
                    await writer.append([event(name, acknowledged + 1)])
                    acknowledged += 1
                    await anyio.sleep(0.0002)
                await writer.seal(b"mine", state=answer_pb2.ANSWER_STATE_SUCCEEDED, expires=None)
                sys.stdout.write(f"{name} sealed after {acknowledged}\n")
            except Fenced:
                sys.stdout.write(f"{name} fenced after {acknowledged}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
