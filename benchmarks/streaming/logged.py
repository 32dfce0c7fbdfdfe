"""What it costs to log each event before it is sent."""

from __future__ import annotations

import asyncio
from statistics import median

from benchmarks.answer_log import appending
from benchmarks.streaming.targets import Found, Outcome, Target

LATENCY = Target("log before send: added latency of an event, p50", "µs", 100, 45)
CPU = Target("log before send: CPU of an event", "µs", 10, 4)

_NONE, _MEMORY, _FILES = "no log", "memory", "files"


def events(*, rounds: int) -> Outcome:
    """64 answers at once, each with an event every 20 ms, as `benchmarks.answer_log` has them."""
    answers, count = 64, 200
    kinds = (_NONE, _MEMORY, _FILES)
    cpu: dict[str, list[float]] = {kind: [] for kind in kinds}
    latency: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            seconds, latencies = asyncio.run(appending(kind, answers=answers, events=count))
            cpu[kind].append(seconds / (answers * count) * 1e6)
            latency[kind].append(median(latencies) * 1e6)
    cost = {kind: median(values) - median(cpu[_NONE]) for kind, values in cpu.items()}
    wait = {kind: median(values) - median(latency[_NONE]) for kind, values in latency.items()}
    return Outcome(
        [
            Found(LATENCY, wait[_FILES], {"kept in memory": wait[_MEMORY]}),
            Found(CPU, cost[_FILES], {"kept in memory": cost[_MEMORY]}),
        ]
    )
