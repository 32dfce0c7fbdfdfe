"""The servers that are compared, and what they are asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

Command = Callable[[str, Path], list[str]]
"""From the upstream's URL and a folder of the server's own to what starts it."""


@dataclass(frozen=True)
class Variant:
    """One line of the table."""

    name: str
    server: str
    """Which of `commands`."""
    sources: int = 0
    """How many sources each question provides; 0 asks without grounding."""
    form: str = "grpc"
    """What it speaks, as the load knows it."""


VARIANTS = (
    Variant("Go relay", "go"),
    Variant("naive Python relay", "naive"),
    Variant("FastAPI with SSE", "fastapi", form="ragna"),
    Variant("LiteLLM's proxy", "litellm", form="openai"),
    Variant("Headwater", "headwater"),
    Variant("Headwater, front http2", "headwater-http2"),
    Variant("Go relay, 3 sources", "go", sources=3),
    Variant("Headwater, 3 sources", "headwater", sources=3),
)
SERVERS = tuple(dict.fromkeys(variant.server for variant in VARIANTS))
YARDSTICK = "go"
LEAST_ANSWERS = 64
"""How many Headwater answers at once however much it has to do, as it comes."""


def commands(binaries: Path, *, streams: int, peers: Path) -> dict[str, Command]:
    """What starts each server, from the Go programs' folder and the peers' Python."""
    # A server refuses what it cannot carry, which is not what is measured here.
    limits = f"[limits]\nanswers = {streams}\nleast_answers = {streams}\n" if streams > LEAST_ANSWERS else ""

    def headwater(upstream: str, folder: Path, *, front: str = "grpc") -> list[str]:
        config = folder / "headwater.toml"
        config.write_text(
            f'address = "127.0.0.1:0"\nfront = "{front}"\ndata_dir = {json.dumps(str(folder / "data"))}\n{limits}'
            f'[assistants.fake]\napi = "openai-chat"\nbase_url = "{upstream}"\n',
            encoding="utf-8",
        )
        return [sys.executable, "-m", "headwater", "serve", "--config", str(config)]

    def python(interpreter: str, module: str) -> Command:
        return lambda upstream, _: [interpreter, "-m", f"benchmarks.relay.{module}", "--upstream", upstream]

    return {
        "go": lambda upstream, _: [str(binaries / "relay"), "-upstream", upstream],
        "naive": python(sys.executable, "naive"),
        "fastapi": python(str(peers), "fastapi_peer"),
        "litellm": python(str(peers), "litellm_peer"),
        "headwater": headwater,
        "headwater-http2": partial(headwater, front="http2"),
    }
