from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from headwater_server.assistant.openai_chat import ChatOptions
from headwater_server.runtime.settings import load
from scripts.settings_docs import tables, updated
from tests.docs.fences import ROOT

VALUES = {
    "string": "another",
    "path": "/another",
    "secret string": "another secret of mine",
    "list of strings": '["another"]',
    "true or false": "true",
}
COMPANIONS = {
    "HEADWATER_FAILOVER__FALLBACKS__NAME": '["one"]',
    "HEADWATER_TOKENS__NAME": "a secret of some length",
    "HEADWATER_ASSISTANTS__NAME__API": "openai-chat",
    "HEADWATER_ASSISTANTS__NAME__BASE_URL": "http://127.0.0.1/v1",
    "HEADWATER_EMBEDDERS__NAME__API": "openai",
    "HEADWATER_RERANKERS__NAME__API": "jina",
    "HEADWATER_TLS__CERT": "cert.pem",
    "HEADWATER_TLS__KEY": "key.pem",
}
"""What must be set for other settings to be taken, or to be there at all."""


KINDS: Mapping[str, str] = {row.variable: row.kind for table in tables() for row in table.settings}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("HEADWATER_"):
            monkeypatch.delenv(name)
    for name, value in COMPANIONS.items():
        monkeypatch.setenv(name, value)


def _loaded() -> dict[str, Any]:
    """What was read, by environment variable."""
    return dict(_leaves(load().model_dump(), "HEADWATER_"))


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name.upper()}__")
        else:
            yield prefix + name.upper(), value


def test_the_page_is_in_step_with_the_settings() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert updated(page) == page, "run python scripts/settings_docs.py"


def test_every_setting_has_its_row() -> None:
    assert set(KINDS) == set(_loaded())


@pytest.mark.parametrize("variable", KINDS)
def test_a_variable_sets_its_setting_and_no_other(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _loaded()
    monkeypatch.setenv(variable, _another(KINDS[variable], before[variable]))
    after = _loaded()
    assert [name for name in before if before[name] != after[name]] == [variable]


def _another(kind: str, value: object) -> str:
    """A value of a kind that is not this one."""
    if kind in VALUES:
        return VALUES[kind]
    if choices := re.findall(r"`(\w+)`", kind):
        return str(choices[-1])
    return "256" if value is None else f"{value + 1:g}" if isinstance(value, float) else str(int(str(value)) + 1)


def test_every_meaning_is_a_sentence() -> None:
    for table in tables():
        for row in table.settings:
            assert row.meaning.endswith("."), row


def test_every_option_of_openai_chat_stands_on_the_page_with_its_default() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", page, re.MULTILINE))
    for option in dataclasses.fields(ChatOptions):
        assert rows[option.name] == {False: "false", True: "true", "": '""', (): "[]"}[option.default]
