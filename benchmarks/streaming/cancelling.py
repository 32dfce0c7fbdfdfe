"""How long a model goes on for nobody: from the caller's giving up to the end of the connection to the upstream."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.relay import peers
from benchmarks.relay.stage import BINARIES, Load, staged
from benchmarks.relay.variants import VARIANTS, commands
from benchmarks.streaming.targets import Found, Outcome, Target

P50 = Target("a caller's cancel to the end of the upstream's connection, 64 streams, p50", "ms", 5, 3)
P99 = Target("the same, p99", "ms", 50, 20)

_NAMES = ("Go relay", "naive Python relay", "FastAPI with SSE", "Headwater")


def closings(python: Path, *, rounds: int) -> Outcome:
    """64 streams, each given up at random within a second after its first token."""
    load = Load(streams=64, tokens=200)
    missing = set(peers.PEERS) - set(peers.available(python))
    variants = [each for each in VARIANTS if each.name in _NAMES and each.server not in missing]
    starts = commands(BINARIES, streams=load.streams, peers=python)
    p50: dict[str, list[float]] = {each.name: [] for each in variants}
    p99: dict[str, list[float]] = {each.name: [] for each in variants}
    wrong = []
    with staged({each.server: starts[each.server] for each in variants}) as stage:
        stage.warm_up(variants)
        for _ in range(rounds):
            for variant in variants:
                flags = ("-give-up-within=1s", f"-upstream={stage.upstream.address}")
                told = stage.ask(variant, load, *flags)
                p50[variant.name].append(told["close_p50_ms"])
                p99[variant.name].append(told["close_p99_ms"])
                if not told["right"] == told["closed"] == load.streams:
                    wrong.append(f"{variant.name}: {told['closed']} of {told['given_up']} closed; {told['problems']}")
    figures = []
    for target, times in ((P50, p50), (P99, p99)):
        *others, ours = [(name, median(values)) for name, values in times.items()]
        figures.append(Found(target, ours[1], dict(others)))
    return Outcome(figures, wrong)
