"""What it costs to begin: to import the client library, and to start the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median

from benchmarks.streaming.targets import Found, Outcome, Target

LIBRARY = Target("`import headwater`, CPU as a ratio to `import grpc`", "", 2.5, 1.3)
HELP = Target("`headwater --help`, CPU as a ratio to `import grpc`", "", 2.5, 1.3)

_COMMANDS = {
    "nothing": ["-c", "pass"],
    "grpc": ["-c", "import grpc"],
    "headwater": ["-c", "import headwater"],
    "client": ["-c", "from headwater import Client"],
    "help": ["-m", "headwater", "--help"],
}


def beginnings(*, rounds: int) -> Outcome:
    """CPU of new processes, Python's own start included."""
    seconds: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    for _ in range(5 * rounds):
        for name, arguments in _COMMANDS.items():
            seconds[name].append(_cpu_seconds(arguments))
    cost = {name: 1000 * median(values) for name, values in seconds.items()}
    ratio = {name: value / cost["grpc"] for name, value in cost.items()}
    beside = {"Python alone": ratio["nothing"]}
    first_use = {"`from headwater import Client`": ratio["client"]}  # `import headwater` puts off all that it can
    return Outcome([Found(LIBRARY, ratio["headwater"], first_use | beside), Found(HELP, ratio["help"], beside)])


def _cpu_seconds(arguments: list[str]) -> float:
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"python {arguments} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime
