"""Malformed input in earnest: `python -m tests.malformed --calls 100000 --parsers 1000000`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import anyio

from tests.malformed import attack, parsers
from tests.malformed.attacked import Attacked

_ROUND = 20_000
"""After how many malformed calls the odd frames and the floods have their turn."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.malformed", description=__doc__)
    parser.add_argument("--calls", type=int, default=0, help="how many malformed calls to make")
    parser.add_argument("--parsers", type=int, default=0, help="how many inputs to give to parsers")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)  # noqa: T201 (a program that prints)
    damage = attack.Damage()
    start = time.monotonic()
    if arguments.calls:
        with tempfile.TemporaryDirectory() as folder, attack.under_watch(Path(folder), damage) as server:
            anyio.run(_attack, server, arguments.calls, arguments.seed, damage)
    if arguments.parsers:
        parsers.run(arguments.parsers, seed=arguments.seed, damage=damage)
    print(*damage.seen, f"{time.monotonic() - start:.0f} s", sep="\n")  # noqa: T201
    print(*damage.wrong[:100], sep="\n", file=sys.stderr)  # noqa: T201
    return 1 if damage.wrong else 0


async def _attack(server: Attacked, calls: int, seed: int, damage: attack.Damage) -> None:
    for number, begin in enumerate(range(0, calls, _ROUND)):
        await attack.odd_frames(server, seed=seed + number, damage=damage)
        await attack.floods(server, 2_000, damage=damage)
        await attack.malformed_calls(server, min(_ROUND, calls - begin), seed=seed + number, damage=damage)


if __name__ == "__main__":
    sys.exit(main())
