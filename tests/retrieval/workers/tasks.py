"""Tasks for workers, good and bad; their processes import this module."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any


class Counting:
    """Says how many jobs its worker has had, and of what process it is."""

    def __init__(self) -> None:
        self.jobs = 0

    def __call__(self, request: Any) -> Iterator[Any]:  # noqa: ARG002 (every task is given one)
        self.jobs += 1
        yield self.jobs
        yield os.getpid()


def behave(request: Any) -> Iterator[Any]:  # noqa: C901, PLR0912 (one case a way to behave)
    """Does what the request says."""
    match request:
        case ("echo", *values):
            yield from values
        case "raise":
            yield "begun"
            raise KeyError("secret of the document")
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            yield os.getpid()
            time.sleep(600)
        case ("slow", seconds):
            for _ in range(1000):
                time.sleep(seconds)
                yield None
        case "gluttony":
            hoard = []
            while True:
                hoard.append(bytearray(10_000_000))
                yield len(hoard)
        case "limits":
            kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
            yield {
                "niceness": os.nice(0),
                "memory": resource.getrlimit(kind)[0],
                "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                "sigint": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
                "session": os.getsid(0) == os.getpid(),
            }
        case "files":
            opened = []
            while True:
                opened.append(open(os.devnull))  # noqa: PTH123, SIM115 (more than may be open is the point)
        case "unpicklable":
            yield lambda: None


class BrokenSetup:
    """A task that cannot be set up in a worker."""

    def __reduce__(self) -> Any:
        return sys.exit, (7,)

    def __call__(self, request: Any) -> Iterator[Any]:
        yield request
