from __future__ import annotations

import importlib.metadata
import os
import sys

import anyio
import pytest

from headwater_server.runtime.loops import backend_options, loop_name

NAME = "GRPC_EXPERIMENTS"


def test_the_loop_is_the_quicker_one_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)

    async def name() -> str:
        return loop_name()

    expected = "asyncio" if sys.platform == "win32" else "uvloop"
    assert anyio.run(name, backend_options=backend_options()) == expected
    assert anyio.run(name) == "asyncio"


def test_what_the_environment_says_of_experiments_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "another")
    backend_options()
    assert os.environ[NAME] == "another"


@pytest.mark.parametrize(
    ("version", "chosen"), [("1.71.2", True), ("1.85.1", True), ("1.86.0", False), ("2.0.0rc1", False)]
)
def test_releases_of_grpc_that_it_was_not_tried_with_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, version: str, chosen: bool
) -> None:
    monkeypatch.delenv(NAME, raising=False)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    backend_options()
    assert (NAME in os.environ) is chosen
    monkeypatch.delenv(NAME, raising=False)
