from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from headwater_server.runtime import logs, settings
from tests.docs.examples import Session, json_difference, json_values
from tests.docs.fences import KNOWN, PAGES, Fence, fences, page_id

FENCES = [fence for page in PAGES for fence in fences(page)]
RUNNING = [page for page in PAGES if any(fence.runs for fence in fences(page))]

_COMMAND = re.compile(r"(?:^|\s)(?:\S*/)?headwater ((?:[a-z]+ ?)+)")


def _fences(language: str) -> list[Fence]:
    return [fence for fence in FENCES if fence.language == language]


@pytest.fixture
def _quiet_log() -> Iterator[None]:
    """Services that an example opens in this process log as a server does, and not to standard output."""
    logs.configure(level="error")
    yield
    structlog.reset_defaults()


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet_log")
@pytest.mark.parametrize("page", RUNNING, ids=page_id)
def test_the_examples_of_a_page_run(
    page: Path, target: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        if name.startswith(("HEADWATER_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HEADWATER_TARGET", target)
    monkeypatch.chdir(PAGES[0].parent)
    with Session(f"examples_of_{page.stem.replace('-', '_')}", environment | {"HEADWATER_TARGET": target}) as session:
        for fence in fences(page):
            if fence.runs or fence.is_output:
                session.run(fence)


def test_every_fence_is_of_a_kind_whose_fate_is_known() -> None:
    assert FENCES
    assert [fence.where for fence in FENCES if fence.language not in KNOWN] == []


def test_every_output_follows_a_block_that_runs() -> None:
    for page in PAGES:
        before: Fence | None = None
        for fence in fences(page):
            assert not fence.is_output or (before is not None and before.runs), fence.where
            before = fence


@pytest.mark.parametrize("fence", _fences("python"), ids=lambda fence: fence.where)
def test_python_that_is_shown_compiles(fence: Fence) -> None:
    compile(fence.code, fence.where, "exec")


@pytest.mark.parametrize("fence", _fences("json"), ids=lambda fence: fence.where)
def test_json_that_is_shown_is_json(fence: Fence) -> None:
    assert list(json_values(fence.code))


@pytest.mark.parametrize("fence", _fences("toml"), ids=lambda fence: fence.where)
def test_toml_that_is_shown_is_settings(fence: Fence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("HEADWATER_"):
            monkeypatch.delenv(name)
    if "project" in tomllib.loads(fence.code):
        return
    file = tmp_path / "headwater.toml"
    file.write_text(fence.code, encoding="utf-8")
    settings.load(config=file)


def _commands() -> dict[str, dict[str, str]]:
    """By command, the options that the pages give it, each with a place."""
    found: dict[str, dict[str, str]] = {}
    for fence in FENCES:
        if fence.language not in {"bash", "console"}:
            continue
        for line in fence.code.replace("\\\n", " ").splitlines():
            if match := _COMMAND.search(re.sub(r'"[^"]*"', '""', line.removeprefix("$ "))):
                options = re.findall(r"(?<=\s)--[a-z-]+", line[match.start() :])
                words = match[1].split()
                command = words[0] if words[0] not in {"corpora", "documents", "assistants"} else " ".join(words[:2])
                found.setdefault(command, {}).update(dict.fromkeys(options, fence.where))
    return found


@pytest.mark.parametrize("command", sorted(_commands()))
def test_commands_that_are_shown_have_the_options_that_are_shown(command: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["headwater", *command.split(), "--help"],
        env=environment | {"COLUMNS": "200", "TERM": "dumb"},
        executable=Path(environment["PATH"].split(os.pathsep)[0]) / "headwater",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    offered = set(re.findall(r"--[a-z-]+", done.stdout))
    assert {option: where for option, where in _commands()[command].items() if option not in offered} == {}


def test_shown_json_differs_where_a_value_differs() -> None:
    shown = json.loads('{"name": "answers/…", "cosine": 0.86, "list": [1, {"a": "b"}]}')
    real = json.loads('{"name": "answers/5f", "cosine": 0.8590355, "list": [1, {"a": "b"}]}')
    assert json_difference(shown, real, path="") is None
    for key, value in (("name", "chats/5f"), ("cosine", 0.5), ("list", [1, {"a": "c"}]), ("list", [1]), ("new", 1)):
        assert json_difference(shown, real | {key: value}, path="")
