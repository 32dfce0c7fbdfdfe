"""Starting server processes, measuring them from /proc, and stopping them."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_READY = re.compile(r"\bready (?:on )?(\S+)")
_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Server:
    """A server that runs in a process of its own."""

    pid: int
    address: str

    def cpu_seconds(self) -> float:
        """User and system time so far, of the process and its children."""
        # After the name, which may hold anything: utime, stime and those of children that have ended are 11 to 14.
        return sum(sum(map(int, _stat(pid)[11:15])) for pid in _tree(self.pid)) / _TICK

    def memory_mib(self) -> tuple[float, float]:
        """Resident memory of the process alone, and with its children."""
        sizes = {pid: int(_stat(pid)[21]) * _PAGE / 2**20 for pid in _tree(self.pid)}
        return sizes[self.pid], sum(sizes.values())


@contextmanager
def server(command: Sequence[str], *, cwd: Path, log: Path) -> Iterator[Server]:
    """Starts a program that says `ready ADDRESS` or `ready on ADDRESS`; leaving the context ends it and its children.

    Args:
        command: The program and its arguments.
        cwd: Where it runs.
        log: Takes what it writes to standard error.

    Raises:
        RuntimeError: It ended, or said nothing for a minute. The message has the end of its log.
    """
    with log.open("wb") as errors:
        process = subprocess.Popen(  # a session of its own, so that a Ctrl-C here reaches it through us, in order
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
    try:
        yield Server(process.pid, _ready_address(process, log))
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{command[0]} did not end within {_STOP_SECONDS:.0f} s; killed")
        finally:
            _kill_group(process)
            if process.stdout is not None:
                process.stdout.close()


def _ready_address(process: subprocess.Popen[bytes], log: Path) -> str:
    output = process.stdout
    assert output is not None, "it was opened with a pipe"
    readable, _, _ = select.select([output], [], [], _READY_SECONDS)
    said = _READY.search(output.readline().decode()) if readable else None
    if said is None:
        raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text(errors='replace')[-2000:]}")
    return said[1]


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what a server leaves behind when it has ended in disorder
    process.wait()


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; zeros for a process that has just ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["0"] * 50


def _tree(root: int) -> list[int]:
    """A process and all its descendants."""
    parents = {int(path.name): int(_stat(int(path.name))[1]) for path in Path("/proc").iterdir() if path.name.isdigit()}
    tree = [root]
    for pid in tree:  # grows as it is walked
        tree += [child for child, parent in parents.items() if parent == pid]
    return tree


def settle(server: Server, *, limit: float = 10.0) -> None:
    """Waits until a server has stopped working, such as on what it does after its start; `limit` seconds at most."""
    end = time.monotonic() + limit
    before = -1.0
    while (now := server.cpu_seconds()) > before and time.monotonic() < end:
        before = now
        time.sleep(0.3)
