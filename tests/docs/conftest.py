from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater import Client
from tests.docs.examples import headwater_command
from tests.docs.fences import ROOT

TIME_LIMIT_S = 120


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which nothing is set up but the command `headwater`."""
    home = tmp_path_factory.mktemp("home")
    commands = headwater_command(home / "bin")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "OPENAI_"))}
    return kept | {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.fixture(scope="session")
def target(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server whose corpus `default` holds the demo's documents."""
    data = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "headwater", "serve", "--address", "127.0.0.1:0", "--data-dir", str(data)]
    with (
        (data / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        try:
            address = _address(server, data / "log")
            with Client(address) as client:
                for path in sorted((ROOT / "docs/demo/handbook").iterdir()):
                    client.documents.import_file(path, corpus="default", document_id=path.name, timeout=TIME_LIMIT_S)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=TIME_LIMIT_S)


def _address(server: subprocess.Popen[str], log: Path) -> str:
    """The address in the line that says that the server is ready."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert server.stdout is not None
        for line in server.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    while line := lines.get(timeout=TIME_LIMIT_S):
        if match := re.search(r"127\.0\.0\.1:[1-9]\d*", line):
            return match.group()
    pytest.fail(f"the server ended before it was ready: {log.read_text()}")
