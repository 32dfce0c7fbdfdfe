"""The fronts that are compared."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Variant:
    """One line of the table."""

    name: str
    front: str
    """One of `server.FRONTS`, or `go`."""
    uvloop: bool = False

    def command(self, python: str, binaries: Path) -> list[str]:
        """What starts it."""
        if self.front == "go":
            return [str(binaries / "front")]
        python = sys.executable if self.front == "headwater" else python
        return [python, "-m", "benchmarks.fronts.server", self.front, *(["--uvloop"] if self.uvloop else [])]


YARDSTICK = "Go (grpc-go)"

VARIANTS = (
    Variant(YARDSTICK, "go"),
    Variant("pacing alone", "pacing"),
    Variant("pacing alone, uvloop", "pacing", uvloop=True),
    Variant("grpc.aio", "grpc.aio"),
    Variant("grpc.aio, uvloop", "grpc.aio", uvloop=True),
    Variant("grpclib", "grpclib"),
    Variant("grpclib, uvloop", "grpclib", uvloop=True),
    Variant("connectrpc on hypercorn", "connectrpc"),
    Variant("connectrpc on hypercorn, uvloop", "connectrpc", uvloop=True),
    Variant("own front on h2", "own-h2"),
    Variant("own front on h2, uvloop", "own-h2", uvloop=True),
    Variant("own frames", "own-frames"),
    Variant("own frames, uvloop", "own-frames", uvloop=True),
    Variant("Headwater's front", "headwater"),
    Variant("Headwater's front, uvloop", "headwater", uvloop=True),
    Variant("tonic by PyO3", "tonic"),
    Variant("tonic by PyO3, uvloop", "tonic", uvloop=True),
    Variant("tonic by PyO3, batched, uvloop", "tonic-batched", uvloop=True),
    Variant("tonic, alone", "tonic-alone"),
)

MODULES: Mapping[str, tuple[str, ...]] = {
    "pacing": ("google_crc32c",),
    "grpc.aio": ("google_crc32c", "grpc"),
    "grpclib": ("google_crc32c", "grpclib"),
    "connectrpc": ("google_crc32c", "connectrpc", "hypercorn"),
    "own-h2": ("google_crc32c", "h2"),
    "own-frames": ("google_crc32c", "hpack"),
    "tonic": ("google_crc32c", "front_tonic"),
    "tonic-batched": ("google_crc32c", "front_tonic"),
    "tonic-alone": ("google_crc32c", "front_tonic"),
}
"""What each front imports."""
