"""Somebody at a terminal: types, and reads what appears."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.serving import HEADWATER, TIME_LIMIT_S, environment

CTRL_C = "\x03"
CTRL_D = "\x04"

# A session's leader that opens a terminal is controlled by it from then on, so that Ctrl-C is a signal to it.
_CONTROLLED = "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR)); os.execv(sys.argv[1], sys.argv[1:])"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Typist:
    """What the tests know of the terminal."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self._terminal = terminal
        self._seen = ""

    def type(self, text: str) -> None:
        """Types a line, or whatever keys."""
        os.write(self._terminal, text.encode())

    def interrupt(self) -> None:
        """Presses Ctrl-C at a prompt: not before Python waits there, which it begins to do after it has written it."""
        time.sleep(0.3)
        self.type(CTRL_C)

    def paste(self, text: str) -> None:
        """Pastes, as a terminal does where a program has asked for brackets."""
        self.type(f"\x1b[200~{text}\x1b[201~")

    def wait_for(self, text: str) -> str:
        """Reads until a text has appeared; returns all that has, up to its end, and forgets that much."""
        until = time.monotonic() + TIME_LIMIT_S
        while text not in self._seen:
            if not self._read(until):
                raise AssertionError(f"{text!r} did not appear: {self._seen!r}")
        before, found, self._seen = self._seen.partition(text)
        return before + found

    def end(self) -> tuple[int, str]:
        """Waits until the program has ended; returns its exit code and what it wrote at last."""
        until = time.monotonic() + TIME_LIMIT_S
        while self._read(until):
            pass
        return self.process.wait(timeout=TIME_LIMIT_S), self._seen

    def _read(self, until: float) -> bool:
        """Reads what there is. False: there will be no more."""
        if not select.select([self._terminal], [], [], max(0.0, until - time.monotonic()))[0]:
            return False
        try:
            block = os.read(self._terminal, 4096)
        except OSError:  # how Linux says that nobody has the terminal any more
            return False
        self._seen += _ESCAPES.sub("", block.decode("utf-8", "replace"))
        return bool(block)


@contextmanager
def typing(*arguments: str, target: str, extra: Mapping[str, str] | None = None) -> Iterator[Typist]:
    """Runs the command line on a terminal for as long as the context lasts."""
    ours, theirs = pty.openpty()
    more = {"HEADWATER_TARGET": target, "TERM": "xterm-256color", **(extra or {})}
    with subprocess.Popen(
        [sys.executable, "-c", _CONTROLLED, *HEADWATER, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(more),
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            yield Typist(process, ours)
        finally:
            if process.poll() is None:
                process.kill()
            os.close(ours)
