"""What a server does that is asked for ten times what it can carry.

    python -m benchmarks.overload
    python -m benchmarks.overload --front http2 --rates 40 80 120 --seconds 10
    python -m benchmarks.overload --keep       writes down what was found, for docs/faults.md

The load (in Go) asks for answers at random moments, whatever becomes of those it has asked for already: first at rising
rates, to find the peak of whole answers a second, then at ten times the rate of the peak. An answer counts if it came
to its end and every token of it was right. The upstream (in Go) says 150 tokens of 16 bytes, one each 20 ms.

Wanted: at ten times the load at least 90 % of the peak, and refusals within 10 ms that say when to try again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.relay.processes import Server, server, settle
from benchmarks.relay.stage import BINARIES, ROOT, build
from tests.faults.figures import record

TOKENS = 150
_ANSWER_SECONDS = TOKENS * 0.02
_REST_SECONDS = 3.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description="Ask for more than there is.")
    parser.add_argument("--front", choices=("grpc", "http2"), default="grpc", help="what takes the calls")
    parser.add_argument("--rates", type=float, nargs="+", default=[20, 40, 60, 80], help="answers a second")
    parser.add_argument("--seconds", type=float, default=6, help="for how long to ask at each rate")
    parser.add_argument("--times", type=float, default=10, help="how many times the peak's rate is too much")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which is asked")
    parser.add_argument("--keep", action="store_true", help="write down what was found, for docs/faults.md")
    options = parser.parse_args()
    if shutil.which("go") is None:
        print("overload: left out, there is no go command here")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the servers as Ctrl-C does
    try:
        rows = measure(options.front, options.rates, seconds=options.seconds, times=options.times, seed=options.seed)
    except KeyboardInterrupt:
        return 130
    print(table(rows))
    found = {"times": options.times, "load": os.getloadavg()[0], **summary(rows)}
    print(f"At {options.times:g} times the rate of the peak: {json.dumps(found)}")
    if options.keep:
        record(f"overload, front {options.front}", found, seed=options.seed)
    return 0


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What counts of the rows: the peak of the rising rates, and what was left of it at the last."""
    *rising, over = rows
    peak = max(row["goodput"] for row in rising)
    kept = ("goodput", "streams", "right", "refused", "refused_soon", "hinted", "refuse_p50_ms", "refuse_p99_ms")
    return {"peak": peak, **{name: over[name] for name in kept}}


def measure(front: str, rates: Sequence[float], *, seconds: float, times: float, seed: int) -> list[dict[str, Any]]:
    """Builds and starts everything, and asks at each rate, and last at `times` that of the peak."""
    build()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headwater-overload-")))
        upstream = stack.enter_context(server([str(BINARIES / "upstream")], cwd=ROOT, log=folder / "upstream.log"))
        config = folder / "headwater.toml"
        config.write_text(
            f'address = "127.0.0.1:0"\ndata_dir = {json.dumps(str(folder / "data"))}\n'
            f'front = "{front}"\n'
            f'[assistants.fake]\napi = "openai-chat"\nbase_url = "http://{upstream.address}/v1"\n',
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "headwater", "serve", "--config", str(config)]
        running = stack.enter_context(server(command, cwd=ROOT, log=folder / "log"))
        settle(running)
        asked(running, rate=5, seconds=2)  # a first time, for all that is made on first use
        rows = [asked(running, rate=rate, seconds=seconds, seed=seed) for rate in sorted(rates)]
        peak = max(rows, key=lambda row: row["goodput"])
        return [*rows, asked(running, rate=times * peak["rate"], seconds=seconds, seed=seed)]


def asked(running: Server, *, rate: float, seconds: float, seed: int = 0) -> dict[str, Any]:
    """Asks for answers at a rate for some seconds, and waits for the last to end."""
    streams, spread = round(rate * seconds), f"{seconds}s"
    flags = {"streams": streams, "spread": spread, "tokens": TOKENS, "connections": 8, "seed": seed}
    began, cpu = time.monotonic(), running.cpu_seconds()
    done = subprocess.run(
        [
            str(BINARIES / "load"),
            f"-target={running.address}",
            f"-model=fake/paced-{TOKENS}",
            *(f"-{name}={value}" for name, value in flags.items()),
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    row: dict[str, Any] = json.loads(done.stdout)
    took = time.monotonic() - began
    time.sleep(_REST_SECONDS)  # for what the server may have adapted to
    cpu = (running.cpu_seconds() - cpu) / took
    # The last answer takes its own time beyond the last question; what takes longer than that is work left undone.
    return {**row, "rate": rate, "goodput": row["right"] / max(seconds, took - _ANSWER_SECONDS), "cpu": cpu}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    of_refusals = ("refused", "with a hint", "within 10 ms", "in p50 / p99 ms")
    heads = ("asked a second", "whole answers a second", *of_refusals, "wrong", "token p50 / p99 ms", "server's CPUs")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [
        f"| {row['rate']:.0f} | {row['goodput']:.1f} | {row['refused']} | {row['hinted']} | {row['refused_soon']} "
        f"| {row['refuse_p50_ms']:.1f} / {row['refuse_p99_ms']:.1f} | {row['streams'] - row['right'] - row['refused']} "
        f"| {row['token_p50_ms']:.1f} / {row['token_p99_ms']:.1f} | {row['cpu']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
