"""The fake upstream, the servers in front of it, and the load that asks them."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.relay.processes import Server, server, settle
from benchmarks.relay.variants import Command, Variant

ROOT = Path(__file__).resolve().parents[2]
BINARIES = ROOT / "benchmarks/results/bin"


class LoadFailed(Exception):
    """The load did not run."""


@dataclass(frozen=True)
class Load:
    """What is asked of a server."""

    streams: int = 64
    tokens: int = 200
    pace: str = "paced"
    """`paced`: the first after 50 ms, then one each 20 ms. `burst`: as fast as they are read."""
    at_once: bool = False
    """All streams begin at once, not within a second."""
    connections: int = 4
    seed: int = 0
    """Of the moments at which they begin."""

    @property
    def model(self) -> str:
        """The assistant that says so."""
        return f"fake/{self.pace}-{self.tokens}"

    def flags(self, variant: Variant) -> list[str]:
        """How the load is told, and that it asks one of the variants."""
        flags = {
            "model": self.model,
            "streams": self.streams,
            "tokens": self.tokens,
            "connections": self.connections,
            "spread": "0s" if self.at_once else "1s",
            "first-token": "0s" if self.pace == "burst" else "50ms",
            "sources": variant.sources,
            "form": variant.form,
            "seed": self.seed,
        }
        return [f"-{name}={value}" for name, value in flags.items()]


WARM_UP = Load(streams=16, tokens=20)


@dataclass(frozen=True)
class Measurement:
    """One variant in one round. Times in milliseconds, CPU in microseconds, memory in MiB."""

    cpu_us_a_token: float
    messages_a_token: float
    first_p50: float
    first_p99: float
    token_p50: float
    token_p99: float
    memory: float
    memory_with_children: float
    streams: int
    right: int
    problems: Sequence[str]


@dataclass(frozen=True)
class Stage:
    """All that runs."""

    upstream: Server
    servers: Mapping[str, Server]

    def measure(self, variant: Variant, load: Load) -> Measurement:
        """Asks a server, and measures it while it answers."""
        running = self.servers[variant.server]
        before = running.cpu_seconds()
        found = self.ask(variant, load)
        cpu = running.cpu_seconds() - before
        memory, with_children = running.memory_mib()
        tokens = max(1, found["tokens"])
        return Measurement(
            cpu_us_a_token=1_000_000 * cpu / tokens,
            messages_a_token=found["messages"] / tokens,
            first_p50=found["first_p50_ms"],
            first_p99=found["first_p99_ms"],
            token_p50=found["token_p50_ms"],
            token_p99=found["token_p99_ms"],
            memory=memory,
            memory_with_children=with_children,
            streams=found["streams"],
            right=found["right"],
            problems=found["problems"],
        )

    def ask(self, variant: Variant, load: Load, *flags: str) -> dict[str, Any]:
        """Asks a server, and returns what the load found.

        Raises:
            LoadFailed: The load did not run.
        """
        done = subprocess.run([*self.load_command(variant, load), *flags], capture_output=True, check=False, text=True)
        if done.returncode:
            raise LoadFailed(done.stderr.strip()[-2000:])
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def load_command(self, variant: Variant, load: Load) -> list[str]:
        """What asks a server."""
        target = f"-target={self.servers[variant.server].address}"
        return [str(BINARIES / "load"), target, *load.flags(variant)]

    def warm_up(self, variants: Sequence[Variant]) -> None:
        """Asks each server a first time, for all that is made on first use, and waits until it is idle."""
        for variant in {variant.server: variant for variant in reversed(variants)}.values():
            self.ask(variant, WARM_UP)
            settle(self.servers[variant.server])


def build() -> None:
    """Builds the programs in Go."""
    BINARIES.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-o", f"{BINARIES}/", "./..."], cwd=ROOT / "benchmarks/relay/go", check=True)


@contextmanager
def staged(commands: Mapping[str, Command], *, upstream_flags: Sequence[str] = ()) -> Iterator[Stage]:
    """Builds everything, and runs the upstream and the servers for as long as the context lasts.

    Args:
        commands: What starts each server, by its name.
        upstream_flags: What the upstream is told.

    Raises:
        RuntimeError: One of them did not start.
    """
    build()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headwater-relay-")))
        command = [str(BINARIES / "upstream"), *upstream_flags]
        upstream = stack.enter_context(server(command, cwd=ROOT, log=folder / "upstream.log"))
        servers = {}
        for name, start in commands.items():
            own = folder / name
            own.mkdir()
            url = f"http://{upstream.address}/v1"
            servers[name] = stack.enter_context(server(start(url, own), cwd=ROOT, log=own / "log"))
        yield Stage(upstream, servers)
