"""What floods of HTTP/2 do to the fronts: the attacks of `tests/malformed`, each on a new process of each front.

    python -m benchmarks.fronts.floods --python .venv-fronts/bin/python

A flood sends up to so many frames, and stops where the front hangs up. A cell says how many it sent before that, if it
was not all; the CPU time that the front took; by how much its memory grew at most; and whether it served afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.fronts.run import BINARIES, ROOT, LoadFailed, cpu_seconds, forget_peak, is_there, load, memory_kib
from benchmarks.fronts.variants import VARIANTS, Variant
from benchmarks.relay.processes import server
from tests.malformed.floods import FLOODS, Flood

_SERVED = {"streams": 2, "tokens": 3, "spread": "0s", "limit": "5s"}
_FLOOD_SECONDS = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fronts.floods", description="Flood the fronts.")
    parser.add_argument("--python", default=sys.executable, help="the Python of the environment with the fronts")
    parser.add_argument("--count", type=int, default=5_000, help="how many frames")
    parser.add_argument("--only", nargs="+", help="only these fronts")
    options = parser.parse_args()
    chosen = [
        variant
        for variant in VARIANTS
        if variant.front not in {"pacing", "tonic-batched", "tonic-alone"}
        and not variant.uvloop
        and (not options.only or variant.front in options.only)
        and is_there(variant, options.python)
    ]
    print(f"| | {' | '.join(variant.name for variant in chosen)} |\n{'|---' * (len(chosen) + 1)}|")
    for flood in FLOODS:
        cells = [_flooded(variant, flood, options.count, options.python) for variant in chosen]
        print(f"| {flood.__name__.replace('_', ' ')} | {' | '.join(cells)} |", flush=True)
    return 0


def _flooded(variant: Variant, flood: Flood, count: int, python: str) -> str:
    """One cell of the table."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server(variant.command(python, BINARIES), cwd=ROOT, log=Path(folder) / "log") as running,
    ):
        load(running, _SERVED)
        cpu, resident = cpu_seconds(running), memory_kib(running, "VmRSS")
        forget_peak(running)
        sent = asyncio.run(_sent(flood, running.address, count))
        time.sleep(0.5)  # for what it still works through
        try:
            cpu, grown = cpu_seconds(running) - cpu, (memory_kib(running, "VmHWM") - resident) / 1024
            served = load(running, _SERVED)
        except (OSError, LoadFailed, StopIteration):
            return "**died**"
        ending = "served" if served["right"] == served["streams"] else "**not served**"
        cut = "" if sent == "all" else f"{sent} sent, "
        return f"{cut}{cpu:.2f} s, {grown:.0f} MiB, {ending}"


async def _sent(flood: Flood, address: str, count: int) -> str:
    """How many frames a flood got rid of."""
    try:
        async with asyncio.timeout(_FLOOD_SECONDS):
            sent = await flood(address, "", count)
    except TimeoutError:
        return f"blocked for {_FLOOD_SECONDS:.0f} s, not all"
    return "all" if sent >= min(count, 300) and sent in {count, 300} else str(sent)


if __name__ == "__main__":
    sys.exit(main())
