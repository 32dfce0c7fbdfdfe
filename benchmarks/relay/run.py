"""What relaying a model's stream costs: Headwater against a Go relay and a naive Python relay, in one run.

    python -m benchmarks.relay                          64 streams of 200 tokens that begin within a second, 3 rounds
    python -m benchmarks.relay --streams 1000 --at-once
    python -m benchmarks.relay --burst                  an upstream that is faster than any relay

The upstream (in Go) says tokens of 16 bytes: the first after 50 ms, then one each 20 ms, or, in a burst, all at once.
The load (in Go) opens the streams over four connections, and checks each to its end: order, offsets, every token, and
the terminal message with its CRC. The servers run side by side, each a process of its own, and take turns.

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
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.relay.processes import Server, server, settle
from benchmarks.relay.variants import VARIANTS, YARDSTICK, Variant, commands

ROOT = Path(__file__).resolve().parents[2]
BINARIES = ROOT / "benchmarks/results/bin"
_WARM_UP = {"streams": 16, "tokens": 20, "spread": "200ms"}


class LoadFailed(Exception):
    """The load did not run."""


@dataclass(frozen=True)
class Measurement:
    """One variant in one round. Times in milliseconds, CPU in microseconds, memory in MiB."""

    cpu_us_a_token: float
    messages_a_token: float
    first_p50: float
    first_p99: float
    token_p50: float
    token_p99: float
    memory: float
    memory_with_children: float
    streams: int
    right: int
    problems: Sequence[str]


def main() -> int:
    options = _options()
    if shutil.which("go") is None:
        print("relay: left out, there is no go command here")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the servers as Ctrl-C does
    try:
        rounds = measure(options)
    except KeyboardInterrupt:
        return 130
    except (LoadFailed, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"relay: {error}", file=sys.stderr)
        return 1
    print(described(options))
    print(table(rounds))
    if options.output:
        document = {name: [asdict(one) for one in measured] for name, measured in rounds.items()}
        options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    wrong = [
        f"{name}: {one.streams - one.right} of {one.streams} streams wrong: {'; '.join(one.problems)}"
        for name, measured in rounds.items()
        for one in measured
        if one.right != one.streams
    ]
    print("\n".join(wrong) or "Every stream ended with its terminal message, and that was right.")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay", description="Measure relays.")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=200, help="tokens a stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--burst", action="store_true", help="the upstream does not pause")
    parser.add_argument("--at-once", action="store_true", help="begin all streams at once, not within a second")
    parser.add_argument("--connections", type=int, default=4, help="over how many connections the load opens them")
    parser.add_argument("--only", nargs="+", choices=["go", "naive", "headwater"], help="only these servers")
    parser.add_argument("--output", type=Path, help="a JSON file for what every round measured")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict[str, list[Measurement]]:
    """Builds and starts everything, and measures the variants in turns."""
    BINARIES.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-o", f"{BINARIES}/", "./..."], cwd=ROOT / "benchmarks/relay/go", check=True)
    variants = [variant for variant in VARIANTS if not options.only or variant.server in options.only]
    pace = "burst" if options.burst else "paced"
    asked = {
        "streams": options.streams,
        "tokens": options.tokens,
        "connections": options.connections,
        "spread": "0s" if options.at_once else "1s",
        "first-token": "0s" if options.burst else "50ms",
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headwater-relay-")))
        servers = _start(variants, folder, stack, streams=options.streams)
        for running in servers.values():
            _load(running, pace, _WARM_UP)
            settle(running)
        rounds: dict[str, list[Measurement]] = {variant.name: [] for variant in variants}
        for number in range(options.rounds):
            for variant in variants[number % len(variants) :] + variants[: number % len(variants)]:
                asked_now = {**asked, "sources": variant.sources, "seed": number}
                rounds[variant.name].append(_measured(servers[variant.server], pace, asked_now))
        return rounds


def _start(variants: Sequence[Variant], folder: Path, stack: ExitStack, *, streams: int) -> dict[str, Server]:
    upstream = stack.enter_context(server([str(BINARIES / "upstream")], cwd=ROOT, log=folder / "upstream.log"))
    ways = commands(BINARIES, streams=streams)
    started = {}
    for name in dict.fromkeys(variant.server for variant in variants):
        own = folder / name
        own.mkdir()
        command = ways[name](f"http://{upstream.address}/v1", own)
        started[name] = stack.enter_context(server(command, cwd=ROOT, log=own / "log"))
    return started


def _measured(running: Server, pace: str, asked: Mapping[str, object]) -> Measurement:
    before = running.cpu_seconds()
    found = _load(running, pace, asked)
    cpu = running.cpu_seconds() - before
    memory, with_children = running.memory_mib()
    tokens = max(1, found["tokens"])
    return Measurement(
        cpu_us_a_token=1_000_000 * cpu / tokens,
        messages_a_token=found["messages"] / tokens,
        first_p50=found["first_p50_ms"],
        first_p99=found["first_p99_ms"],
        token_p50=found["token_p50_ms"],
        token_p99=found["token_p99_ms"],
        memory=memory,
        memory_with_children=with_children,
        streams=found["streams"],
        right=found["right"],
        problems=found["problems"],
    )


def _load(running: Server, pace: str, asked: Mapping[str, object]) -> dict[str, Any]:
    flags = [f"-{name}={value}" for name, value in asked.items()]
    model = f"-model=fake/{pace}-{asked['tokens']}"
    done = subprocess.run(
        [str(BINARIES / "load"), f"-target={running.address}", model, *flags],
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode:
        raise LoadFailed(done.stderr.strip()[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def described(options: argparse.Namespace) -> str:
    pace = "as fast as they are read" if options.burst else "50 ms to the first, then one each 20 ms"
    begin = "all at once" if options.at_once else "within a second"
    return (
        f"{options.streams} streams over {options.connections} connections that begin {begin}, "
        f"{options.tokens} tokens each, {pace}; "
        f"medians of {options.rounds} round(s)\n"
    )


def table(rounds: Mapping[str, Sequence[Measurement]]) -> str:
    """The medians as a table in Markdown."""
    yardsticks = {variant.sources: variant.name for variant in VARIANTS if variant.server == YARDSTICK}
    heads = ("", "CPU µs a token (range)", "× Go relay", "messages a token", "first p50 / p99 ms", "token p50 / p99 ms")
    lines = [f"| {' | '.join(heads)} | MiB (with children) |", "|---" * (len(heads) + 1) + "|"]
    for variant in VARIANTS:
        if variant.name not in rounds:
            continue
        measured = rounds[variant.name]
        cpu = [one.cpu_us_a_token for one in measured]
        go = rounds.get(yardsticks[variant.sources], [])
        ratio = f"{statistics.median(cpu) / _median(go, 'cpu_us_a_token'):.2f}" if go else "–"
        lines.append(
            f"| {variant.name} | {statistics.median(cpu):.1f} ({min(cpu):.1f}–{max(cpu):.1f}) | {ratio} "
            f"| {_median(measured, 'messages_a_token'):.2f} "
            f"| {_median(measured, 'first_p50'):.1f} / {_median(measured, 'first_p99'):.1f} "
            f"| {_median(measured, 'token_p50'):.1f} / {_median(measured, 'token_p99'):.1f} "
            f"| {_median(measured, 'memory'):.0f} ({_median(measured, 'memory_with_children'):.0f}) |"
        )
    return "\n".join(lines) + "\n"


def _median(measured: Sequence[Measurement], name: str) -> float:
    values: list[float] = [getattr(one, name) for one in measured]
    return statistics.median(values)
