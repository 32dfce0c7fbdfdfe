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
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults.answers import driver, scenarios, zombies
from tests.faults.answers.chaos import KINDS
from tests.faults.answers.deployment import ONE, THREE
from tests.faults.answers.life import BrokenPromise
from tests.faults.figures import FIGURES, record, record_failure

NOTICED_S = 3.0
"""Within which a frozen peer must be noticed, in seconds. The run in `make test` has no such limit: it measures nothing
on a machine that does other things at the same time."""


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

    async def rolling(folder: Path, *, goes_on: bool) -> dict[str, Any]:
        return await scenarios.rolling(
            lengths.restarts, streams=lengths.streams, seed=seed, folder=folder, goes_on=goes_on
        )

    async def frozen(folder: Path) -> dict[str, Any]:
        return in_time(await scenarios.frozen(lengths.frozen, seed=seed, folder=folder))

    async def awakened(folder: Path) -> dict[str, Any]:
        return {"rounds": lengths.zombies, "events": await zombies.run(lengths.zombies, seed=seed, folder=folder)}

    return {
        "storm, one process": lambda folder: storm(ONE, folder),
        "storm, three processes": lambda folder: storm(THREE, folder),
        "races": lambda folder: scenarios.races(lengths.races, seed=seed, folder=folder),
        "rolling restarts": lambda folder: rolling(folder, goes_on=True),
        "rolling restarts, no going on": lambda folder: rolling(folder, goes_on=False),
        "frozen peers": frozen,
        "awakened owners": awakened,
    }


def in_time(noticed: Mapping[str, float]) -> dict[str, float]:
    """The same, where every frozen peer was noticed in time.

    Raises:
        BrokenPromise: One was not.
    """
    late = {name: seconds for name, seconds in noticed.items() if name.endswith("longest") and seconds > NOTICED_S}
    if late:
        raise BrokenPromise(f"noticed after more than {NOTICED_S:g} s: {late}")
    return dict(noticed)


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
    chosen = {name: run for name, run in scenarios_of(lengths, seed).items() if arguments.only in name}
    sys.exit(min(run_all(chosen, seed=seed, figures=FIGURES), 1))


def run_all(chosen: Mapping[str, Scenario], *, seed: int, figures: Path) -> int:
    """Runs scenarios, each to its own end, and writes down what came of each; returns how many have failed."""
    failed = 0
    for name, scenario in chosen.items():
        _say(f"{name}, seed {seed}")
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            try:
                report = asyncio.run(_awaited(scenario, Path(folder)))
            except Exception as error:  # whatever it is, the others run, and what was found before holds no more
                failed += 1
                _say(str(error) if isinstance(error, BrokenPromise) else traceback.format_exc())
                record_failure(name, str(error) or repr(error), seed=seed, path=figures)
            else:
                _say(json.dumps(report))
                record(name, report, seed=seed, path=figures)
    return failed


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


async def _awaited(scenario: Scenario, folder: Path) -> dict[str, Any]:
    return dict(await scenario(folder))


if __name__ == "__main__":
    main()
