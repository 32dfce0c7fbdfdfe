"""Real servers and real command lines, as processes of their own."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

HEADWATER = [sys.executable, "-m", "headwater"]
HANDBOOK = Path(__file__).resolve().parents[1] / "docs" / "demo" / "handbook"
TIME_LIMIT_S = 120

FRONT = "HEADWATER_FRONT"
"""The setting that runs all tests on one of the fronts."""
FRONTS = [os.environ[FRONT]] if FRONT in os.environ else ["grpc", "http2"]
"""The fronts on which those tests run that are about what a front does."""
_SETTINGS = re.compile("(HEADWATER|OPENAI|ANTHROPIC|OLLAMA)_|NO_COLOR|FORCE_COLOR|COLUMNS")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of whoever runs the tests, but for the front that they are run on."""
    kept = {name: value for name, value in os.environ.items() if name == FRONT or not _SETTINGS.match(name)}
    kept.pop("GRPC_VERBOSITY", None)  # set by a server that a test has run in this process
    return {**kept, "PYTHONWARNINGS": "error", **(extra or {})}


@dataclass(slots=True)
class ServerProcess:
    """A `headwater serve` that is ready."""

    process: subprocess.Popen[str]
    target: str
    """Where it listens, `host:port`."""
    ready_line: str
    """What it said when it was ready."""
    later_lines: queue.Queue[str | None]
    """What it says after that on standard output, and None at its end."""

    def interrupt(self) -> int:
        """Presses Ctrl-C, and returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=TIME_LIMIT_S)


@contextmanager
def serving(data_dir: Path, *arguments: str, extra: Mapping[str, str] | None = None) -> Iterator[ServerProcess]:
    """Runs `headwater serve` on a free port for as long as the context lasts.

    Args:
        data_dir: Its data folder.
        arguments: More arguments; a role comes first.
        extra: More environment variables.
    """
    command = [*HEADWATER, "serve", *arguments, "--address", "127.0.0.1:0", "--data-dir", str(data_dir)]
    log = data_dir.with_name(f"{data_dir.name}.log")
    with (
        log.open("a") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(extra)) as process,
    ):
        try:
            lines = _lines(process)
            ready = lines.get(timeout=TIME_LIMIT_S)
            if ready is None:
                pytest.fail(f"headwater serve ended before it was ready: {log.read_text()}")
            found = re.search(r" is ready on (\S+:[1-9]\d*)", ready)
            assert found, ready
            yield ServerProcess(process, found.group(1), ready.rstrip("\n"), lines)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=TIME_LIMIT_S)
                except subprocess.TimeoutExpired:
                    process.kill()


def headwater(
    *arguments: str | Path,
    target: str | None = None,
    stdin: str | None = "",
    cwd: Path | None = None,
    extra: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs the command line to its end.

    Args:
        arguments: Its arguments.
        target: The server; given by HEADWATER_TARGET.
        stdin: Its standard input.
        cwd: Where it runs.
        extra: More environment variables.
    """
    more = {**({"HEADWATER_TARGET": target} if target else {}), **(extra or {})}
    return subprocess.run(
        [*HEADWATER, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        cwd=cwd,
        env=environment(more),
        check=False,
    )


@contextmanager
def started(
    *arguments: str | Path, target: str, extra: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Starts the command line; a process that still runs when the context is left is killed."""
    with subprocess.Popen(
        [*HEADWATER, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment({"HEADWATER_TARGET": target, **(extra or {})}),
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _lines(process: subprocess.Popen[str]) -> queue.Queue[str | None]:
    """The lines of a process's standard output, read by a thread so that the pipe never fills up; None at the end."""
    lines: queue.Queue[str | None] = queue.Queue()
    output = process.stdout
    assert output is not None

    def read() -> None:
        for line in output:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines
