"""An assistant service that is there again at once when its process was killed, as under a supervisor.

Its processes are forked from one that has loaded most of it, because a new one takes seconds to load on a busy machine;
but not gRPC, which does not work on in a fork. `python -m tests.arrangements.reborn SETTINGS DATA_DIR` prints where it
listens, and runs until it is told to stop.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import protovalidate  # noqa: F401 (loaded for the forks, as the next two are)

import headwater_server.orchestrator.service
import headwater_server.retrieval.opening  # noqa: F401
from headwater_server.runtime.settings import Settings, load
from tests.serving import TIME_LIMIT_S, environment


@dataclass(frozen=True, slots=True)
class Reborn:
    """Such a service."""

    address: str
    process: subprocess.Popen[str]
    """What forks its processes, one at a time."""

    def kill(self) -> None:
        """Ends the process that serves now, without a chance to tidy up."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)


@contextmanager
def reborn_assistant(folder: Path) -> Iterator[Reborn]:
    """Runs one, with the settings of `folder`."""
    command = [sys.executable, "-m", "tests.arrangements.reborn", str(folder / "settings.toml"), str(folder / "reborn")]
    with (
        (folder / "reborn.log").open("a") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment()) as process,
    ):
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, (folder / "reborn.log").read_text()
            yield Reborn(address, process)
        finally:
            process.terminate()
            process.wait(timeout=TIME_LIMIT_S)


def main() -> None:
    config, data_dir = sys.argv[1:]
    settings = load(config=Path(config), flags={"address": f"127.0.0.1:{_free_port()}", "data_dir": Path(data_dir)})
    assert "grpc" not in sys.modules
    serving: list[int] = []

    def stop(*_: Any) -> None:
        for child in serving:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    while True:
        child = os.fork()
        if not child:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _serve(settings)
        serving[:] = [child]
        os.waitpid(child, 0)


def _serve(settings: Settings) -> None:
    from headwater_server.runtime import logs  # noqa: PLC0415 (they load gRPC)
    from headwater_server.runtime.app import serve  # noqa: PLC0415

    logs.configure(level=settings.log.level, style=settings.log.format, secrets=settings.secrets())

    async def until_killed() -> None:
        await serve(settings, "assistant", ready=lambda address: print(address, flush=True))  # noqa: T201 (for the test)

    anyio.run(until_killed)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
