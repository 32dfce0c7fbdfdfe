"""What a relayed token costs, and how late the first one comes: at 64 streams, at 1,000, and in a burst."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.relay import peers
from benchmarks.relay.run import Rounds, measure, median, rows, wrongs
from benchmarks.relay.stage import BINARIES, Load, staged
from benchmarks.relay.variants import VARIANTS, commands
from benchmarks.streaming.targets import Found, Outcome, Target

CPU_64 = Target("CPU of a relayed token, 64 streams, as a ratio to the Go relay", "", 3.0, 1.0)
CPU_64_HTTP2 = Target("the same on the front http2", "", 2.0, 1.0)
CPU_1000 = Target("CPU of a relayed token, 1,000 streams, as a ratio to the Go relay", "", 3.5, 1.3)
CPU_1000_HTTP2 = Target("the same on the front http2", "", 2.2, 1.3)
FIRST_P50 = Target("first token over the upstream's own, 64 streams that begin within a second, p50", "ms", 5, 2)
FIRST_P99 = Target("the same, p99", "ms", 15, 6)
FIRST_1000 = Target("the same, 1,000 streams that begin at once, p50", "ms", 200, 80)
BURST = Target("CPU of a token in a burst, as a ratio to a message for each (the naive relay)", "", 0.15, 0.09)

_OURS = "Headwater"
_HTTP2 = "Headwater, front http2"
_GO = "Go relay"


def at_64(python: Path, *, rounds: int) -> Outcome:
    """64 streams that begin within a second."""
    load = Load(streams=64, tokens=150)
    found = _measured(load, [*_PLAIN, "FastAPI with SSE", "LiteLLM's proxy", *_WITH_SOURCES], python, rounds=rounds)
    figures = [
        Found(CPU_64, _ratio(found, _OURS), _ratios(found)),
        Found(CPU_64_HTTP2, _ratio(found, _HTTP2), {}),
        Found(FIRST_P50, median(found[_OURS], "first_p50"), _others(found, "first_p50")),
        Found(FIRST_P99, median(found[_OURS], "first_p99"), _others(found, "first_p99")),
    ]
    return Outcome(figures, wrongs(found), rows(found))


def at_1000(python: Path, *, rounds: int) -> Outcome:
    """1,000 streams that begin at once; without LiteLLM, which would take minutes."""
    load = Load(streams=1000, tokens=100, at_once=True)
    found = _measured(load, [*_PLAIN, "FastAPI with SSE"], python, rounds=rounds)
    figures = [
        Found(CPU_1000, _ratio(found, _OURS), _ratios(found)),
        Found(CPU_1000_HTTP2, _ratio(found, _HTTP2), {}),
        Found(FIRST_1000, median(found[_OURS], "first_p50"), _others(found, "first_p50")),
    ]
    return Outcome(figures, wrongs(found), rows(found))


def in_a_burst(python: Path, *, rounds: int) -> Outcome:
    """16 streams of an upstream that is faster than any relay."""
    load = Load(streams=16, tokens=2000, pace="burst")
    found = _measured(load, [*_PLAIN, "FastAPI with SSE", *_WITH_SOURCES], python, rounds=rounds)
    cost = {name: median(measured, "cpu_us_a_token") for name, measured in found.items()}
    naive = cost["naive Python relay"]
    beside = {name: cost[name] / naive for name in _shown(found)}
    return Outcome([Found(BURST, cost[_OURS] / naive, beside)], wrongs(found), rows(found))


_PLAIN = (_GO, "naive Python relay", _OURS, _HTTP2)
_WITH_SOURCES = ("Go relay, 3 sources", "Headwater, 3 sources")


def _measured(load: Load, names: Sequence[str], python: Path, *, rounds: int) -> Rounds:
    missing = set(peers.PEERS) - set(peers.available(python))
    variants = [each for each in VARIANTS if each.name in names and each.server not in missing]
    starts = commands(BINARIES, streams=load.streams, peers=python)
    with staged({each.server: starts[each.server] for each in variants}) as stage:
        stage.warm_up(variants)
        return measure(stage, variants, load, rounds=rounds)


def _shown(found: Rounds) -> list[str]:
    return [name for name in found if name != _OURS and "sources" not in name]


def _others(found: Rounds, figure: str) -> dict[str, float]:
    return {name: median(found[name], figure) for name in _shown(found)}


def _ratio(found: Rounds, name: str) -> float:
    return median(found[name], "cpu_us_a_token") / median(found[_GO], "cpu_us_a_token")


def _ratios(found: Rounds) -> dict[str, float]:
    return {name: _ratio(found, name) for name in _shown(found) if name != _GO}
