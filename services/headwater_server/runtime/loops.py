"""The event loop that a server's process runs on."""

from __future__ import annotations

import asyncio
import importlib.util
import sys


def backend_options() -> dict[str, bool]:
    """What anyio is told of the event loop: uvloop's, where that is installed, which it is not on Windows.

    grpc's `GRPC_EXPERIMENTS=-event_engine_listener` is not chosen, though it takes off another tenth: with 1,000 that
    began at once and uvloop, pings were not answered in time, and all connections were given up.
    """
    return {"use_uvloop": sys.platform != "win32" and importlib.util.find_spec("uvloop") is not None}


def loop_name() -> str:
    """Which event loop this is: `asyncio` or `uvloop`."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]
