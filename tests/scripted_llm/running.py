"""The scripted model behind a real llama.cpp server, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVE = Path(__file__).with_name("serve.py")


@contextmanager
def scripted_llm(folder: Path, *, continuable: bool = False) -> Iterator[str]:
    """Makes the model in a folder and serves it.

    Args:
        folder: The folder.
        continuable: Whether the model has to go on from a part of its text.

    Yields:
        The server's base URL, without `/v1`.
    """
    from tests.scripted_llm.model import write_model  # noqa: PLC0415 (only where its packages are installed)

    write_model(folder / "scripted.gguf", continuable=continuable)
    with (folder / "llama.log").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, str(SERVE), "scripted.gguf"],  # the name by which the server calls the model
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        with process:
            try:
                yield _address(process, folder / "llama.log")
            finally:
                process.kill()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    for line in process.stdout or ():
        word, _, address = line.decode().strip().partition(" ")
        if word == "LISTEN":
            return address
    raise RuntimeError(f"llama.cpp did not start:\n{log.read_text(errors='replace')[-2000:]}")
