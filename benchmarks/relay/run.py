"""What relaying a model's stream costs: Headwater against a Go relay and others, in one run.

    python -m benchmarks.relay                          64 streams of 200 tokens that begin within a second, 3 rounds
    python -m benchmarks.relay --streams 1000 --at-once
    python -m benchmarks.relay --burst                  an upstream that is faster than any relay

The upstream (in Go) says tokens of 16 bytes: the first after 50 ms, then one each 20 ms, or, in a burst, all at once.
The load (in Go) opens the streams over four connections, or over one each where a server speaks HTTP/1.1, and checks
each to its end: every token, and what the server has that says that it is the end. With gRPC that is the order, the
offsets, and the terminal message with its CRC. The servers run side by side, each a process of its own, and take turns.

FastAPI and LiteLLM want an environment of their own: see `peers`. Where it is missing they are left out.

CPU is user and system time of the server and its children (/proc), for each token of the upstream; "first" is the time
to the first token over the upstream's own 50 ms, "token" the time of a token from leaving the upstream to its arrival.
All figures are medians of the rounds; × is the ratio to the Go relay that was asked the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import figures
from benchmarks.figures import Run
from benchmarks.relay import peers
from benchmarks.relay.stage import BINARIES, Load, LoadFailed, Measurement, Stage, staged
from benchmarks.relay.variants import SERVERS, VARIANTS, YARDSTICK, Variant, commands
from scripts.benchmarks_docs import RELAYS

Rounds = Mapping[str, Sequence[Measurement]]
"""What each variant brought in each round."""

_FIGURES = (
    "cpu_us_a_token",
    "messages_a_token",
    "first_p50",
    "first_p99",
    "token_p50",
    "token_p99",
    "memory",
    "memory_with_children",
)


def main() -> int:
    options = _options()
    if shutil.which("go") is None:
        print("relay: left out, there is no go command here")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the servers as Ctrl-C does
    load = Load(
        streams=options.streams,
        tokens=options.tokens,
        pace="burst" if options.burst else "paced",
        at_once=options.at_once,
        connections=options.connections,
    )
    missing = set(peers.PEERS) - set(peers.available(options.peers))
    variants = [each for each in VARIANTS if each.server not in missing and each.server in (options.only or SERVERS)]
    starts = commands(BINARIES, streams=load.streams, peers=options.peers)
    try:
        with staged({each.server: starts[each.server] for each in variants}) as stage:
            stage.warm_up(variants)
            rounds = measure(stage, variants, load, rounds=options.rounds)
    except KeyboardInterrupt:
        return 130
    except (LoadFailed, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"relay: {error}", file=sys.stderr)
        return 1
    run = Run("benchmarks.relay", sys.argv[1:])
    for row in rows(rounds):
        run.add(row)
    run.keep(options.keep)
    print(f"{described(load)}; medians of {options.rounds} round(s)\n\n{table(rounds)}")
    if options.output:
        document = {name: [asdict(one) for one in measured] for name, measured in rounds.items()}
        options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    wrong = wrongs(rounds)
    print("\n".join(wrong) or "Every stream came to its end, and that was right.")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay", description="Measure relays.")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=200, help="tokens a stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--burst", action="store_true", help="the upstream does not pause")
    parser.add_argument("--at-once", action="store_true", help="begin all streams at once, not within a second")
    parser.add_argument("--connections", type=int, default=4, help="over how many connections the load opens them")
    parser.add_argument("--only", nargs="+", choices=SERVERS, help="only these servers")
    parser.add_argument("--output", type=Path, help="a JSON file for what every round measured")
    peers.add_option(parser)
    figures.add_option(parser)
    return parser.parse_args()


def measure(stage: Stage, variants: Sequence[Variant], load: Load, *, rounds: int) -> dict[str, list[Measurement]]:
    """Measures the variants in turns, each round beginning with another."""
    measured: dict[str, list[Measurement]] = {variant.name: [] for variant in variants}
    for number in range(rounds):
        first = number % len(variants)
        for variant in [*variants[first:], *variants[:first]]:
            measured[variant.name].append(stage.measure(variant, replace(load, seed=number)))
    return measured


def wrongs(rounds: Rounds) -> list[str]:
    """What was not right, a line for each variant and round."""
    return [
        f"{name}: {one.streams - one.right} of {one.streams} streams wrong: {'; '.join(one.problems)}"
        for name, measured in rounds.items()
        for one in measured
        if one.right != one.streams
    ]


def described(load: Load) -> str:
    """What is asked, in words."""
    pace = "as fast as they are read" if load.pace == "burst" else "50 ms to the first, then one each 20 ms"
    begin = "all at once" if load.at_once else "within a second"
    streams = f"{load.streams} streams over {load.connections} connections that begin {begin}"
    return f"{streams}, {load.tokens} tokens each, {pace}"


def table(rounds: Rounds) -> str:
    """The medians as a table in Markdown."""
    return "\n".join([RELAYS.heading(), *map(RELAYS.lines, rows(rounds))]) + "\n"


def rows(rounds: Rounds) -> list[dict[str, object]]:
    """The medians of each variant, as figures are kept."""
    yardsticks = {variant.sources: variant.name for variant in VARIANTS if variant.server == YARDSTICK}
    found: list[dict[str, object]] = []
    for variant in VARIANTS:
        if variant.name not in rounds:
            continue
        measured = rounds[variant.name]
        cpu = [one.cpu_us_a_token for one in measured]
        go = rounds.get(yardsticks[variant.sources])
        row: dict[str, object] = {name: median(measured, name) for name in _FIGURES}
        row |= {"variant": variant.name, "lowest_cpu": min(cpu), "highest_cpu": max(cpu), "rounds": len(cpu)}
        row["ratio"] = statistics.median(cpu) / median(go, "cpu_us_a_token") if go else None
        found.append(row)
    return found


def median(measured: Sequence[Measurement], name: str) -> float:
    """The median of one of the figures."""
    values: list[float] = [getattr(one, name) for one in measured]
    return statistics.median(values)
