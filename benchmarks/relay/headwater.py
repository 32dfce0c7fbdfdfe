"""Headwater as `headwater serve` runs it, with its settings from a file; says `ready ADDRESS` on standard output.

python -m benchmarks.relay.headwater --config headwater.toml
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anyio

from headwater_server.runtime import logs
from headwater_server.runtime.app import serve
from headwater_server.runtime.settings import load


def main() -> None:
    parser = argparse.ArgumentParser(description="Headwater, for the benchmark.")
    parser.add_argument("--config", type=Path, required=True)
    settings = load(config=parser.parse_args().config)
    logs.configure(level=settings.log.level, style=settings.log.format, secrets=settings.secrets())

    async def run() -> None:
        await serve(settings, ready=lambda address: print(f"ready {address}", flush=True))

    anyio.run(run)


if __name__ == "__main__":
    main()
