"""Runs the benchmarks in short form, and keeps what each prints as Markdown in `benchmarks/results`.

    python -m benchmarks                    all of them, some minutes
    python -m benchmarks relay embedding    these

Each can be run by itself and longer: `python -m benchmarks.relay --help`. They want a quiet machine, and one at a time.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results"


@dataclass(frozen=True)
class Program:
    """One benchmark as it is run here."""

    module: str
    arguments: tuple[str, ...] = ()
    prints_markdown: bool = False


PROGRAMS = {
    "relay": Program("benchmarks.relay", ("--rounds", "2", "--tokens", "100"), prints_markdown=True),
    "relay-burst": Program(
        "benchmarks.relay", ("--burst", "--rounds", "2", "--streams", "16", "--tokens", "2000"), prints_markdown=True
    ),
    "streaming": Program(
        "benchmarks.streaming", ("hop", "log", "cancel", "memory", "imports", "--rounds", "1"), prints_markdown=True
    ),
    "overload": Program("benchmarks.overload", prints_markdown=True),
    "embedding": Program("benchmarks.embedding", ("--passages", "50", "--rounds", "3")),
    "extractive": Program("benchmarks.extractive"),
    "answer_log": Program("benchmarks.answer_log", ("--rounds", "3"), prints_markdown=True),
    "import_pace": Program("benchmarks.import_pace", ("--documents", "20", "--rounds", "1"), prints_markdown=True),
    "retrieval_quality": Program("benchmarks.retrieval_quality", ("--rounds", "2")),
    "retrieval_cost": Program("benchmarks.retrieval_cost", ("--sizes", "1400", "11000"), prints_markdown=True),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run the benchmarks in short form.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which, of {', '.join(PROGRAMS)}; all if none")
    names = parser.parse_args().names or list(PROGRAMS)
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        parser.error(f"there is no {' and no '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in names:
        code = run(name, PROGRAMS[name])
        if code == 130:
            return code
        if code:
            failed.append(name)
    print(f"\nwritten to {RESULTS.relative_to(ROOT)}/" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def run(name: str, program: Program) -> int:
    """Runs one benchmark, shows what it prints as it comes, and keeps it; returns its exit code."""
    command = [sys.executable, "-m", program.module, *program.arguments]
    heading = f"## {name}\n\n`python -m {shlex.join(command[2:])}`, {machine()}\n"
    print(f"\n{heading}", flush=True)
    lines = []
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None, "it was opened with a pipe"
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
        code = process.wait()
    except KeyboardInterrupt:  # the program had it too, and stops what it started
        process.wait()
        return 130
    text = "".join(lines).strip("\n")
    body = text if program.prints_markdown else f"```text\n{text}\n```"
    ending = f"\nIt ended with code {code}.\n" if code else ""
    (RESULTS / f"{name}.md").write_text(f"{heading}\n{body}\n{ending}", encoding="utf-8")
    return code


def machine() -> str:
    """When, on what, and how busy it was."""
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"{when}, {os.cpu_count()} CPUs ({platform.machine()}, {platform.system()} {platform.release()}), "
        f"load average {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main())
