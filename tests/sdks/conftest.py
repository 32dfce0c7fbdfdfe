"""A `headwater serve` of its own for the SDKs' tests."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADWATER = Path(sys.executable).with_name("headwater")
TIME_LIMIT_S = 120


def _ready_target(server: subprocess.Popen[str]) -> str:
    """Reads the server's output until a line names its address, and goes on reading so that no pipe fills up."""
    assert server.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    output = server.stdout

    def read() -> None:
        for line in output:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    seen: list[str] = []
    while (line := lines.get(timeout=TIME_LIMIT_S)) is not None:
        seen.append(line)
        if match := re.search(r"127\.0\.0\.1:[1-9]\d*", line):
            return match.group()
    pytest.fail(f"headwater serve ended before it was ready: {''.join(seen)}")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Gives the address of a real server whose corpus `default` holds the demo's documents."""
    data = tmp_path_factory.mktemp("data")
    command = [str(HEADWATER), "serve", "--address", "127.0.0.1:0", "--data-dir", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            target = _ready_target(server)
            documents = ROOT / "docs" / "demo" / "handbook"
            subprocess.run([HEADWATER, "import", documents, "--target", target], check=True, timeout=TIME_LIMIT_S)
            yield target
        finally:
            server.terminate()
            server.wait(timeout=TIME_LIMIT_S)
