"""Runs one front by name and says `ready ADDRESS`; wants the candidate's packages.

python -m benchmarks.fronts.server own-frames --uvloop
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import signal
from collections.abc import Mapping

from benchmarks.fronts.answers import paced_answer

FRONTS: Mapping[str, str] = {
    "grpc.aio": "grpc_aio",
    "grpclib": "grpclib_",
    "connectrpc": "connect_hypercorn",
    "own-h2": "own_h2",
    "own-frames": "own_frames",
    "headwater": "headwater_http2",
    "tonic": "tonic_",
    "tonic-batched": "tonic_",
    "tonic-alone": "tonic_",
    "pacing": "pacing",
}
"""From a front to its module in `candidates`, which imports what it needs."""


async def main(name: str) -> None:
    module = importlib.import_module(f"benchmarks.fronts.candidates.{FRONTS[name]}")
    if name == "tonic-alone":
        port = await module.serve_paced()
    elif name.startswith("tonic"):
        port = await module.serve(paced_answer, batched=name == "tonic-batched")
    else:
        port = await module.serve(paced_answer)
    print(f"ready 127.0.0.1:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fronts.server", description="Run one front.")
    parser.add_argument("name", choices=FRONTS)
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if options.uvloop:
        import uvloop  # only where it was asked for

        uvloop.run(main(options.name))
    else:
        asyncio.run(main(options.name))
