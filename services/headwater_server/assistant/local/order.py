"""What a process is told to serve."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Order:
    """What to serve, and how."""

    path: str
    """The GGUF file."""
    api_key: str = field(repr=False)
    """What each request must show."""
    context: int
    """Tokens of context of each answer."""
    parallel: int
    threads: int
    gpu_layers: int

    def encode(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"
