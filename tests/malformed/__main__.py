"""Malformed input in earnest: `python -m tests.malformed --calls 100000 --parsers 1000000`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from tests.faults.figures import record, record_failure
from tests.malformed import attack, parsers
from tests.malformed.attacked import Attacked

CALLS, PARSERS = "malformed calls", "malformed input of parsers"
"""The names of the figures."""
_ROUND = 20_000
"""After how many malformed calls the odd frames and the floods have their turn."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.malformed", description=__doc__)
    parser.add_argument("--calls", type=int, default=0, help="how many malformed calls to make")
    parser.add_argument("--parsers", type=int, default=0, help="how many inputs to give to parsers")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--no-figures", action="store_true", help="leave benchmarks/answers_faults.json as it is")
    arguments = parser.parse_args()
    seed, keep = arguments.seed, not arguments.no_figures
    print(f"seed {seed}", flush=True)  # noqa: T201 (a program that prints)
    wrong = 0
    if arguments.calls:
        wrong += _run(CALLS, lambda damage: _make_calls(arguments.calls, seed, damage), seed=seed, keep=keep)
    if arguments.parsers:
        wrong += _run(PARSERS, lambda damage: _give_inputs(arguments.parsers, seed, damage), seed=seed, keep=keep)
    return 1 if wrong else 0


def _run(name: str, work: Callable[[attack.Damage], dict[str, Any]], *, seed: int, keep: bool) -> int:
    """Does one half, tells what came of it, writes it down; returns how much was wrong."""
    damage = attack.Damage()
    start = time.monotonic()
    try:
        found = work(damage)
    except Exception as error:  # the other half runs, and what was found before holds no more
        damage.wrong.append(f"{name}: {error!r}")
        found = {}
    print(*damage.seen, f"{time.monotonic() - start:.0f} s", sep="\n", flush=True)  # noqa: T201
    print(*damage.wrong[:100], sep="\n", file=sys.stderr)  # noqa: T201
    if keep and damage.wrong:
        record_failure(name, f"{len(damage.wrong)} wrong, such as: {damage.wrong[0]}", seed=seed)
    elif keep:
        record(name, found, seed=seed)
    return len(damage.wrong)


def _make_calls(count: int, seed: int, damage: attack.Damage) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, attack.under_watch(Path(folder), damage) as server:
        anyio.run(_attack, server, count, seed, damage)
    return {**damage.counted, "outcomes": dict(sorted(damage.outcomes.items()))}


def _give_inputs(count: int, seed: int, damage: attack.Damage) -> dict[str, Any]:
    parsers.run(count, seed=seed, damage=damage)
    return {**damage.counted, "parsers": len(parsers.PARSERS)}


async def _attack(server: Attacked, calls: int, seed: int, damage: attack.Damage) -> None:
    for number, begin in enumerate(range(0, calls, _ROUND)):
        await attack.odd_frames(server, seed=seed + number, damage=damage)
        await attack.floods(server, 2_000, damage=damage)
        await attack.malformed_calls(server, min(_ROUND, calls - begin), seed=seed + number, damage=damage)


if __name__ == "__main__":
    sys.exit(main())
