"""Whether relaying has become dearer than it was: Headwater against a naive relay, in one short run.

    python -m benchmarks.smoke            exits with 1 if a token costs far more than it did; under a minute
    python -m benchmarks.smoke --record   keeps what was measured as what it costs

CPU and not time is compared, as a ratio to a server that does the same with grpc.aio and httpx as they come, in rounds
that take turns; the least of each counts, because whatever else the machine does only adds to it. So a slow or busy
machine makes little difference, and neither does a new version of what both stand on. Compared are a token that comes
alone, and one of a burst, which costs little only as long as what waits is merged.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace

from benchmarks.figures import Run
from benchmarks.relay.peers import DEFAULT_PYTHON
from benchmarks.relay.stage import BINARIES, Load, LoadFailed, Measurement, staged
from benchmarks.relay.variants import VARIANTS, commands
from scripts.benchmarks_docs import FIGURES

RECORD = "smoke"
"""Under which name figures are kept."""
MARGIN = 1.6
"""How many times the recorded ratio is too much."""

LOADS = {
    "a token that comes alone": Load(streams=64, tokens=40),
    "a token of a burst": Load(streams=8, tokens=2000, pace="burst", at_once=True),
}
_SERVERS = ("naive", "headwater")
_SECONDS = 15.0
_LEAST_ROUNDS = 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.smoke", description="Notice what has become dearer.")
    parser.add_argument("--record", action="store_true", help="keep what was measured as what it costs")
    record = parser.parse_args().record
    if shutil.which("go") is None:
        print("bench-smoke: skipped, there is no go command here")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the servers as Ctrl-C does
    try:
        measured = measure()
    except KeyboardInterrupt:
        return 130
    except (LoadFailed, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"bench-smoke: {error}", file=sys.stderr)
        return 1
    if record:
        keep(measured)
    recorded = kept()
    for name, ratio in measured.items():
        print(f"bench-smoke: {name}: {ratio:.2f} of the naive relay's CPU, {recorded[name]:.2f} when it was recorded")
    problems = dearer(measured, recorded)
    for problem in problems:
        print(f"bench-smoke: {problem}", file=sys.stderr)
    return 1 if problems else 0


def measure() -> dict[str, float]:
    """The CPU of a token, as a ratio to that of the naive relay, for each load.

    Raises:
        LoadFailed: A stream was not right.
    """
    variants = [variant for variant in VARIANTS if variant.server in _SERVERS and not variant.sources]
    starts = commands(BINARIES, streams=max(load.streams for load in LOADS.values()), peers=DEFAULT_PYTHON)
    least: dict[tuple[str, str], float] = {}
    with staged({each.server: starts[each.server] for each in variants}) as stage:
        stage.warm_up(variants)
        end = time.monotonic() + _SECONDS
        number = 0
        while number < _LEAST_ROUNDS or time.monotonic() < end:
            for name, load in LOADS.items():
                for variant in variants:
                    cost = required(stage.measure(variant, replace(load, seed=number)), variant.name)
                    key = (name, variant.server)
                    least[key] = min(cost, least.get(key, cost))
            number += 1
    return {name: least[name, "headwater"] / least[name, "naive"] for name in LOADS}


def required(measurement: Measurement, name: str) -> float:
    """The CPU of a token.

    Raises:
        LoadFailed: A stream was not right.
    """
    if measurement.right != measurement.streams:
        wrong = measurement.streams - measurement.right
        raise LoadFailed(f"{name}: {wrong} of {measurement.streams} streams wrong: {'; '.join(measurement.problems)}")
    return measurement.cpu_us_a_token


def dearer(measured: Mapping[str, float], recorded: Mapping[str, float], *, margin: float = MARGIN) -> list[str]:
    """What costs more than `margin` times what is recorded, a line for each.

    Raises:
        ValueError: What was measured is not what is recorded.
    """
    if measured.keys() != recorded.keys():
        raise ValueError(f"{sorted(recorded)} are recorded, not {sorted(measured)}: record them anew")
    return [
        f"{name} costs {ratio:.2f} of the naive relay's CPU, more than {margin:g} times the recorded"
        f" {recorded[name]:.2f}; if it has to, record that with python -m benchmarks.smoke --record"
        for name, ratio in measured.items()
        if not ratio <= margin * recorded[name]
    ]


def keep(measured: Mapping[str, float]) -> None:
    """Records what was measured, for the next runs to be compared with."""
    run = Run("benchmarks.smoke", ["--record"])
    for name, ratio in measured.items():
        run.add({"what": name, "ratio": round(ratio, 3)})
    run.keep(RECORD)


def kept() -> dict[str, float]:
    """What is recorded."""
    run = json.loads((FIGURES / f"{RECORD}.json").read_text(encoding="utf-8"))
    return {row["what"]: row["ratio"] for row in run["rows"]}


if __name__ == "__main__":
    sys.exit(main())
