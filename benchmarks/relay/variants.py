"""The servers that are compared, and what they are asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Command = Callable[[str, Path], list[str]]
"""From the upstream's URL and a folder of the server's own to what starts it."""


@dataclass(frozen=True)
class Variant:
    """One line of the table."""

    name: str
    server: str
    """Which of `COMMANDS`."""
    sources: int = 0
    """How many sources each question provides; 0 asks without grounding."""


VARIANTS = (
    Variant("Go relay", "go"),
    Variant("naive Python relay", "naive"),
    Variant("Headwater", "headwater"),
    Variant("Go relay, 3 sources", "go", sources=3),
    Variant("Headwater, 3 sources", "headwater", sources=3),
)
YARDSTICK = "go"


def commands(binaries: Path, *, streams: int) -> dict[str, Command]:
    """What starts each server, from the Go programs' folder."""

    def headwater(upstream: str, folder: Path) -> list[str]:
        config = folder / "headwater.toml"
        config.write_text(
            f'address = "127.0.0.1:0"\ndata_dir = {json.dumps(str(folder / "data"))}\n'
            f"[limits]\nanswers = {max(256, streams)}\n"
            f'[assistants.fake]\napi = "openai-chat"\nbase_url = "{upstream}"\n',
            encoding="utf-8",
        )
        return [sys.executable, "-m", "headwater", "serve", "--config", str(config)]

    return {
        "go": lambda upstream, _: [str(binaries / "relay"), "-upstream", upstream],
        "naive": lambda upstream, _: [sys.executable, "-m", "benchmarks.relay.naive", "--upstream", upstream],
        "headwater": headwater,
    }
