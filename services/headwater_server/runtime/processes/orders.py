"""What the parent tells a process that it starts: its place, and the settings, secrets included, by way of a pipe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from headwater_server.runtime.processes.place import Place
from headwater_server.runtime.settings import Settings


def encode(place: Place, settings: Settings) -> bytes:
    """A line that says it."""
    order = {"place": asdict(place), "settings": _plain(settings.model_dump())}
    return json.dumps(order).encode() + b"\n"


def decode(line: bytes) -> tuple[Place, Settings]:
    """What a line says."""
    order = json.loads(line)
    return Place(**order["place"]), Settings(**order["settings"])


def _plain(value: Any) -> Any:
    """A value as JSON has it; None where nothing is set."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case Path():
            return str(value)
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value
