"""Runs answers through faults: `python -m tests.faults.answers --answers 1000 --arrangement one --seed 7`."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.faults.answers import driver, scenarios, zombies
from tests.faults.answers.chaos import KINDS
from tests.faults.answers.deployment import ONE, PROCESSES, THREE
from tests.faults.answers.life import BrokenPromise

_ALL = (*KINDS, "provider", "cancel")
_SCENARIOS = ("storm", "races", "rolling", "frozen", "zombies")


def main() -> None:
    """Runs as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", choices=_SCENARIOS, default="storm")
    parser.add_argument("--answers", type=int, default=1000, help="how many answers, of a storm")
    parser.add_argument("--arrangement", choices=(ONE, THREE, PROCESSES), default=ONE, help="of a storm")
    parser.add_argument("--faults", default=",".join(_ALL), help="of a storm: some of " + ", ".join(_ALL))
    parser.add_argument("--at-once", type=int, default=24, help="how many answers of a storm, or streams, run at once")
    parser.add_argument("--rounds", type=int, default=20, help="how often, in every other scenario")
    parser.add_argument("--no-going-on", action="store_true", help="of rolling: with an assistant that cannot go on")
    parser.add_argument("--seed", type=int, default=None, help="by default a random one, which is printed")
    parser.add_argument("--keep", type=Path, default=None, help="an empty folder for the servers' data and logs")
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(10**6)
    sys.stdout.write(f"seed {arguments.seed}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        try:
            report = asyncio.run(_run(arguments, arguments.keep or Path(temporary)))
        except BrokenPromise as broken:
            sys.exit(f"{broken}")
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


async def _run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    rounds, seed = arguments.rounds, arguments.seed
    match arguments.scenario:
        case "races":
            return dict(await scenarios.races(rounds, seed=seed, folder=folder))
        case "rolling":
            goes_on, streams = not arguments.no_going_on, arguments.at_once
            return await scenarios.rolling(rounds, streams=streams, seed=seed, folder=folder, goes_on=goes_on)
        case "frozen":
            return dict(await scenarios.frozen(rounds, seed=seed, folder=folder))
        case "zombies":
            return {"rounds": rounds, "events": await zombies.run(rounds, seed=seed, folder=folder)}
    wanted = driver.Run(
        arrangement=arguments.arrangement,
        answers=arguments.answers,
        seed=seed,
        faults=arguments.faults.split(","),
        at_once=arguments.at_once,
    )
    return asdict(await driver.run(wanted, folder))


if __name__ == "__main__":
    main()
