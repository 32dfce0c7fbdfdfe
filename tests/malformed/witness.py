"""A well-behaved caller, in a process of its own, that asks the same question again and again.

It asks until its standard input is closed, and then says in one line of JSON how it fared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headwater import Client, HeadwaterError

QUESTION = "How many hours of annual leave can I carry over to the next leave year?"
CORPUS = "handbook"
_PAUSE_SECONDS = 0.05
_PATIENCE = 60.0
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Testimony:
    """How the caller fared."""

    answers: int
    """How many answers it got."""
    faults: list[str]
    """What was wrong, each time."""
    median: float
    """How long half of the answers took at most, in seconds."""
    slowest: float
    """How long the slowest took, in seconds."""

    def __str__(self) -> str:
        wrong = f", {len(self.faults)} wrong: {self.faults[:3]}" if self.faults else ""
        return (
            f"a caller beside them had {self.answers} answers{wrong}; "
            f"median {self.median * 1000:.0f} ms, slowest {self.slowest * 1000:.0f} ms"
        )


class Witness:
    """A caller that is asking."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.testimony: Testimony | None = None

    def stop(self) -> Testimony:
        """Lets it come to its end, and hears it."""
        said, _ = self._process.communicate(timeout=2 * _PATIENCE)
        self.testimony = Testimony(**json.loads(said))
        return self.testimony


@contextmanager
def watching(target: str, token: str) -> Iterator[Witness]:
    """Asks for as long as the context lasts, or until it is stopped."""
    command = [sys.executable, "-m", "tests.malformed.witness", target, token]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready == "asking\n", "the first question had no answer"
        try:
            yield Witness(process)
        finally:
            process.kill()


def _set_at_the_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def main(target: str, token: str) -> None:
    stop = threading.Event()
    seconds: list[float] = []
    faults: list[str] = []
    with Client(target, token=token) as client:
        expected = str(client.answer(QUESTION, corpus=CORPUS, timeout=_PATIENCE))
        assert expected
        print("asking", flush=True)  # noqa: T201 (what the other process waits for)
        threading.Thread(target=_set_at_the_end_of_input, args=(stop,), daemon=True).start()
        while not stop.wait(_PAUSE_SECONDS):
            start = time.monotonic()
            try:
                said = str(client.answer(QUESTION, corpus=CORPUS, timeout=_PATIENCE))
            except HeadwaterError as error:
                faults.append(repr(error))
            else:
                seconds.append(time.monotonic() - start)
                if said != expected:
                    faults.append(f"said {said!r}")
    seconds.sort()
    testimony = Testimony(
        len(seconds), faults, seconds[len(seconds) // 2] if seconds else 0.0, seconds[-1] if seconds else 0.0
    )
    print(json.dumps(testimony.__dict__))  # noqa: T201 (as above)


if __name__ == "__main__":
    main(*sys.argv[1:])
