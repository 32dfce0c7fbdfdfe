"""What a message of a stream costs in each of several fronts: gRPC servers that say the same answers, in one run.

    python -m venv .venv-fronts
    .venv-fronts/bin/pip install google-crc32c uvloop grpcio grpclib h2 hpack hypercorn connectrpc
    .venv-fronts/bin/pip install benchmarks/fronts/rust         # wants cargo; some minutes

    python -m benchmarks.fronts --python .venv-fronts/bin/python              64 streams of 100 tokens, 3 rounds
    python -m benchmarks.fronts --python .venv-fronts/bin/python --streams 1000 --tokens 40
    python -m benchmarks.fronts --only grpc.aio own-frames      only these, on the Python that runs it

Every front serves `StreamAnswer` and nothing else. Its chunks come serialized from an asyncio generator that paces 16
bytes each 20 ms, 50 ms to the first (`answers.py`); "tonic, alone" and the yardstick, grpc-go, make them themselves.
The load is that of `benchmarks.relay`, in Go: four connections, and each stream is checked to its end.
A front whose packages are missing is left out; Headwater's own runs on the Python that runs the comparison.

CPU is user and system time of the server's process, for each token; "pacing alone" has no front, and no network. Each
measurement has a new process, which has warmed up; memory is by how much it grew at most, for each stream. Late is a
token's time from when it was due to its arrival. All figures are medians of the rounds, in which the fronts take turns.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.figures import Run
from benchmarks.fronts.variants import MODULES, VARIANTS, YARDSTICK, Variant
from benchmarks.relay.processes import Server, server, settle
from scripts.benchmarks_docs import FRONTS

ROOT = Path(__file__).resolve().parents[2]
BINARIES = ROOT / "benchmarks/results/bin"
_WARM_UP = {"streams": 16, "tokens": 10, "spread": "200ms"}
_LOAD_SECONDS = 120
_FIGURES = ("cpu_us_a_token", "first_p50", "first_p99", "token_p50", "token_p99", "memory_a_stream", "seconds")


class LoadFailed(Exception):
    """The load did not run."""


@dataclass(frozen=True)
class Measurement:
    """One variant in one round. Times in milliseconds, CPU in microseconds, memory in KiB."""

    cpu_us_a_token: float
    first_p50: float
    first_p99: float
    token_p50: float
    token_p99: float
    memory_a_stream: float
    seconds: float
    streams: int
    right: int
    problems: Sequence[str]


def main() -> int:
    options = _options()
    if shutil.which("go") is None:
        print("fronts: left out, there is no go command here")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the servers as Ctrl-C does
    try:
        rounds = measure(options)
    except KeyboardInterrupt:
        return 130
    except (LoadFailed, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"fronts: {error}", file=sys.stderr)
        return 1
    begin = "all at once" if options.at_once else "within a second"
    print(
        f"{options.streams} streams over {options.connections} connections that begin {begin}, {options.tokens} tokens "
        f"each, 50 ms to the first, then one each 20 ms; medians of {options.rounds} round(s)\n"
    )
    print(table(rounds))
    run = Run("benchmarks.fronts", sys.argv[1:])
    for row in rows(rounds):
        run.add(row)
    run.keep(options.keep)
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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fronts", description="Compare fronts.")
    parser.add_argument("--python", default=sys.executable, help="the Python of the environment with the fronts")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=100, help="tokens a stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", action="store_true", help="begin all streams at once, not within a second")
    parser.add_argument("--connections", type=int, default=4, help="over how many connections the load opens them")
    parser.add_argument("--only", nargs="+", choices=sorted({variant.front for variant in VARIANTS}), help="only these")
    parser.add_argument("--output", type=Path, help="a JSON file for what every round measured")
    figures.add_option(parser)
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict[str, list[Measurement]]:
    """Builds what is in Go, and measures the variants in turns."""
    BINARIES.mkdir(parents=True, exist_ok=True)
    for folder, name in (("relay", f"{BINARIES}/"), ("fronts", f"{BINARIES}/front")):
        subprocess.run(["go", "build", "-o", name, "./..."], cwd=ROOT / f"benchmarks/{folder}/go", check=True)
    variants = [
        variant
        for variant in VARIANTS
        if (not options.only or variant.front in options.only) and is_there(variant, options.python)
    ]
    asked = {
        "streams": options.streams,
        "tokens": options.tokens,
        "connections": options.connections,
        "spread": "0s" if options.at_once else "1s",
        "limit": f"{_LOAD_SECONDS}s",
    }
    rounds: dict[str, list[Measurement]] = {variant.name: [] for variant in variants}
    with tempfile.TemporaryDirectory(prefix="headwater-fronts-") as folder:
        for number in range(options.rounds):
            for variant in variants[number % len(variants) :] + variants[: number % len(variants)]:
                with server(variant.command(options.python, BINARIES), cwd=ROOT, log=Path(folder) / "log") as running:
                    rounds[variant.name].append(_measured(variant, running, {**asked, "seed": number}))
    return rounds


def is_there(variant: Variant, python: str) -> bool:
    wanted = [*MODULES.get(variant.front, ()), *(["uvloop"] if variant.uvloop else [])]
    found = subprocess.run(
        [python, "-c", "".join(f"import {name}\n" for name in wanted)], check=False, stderr=subprocess.DEVNULL
    )
    if found.returncode:
        print(f"{variant.name}: left out, {python} has not all of {', '.join(wanted)}", file=sys.stderr)
    return not found.returncode


def _measured(variant: Variant, running: Server, asked: Mapping[str, object]) -> Measurement:
    ask = _consume if variant.front == "pacing" else load
    ask(running, _WARM_UP)
    settle(running)
    cpu, resident, began = cpu_seconds(running), memory_kib(running, "VmRSS"), time.monotonic()
    forget_peak(running)
    found = ask(running, asked)
    cpu = cpu_seconds(running) - cpu
    return Measurement(
        cpu_us_a_token=1_000_000 * cpu / max(1, found["tokens"]),
        first_p50=found["first_p50_ms"],
        first_p99=found["first_p99_ms"],
        token_p50=found["token_p50_ms"],
        token_p99=found["token_p99_ms"],
        memory_a_stream=(memory_kib(running, "VmHWM") - resident) / found["streams"],
        seconds=time.monotonic() - began,
        streams=found["streams"],
        right=found["right"],
        problems=found["problems"],
    )


def cpu_seconds(running: Server) -> float:
    """User and system time of a process so far, from the clock that Linux has for each, which is finer than /proc."""
    return time.clock_gettime(~running.pid << 3 | 2)


def memory_kib(running: Server, name: str) -> int:
    lines = Path(f"/proc/{running.pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def forget_peak(running: Server) -> None:
    """Makes VmHWM begin anew."""
    Path(f"/proc/{running.pid}/clear_refs").write_text("5", encoding="utf-8")


def load(running: Server, asked: Mapping[str, object]) -> dict[str, Any]:
    flags = [f"-{name}={value}" for name, value in asked.items()]
    command = [str(BINARIES / "load"), f"-target={running.address}", f"-model=fake/paced-{asked['tokens']}", *flags]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        raise LoadFailed(done.stderr.strip()[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _consume(running: Server, asked: Mapping[str, object]) -> dict[str, Any]:
    """Has answers made that nobody gets."""
    host, _, port = running.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=_LOAD_SECONDS) as connection:
        connection.sendall(f"{asked['streams']} {asked['tokens']}\n".encode())
        if connection.recv(16) != b"done\n":
            raise LoadFailed("the answers were not made")
    streams, tokens = int(str(asked["streams"])), int(str(asked["tokens"]))
    nothing = dict.fromkeys(("first_p50_ms", "first_p99_ms", "token_p50_ms", "token_p99_ms"), float("nan"))
    return {"streams": streams, "tokens": streams * tokens, "right": streams, "problems": [], **nothing}


def table(rounds: Mapping[str, Sequence[Measurement]]) -> str:
    """The medians as a table in Markdown."""
    return "\n".join([FRONTS.heading(), *map(FRONTS.lines, rows(rounds))]) + "\n"


def rows(rounds: Mapping[str, Sequence[Measurement]]) -> list[dict[str, object]]:
    """The medians of each front, as figures are kept."""
    go = rounds.get(YARDSTICK)
    found = []
    for name, measured in rounds.items():
        cpu = [one.cpu_us_a_token for one in measured]
        row: dict[str, object] = {figure: _median(measured, figure) for figure in _FIGURES}
        row |= {"front": name, "lowest_cpu": min(cpu), "highest_cpu": max(cpu), "rounds": len(cpu)}
        row["ratio"] = statistics.median(cpu) / statistics.median(one.cpu_us_a_token for one in go) if go else None
        found.append(row)
    return found


def _median(measured: Sequence[Measurement], name: str) -> float | None:
    """The median of one of the figures; None where there is none."""
    values: list[float] = [getattr(one, name) for one in measured]
    return None if math.isnan(values[0]) else statistics.median(values)
