"""What a server's process runs on: its event loop, and how grpc's core waits for its connections.

To be called before anything of grpc is imported. Both were measured in one run (docs/benchmarks.md).
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import sys

_EXPERIMENTS = "GRPC_EXPERIMENTS"
_QUICKER = "-event_engine_listener"
"""Lets grpc's core take calls by its earlier poller, which hands a message over with fewer threads. Undocumented, and a
core that does not know it any more complains: to be tried and measured again with each release."""
_TRIED = (1, 85)
"""The last release of grpcio that it was tried with."""


def backend_options() -> dict[str, bool]:
    """What anyio is told of the event loop: uvloop's, where that is installed, which it is not on Windows.

    What the environment says of grpc's experiments is left as it is; otherwise the quicker poller is chosen.
    """
    if tuple(map(int, importlib.metadata.version("grpcio").split(".")[:2])) <= _TRIED:
        os.environ.setdefault(_EXPERIMENTS, _QUICKER)
    return {"use_uvloop": sys.platform != "win32" and importlib.util.find_spec("uvloop") is not None}


def loop_name() -> str:
    """Which event loop this is: `asyncio` or `uvloop`."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]
