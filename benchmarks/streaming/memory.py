"""What a stream costs in memory: an open one that says nothing, and one whose reader does not read."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.relay import peers
from benchmarks.relay.processes import Server
from benchmarks.relay.stage import BINARIES, Load, LoadFailed, Stage, staged
from benchmarks.relay.variants import VARIANTS, Variant, commands
from benchmarks.streaming.targets import Found, Outcome, Target

IDLE = Target("memory of a stream that says nothing, its upstream open, of 200", "KiB", 32, 16)
STALLED = Target("memory of a stream whose reader does not read, of 50", "KiB", 256, 128)

_NAMES = ("Go relay", "naive Python relay", "FastAPI with SSE", "Headwater")
_SETTLE_SECONDS = 6.0
_HARDLY_MIB = 0.2


def of_streams(python: Path) -> Outcome:
    """Resident memory of a server and its children while streams are held, less what it was before, for each.

    The servers are new for each kind of stream, because what they have freed they may keep.
    """
    missing = set(peers.PEERS) - set(peers.available(python))
    variants = [each for each in VARIANTS if each.name in _NAMES and each.server not in missing]
    idle = Load(streams=200, tokens=1, pace="held")
    stalled = Load(streams=50, tokens=60_000, pace="burst")
    figures = []
    for target, load, flags in ((IDLE, idle, ()), (STALLED, stalled, ("-stall",))):
        starts = commands(BINARIES, streams=load.streams, peers=python)
        with staged({each.server: starts[each.server] for each in variants}) as stage:
            stage.warm_up(variants)
            found = {variant.name: held(stage, variant, load, *flags) for variant in variants}
        ours = found.pop("Headwater")
        figures.append(Found(target, ours, found))
    return Outcome(figures)


def held(stage: Stage, variant: Variant, load: Load, *flags: str) -> float:
    """How much memory each stream of a load takes, in KiB, while it is held.

    Raises:
        LoadFailed: Not all streams could be held.
    """
    running = stage.servers[variant.server]
    before = settled(running)
    command = [*stage.load_command(variant, replace(load, seed=1)), "-hold", *flags]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None, "it was opened with a pipe"
        said = process.stdout.readline().strip()
        growth = settled(running) - before if said == "holding" else 0.0
        ended, _ = process.communicate()
    if said != "holding" or f'"right":{load.streams}' not in ended:
        raise LoadFailed(f"{variant.name}: streams were not held: {ended[-500:]}")
    return growth * 1024 / load.streams


def settled(running: Server) -> float:
    """The memory of a server and its children in MiB, once it changes no more, or hardly."""
    end = time.monotonic() + _SETTLE_SECONDS
    before, now = -1.0, running.memory_mib()[1]
    while abs(now - before) > _HARDLY_MIB and time.monotonic() < end:
        time.sleep(0.7)
        before, now = now, running.memory_mib()[1]
    return now
