"""Tasks for workers, good and bad; their processes import this module."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, BinaryIO


class Counting:
    """Says how many jobs its worker has had, and of what process it is."""

    def __init__(self) -> None:
        self.jobs = 0

    def __call__(self, _request: Any, _file: BinaryIO | None, /) -> Iterator[bytes]:
        self.jobs += 1
        yield json.dumps(self.jobs).encode()
        yield json.dumps(os.getpid()).encode()


def behave(request: Any, file: BinaryIO | None, /) -> Iterator[bytes]:
    """Does what the request says; each piece is JSON."""
    for piece in _deeds(request, file):
        yield piece if isinstance(piece, bytes) else json.dumps(piece).encode()


def _deeds(request: Any, file: BinaryIO | None) -> Iterator[Any]:  # noqa: C901, PLR0912 (one case a way to behave)
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
        case "unspeakable":
            yield object()
        case "read":
            assert file is not None
            yield file.read().decode()
        case "chatter":
            sys.stderr.write("last words of the worker\n")
            os._exit(4)
        case "gibberish":
            _say(b"?" + b"no such message")
            time.sleep(600)
        case "pickle":
            _say(b"P" + pickle.dumps(Bomb()))
            time.sleep(600)
        case "tirade":
            _say(b"P" + b"x" * 80_000_000)
            time.sleep(600)
        case "environment":
            yield dict(os.environ)


class BrokenSetup:
    """A task that cannot be set up in a worker."""

    def __reduce__(self) -> Any:
        return sys.exit, (7,)

    def __call__(self, _request: Any, _file: BinaryIO | None, /) -> Iterator[bytes]:
        yield b""


class Bomb:
    """Goes off where it is unpickled."""

    def __reduce__(self) -> Any:
        return os._exit, (66,)


def _say(message: bytes) -> None:
    """Speaks past the task's protocol, as code could that has taken over a worker: by the descriptor it was given."""
    channel: Connection[Any, Any] = Connection(int(sys.argv[1]))
    channel.send_bytes(message)
