"""Runs the scripted server as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def scripted_server(*arguments: str) -> Iterator[str]:
    """Gives the address of a server that plays the cases, and stops it at the end."""
    with scripted_process(*arguments) as (_, target):
        yield target


@contextmanager
def scripted_process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Gives the process of such a server too."""
    command = [sys.executable, "-m", "tests.conformance.server", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            assert port.isdecimal(), "the scripted server did not start"
            yield process, f"127.0.0.1:{port}"
        finally:
            process.stdin.close()
            process.wait(10)
