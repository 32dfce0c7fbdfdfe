"""Runs all that answers must survive, at length, and keeps what came of it: `python -m tests.faults.answers.long`.

The figures go to benchmarks/answers_faults.json, and from there into docs/faults.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.answers import driver, scenarios, zombies
from tests.faults.answers.chaos import KINDS
from tests.faults.answers.deployment import ONE, THREE
from tests.faults.answers.life import BrokenPromise

FIGURES = Path(__file__).resolve().parents[3] / "benchmarks" / "answers_faults.json"


@dataclass(frozen=True, slots=True)
class Lengths:
    """How much of each."""

    answers: int
    """In storms, half of them in each arrangement."""
    races: int
    restarts: int
    streams: int
    frozen: int
    zombies: int


LONG = Lengths(answers=10_000, races=1_000, restarts=20, streams=200, frozen=20, zombies=2_000)

Scenario = Callable[[Path], Awaitable[dict[str, Any]]]


def scenarios_of(lengths: Lengths, seed: int) -> dict[str, Scenario]:
    """What is run, by name."""

    async def storm(arrangement: str, folder: Path) -> dict[str, Any]:
        faults = (*KINDS, "provider", "cancel")
        wanted = driver.Run(arrangement=arrangement, answers=lengths.answers // 2, seed=seed, faults=faults, at_once=32)
        return asdict(await driver.run(wanted, folder))

    async def awakened(folder: Path) -> dict[str, Any]:
        return {"rounds": lengths.zombies, "events": await zombies.run(lengths.zombies, seed=seed, folder=folder)}

    return {
        "storm, one process": lambda folder: storm(ONE, folder),
        "storm, three processes": lambda folder: storm(THREE, folder),
        "races": lambda folder: scenarios.races(lengths.races, seed=seed, folder=folder),
        "rolling restarts": lambda folder: scenarios.rolling(
            lengths.restarts, streams=lengths.streams, seed=seed, folder=folder
        ),
        "frozen peers": lambda folder: scenarios.frozen(lengths.frozen, seed=seed, folder=folder),
        "awakened owners": awakened,
    }


def main() -> None:
    """Runs as the command line says; exits with 1 where something was not as it must be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in asdict(LONG).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=None, help="by default a random one, which is printed")
    parser.add_argument("--only", default="", help="a part of the names of the scenarios to run; the others stay")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    lengths = Lengths(**{name: getattr(arguments, name) for name in asdict(LONG)})
    figures: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    failed = False
    for name, scenario in scenarios_of(lengths, seed).items():
        if arguments.only not in name:
            continue
        sys.stdout.write(f"{name}, seed {seed}\n")
        sys.stdout.flush()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            try:
                report = asyncio.run(_awaited(scenario, Path(folder)))
            except BrokenPromise as broken:
                sys.stdout.write(f"{broken}\n")
                failed = True
                continue
        sys.stdout.write(f"{json.dumps(report)}\n")
        figures[name] = {"seed": seed, "date": datetime.now(UTC).date().isoformat(), **report}
        FIGURES.write_text(json.dumps(figures, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    sys.exit(failed)


async def _awaited(scenario: Scenario, folder: Path) -> dict[str, Any]:
    return dict(await scenario(folder))


if __name__ == "__main__":
    main()
