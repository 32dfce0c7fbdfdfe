"""Headwater in both arrangements, as its users run it: by the command line, in processes of their own."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.arrangements.model_server import ModelServer
from tests.serving import HEADWATER, TIME_LIMIT_S, environment

TOKEN = "the-token-of-acme-0123456789"
OTHER_TOKEN = "the-token-of-globex-0123456789"

SETTINGS = """
[limits]
heartbeat = 0.2

[retrieval]
workers = 1

[tokens]
acme = "{token}"
globex = "{other}"

[assistants.scripted]
api = "openai-chat"
base_url = "{url}"
models = ["echo", "hanging"]
"""


@dataclass
class Arrangement:
    """Services that run, and one address for all of them."""

    target: str
    model: ModelServer


@dataclass
class ServerProcess:
    """One `headwater serve`."""

    process: subprocess.Popen[str]
    address: str


@contextmanager
def serving(role: str, folder: Path, *arguments: str, address: str = "127.0.0.1:0") -> Iterator[ServerProcess]:
    """Runs `headwater serve` in a role, with the settings of `folder`."""
    name = role.replace(" ", "-")
    command = [*HEADWATER, "serve", role, "--config", str(folder / "settings.toml"), "--address", address]
    command += ["--data-dir", str(folder / f"{name}-data"), *arguments]
    with (
        (folder / f"{name}.log").open("a") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment()) as process,
    ):
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            found = re.search(r" is ready on (\S+:[1-9]\d*)", ready)
            assert found, ready + (folder / f"{name}.log").read_text()
            yield ServerProcess(process, found.group(1))
        finally:
            process.terminate()
            try:
                process.wait(timeout=TIME_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def write_settings(folder: Path, model: ModelServer) -> None:
    """Writes the settings that all services of an arrangement share."""
    text = SETTINGS.format(token=TOKEN, other=OTHER_TOKEN, url=model.url)
    (folder / "settings.toml").write_text(text)


@contextmanager
def arranged(kind: str, folder: Path, model: ModelServer) -> Iterator[Arrangement]:
    """All services, in one process or in three."""
    write_settings(folder, model)
    with ExitStack() as stack:
        if kind == "one process":
            yield Arrangement(stack.enter_context(serving("all", folder)).address, model)
            return
        retrieval = stack.enter_context(serving("retrieval", folder)).address
        assistant = stack.enter_context(serving("assistant", folder)).address
        yield Arrangement(stack.enter_context(orchestrating(folder, retrieval, assistant)).address, model)


@contextmanager
def orchestrating(folder: Path, retrieval: str, assistant: str) -> Iterator[ServerProcess]:
    """An orchestrator over the other two."""
    targets = ("--retrieval-target", retrieval, "--assistant-target", assistant)
    with serving("orchestrator", folder, *targets) as orchestrator:
        yield orchestrator
