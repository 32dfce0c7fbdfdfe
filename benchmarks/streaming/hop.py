"""What the orchestrator costs where it stands apart: from an AssistantService in Go to the caller."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.relay.run import measure, median, wrongs
from benchmarks.relay.stage import BINARIES, Load, staged
from benchmarks.relay.variants import Variant
from benchmarks.streaming.targets import Found, Outcome, Target

CPU = Target("CPU of a token in a separate orchestrator, 64 streams, as a ratio to the same in Go", "", 2.5, 1.5)
"""Of the hop alone: gRPC in, gRPC out."""

_GO = Variant("Go", "go")
_OURS = Variant("Headwater", "headwater")


def orchestrator(*, rounds: int) -> Outcome:
    """64 streams that begin within a second."""
    load = Load(streams=64, tokens=200)
    starts = {_GO.server: _go, _OURS.server: _headwater}
    with staged(starts, upstream_flags=["-assistant"]) as stage:
        for variant in (_GO, _OURS):
            stage.ask(variant, replace(load, streams=16, tokens=20))
        found = measure(stage, [_GO, _OURS], load, rounds=rounds)
    cost = {name: median(measured, "cpu_us_a_token") for name, measured in found.items()}
    return Outcome([Found(CPU, cost[_OURS.name] / cost[_GO.name])], wrongs(found))


def _go(url: str, _: Path) -> list[str]:
    return [str(BINARIES / "relay"), "-assistant", _address(url)]


def _headwater(url: str, folder: Path) -> list[str]:
    config = folder / "headwater.toml"
    # Nothing is searched for, so there need be nothing at the address of retrieval.
    config.write_text(
        f'address = "127.0.0.1:0"\ndata_dir = {json.dumps(str(folder / "data"))}\n'
        f'assistant_target = "{_address(url)}"\nretrieval_target = "127.0.0.1:9"\n',
        encoding="utf-8",
    )
    return [sys.executable, "-m", "headwater", "serve", "orchestrator", "--config", str(config)]


def _address(url: str) -> str:
    return url.removeprefix("http://").removesuffix("/v1")
