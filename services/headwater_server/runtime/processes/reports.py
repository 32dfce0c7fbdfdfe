"""What a process tells the parent that has started it: one JSON object a line, on a pipe."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

ALIVE_SECONDS = 1.0
"""How often a process says that it lives."""

_MOST_BYTES = 64 * 1024

Kind = Literal["ready", "alive", "failed"]


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that is told."""

    kind: Kind
    """`ready`: it takes calls. `alive`: its loop turns. `failed`: it could not start."""
    text: str = ""
    """Of `ready` the address, of `failed` the message."""
    error: str = ""
    """Of `failed`: the name of the error's class."""


def send(descriptor: int, report: Report) -> None:
    """Tells the parent; what it is not there to hear is lost."""
    text = {"kind": report.kind, "text": report.text, "error": report.error}
    with suppress(OSError):
        os.write(descriptor, json.dumps(text).encode() + b"\n")


class Reports:
    """Reads reports from bytes that come in any pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Report]:
        """The reports that are whole with these bytes; what is none is passed over."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_MOST_BYTES:]
        for line in lines:
            with suppress(ValueError, TypeError):
                yield Report(**json.loads(line))
