from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from headwater_server.runtime.app import assistant_config, orchestrator_config, retrieval_config
from headwater_server.runtime.settings import AssistantSettings, Settings, SettingsError, load
from headwater_server.runtime.settings_toml import as_toml

FILE = """
address = "127.0.0.1:1001"
drain = 11

[limits]
first_token = 1
between_tokens = 2

[assistants.local]
api = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
api_key = "sk-canary-0123456789"
models = ["a", "b"]
think = true
nested = { list = [1, 2.5, "x"] }

[tokens]
acme = "acme-token-0123456789"
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEADWATER_CONFIG", "HEADWATER_TARGET", "HEADWATER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "headwater.toml"
    path.write_text(FILE)
    return path


def test_without_anything_there_are_defaults() -> None:
    settings = load()
    assert settings.address == "127.0.0.1:50051"
    assert (settings.limits.first_token, settings.limits.between_tokens, settings.limits.total) == (60, 30, 600)
    assert settings.limits.heartbeat == 15
    assert settings.assistant == "builtin/extractive"
    assert settings.data_dir.is_absolute()


def test_flags_are_over_the_environment_and_that_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_LIMITS__BETWEEN_TOKENS", "22")
    monkeypatch.setenv("HEADWATER_LIMITS__TOTAL", "23")
    monkeypatch.setenv("HEADWATER_DRAIN", "12")
    settings = load(config=file, flags={"limits": {"total": 33}, "drain": None, "address": "127.0.0.1:1003"})
    assert settings.address == "127.0.0.1:1003"
    assert settings.drain == 12
    assert (settings.limits.first_token, settings.limits.between_tokens, settings.limits.total) == (1, 22, 33)


def test_the_environment_can_name_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_CONFIG", str(file))
    assert load().address == "127.0.0.1:1001"


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"adress": "127.0.0.1:1"}, "adress: there is no such setting"),
        ({"limits": {"frist_token": 1}}, "limits.frist_token: there is no such setting"),
        ({"limits": {"first_token": 0}}, "limits.first_token"),
        ({"limits": {"total": "soon"}}, "limits.total"),
        ({"limits": {"answers": 0}}, "limits.answers"),
        ({"retrieval": {"top_k": 101}}, "retrieval.top_k"),
        ({"log": {"level": "chatty"}}, "log.level"),
        ({"tls": {"cert": "x.pem"}}, "cert and key go together"),
        ({"tls": {"client_ca": "x.pem"}}, "client_ca needs cert and key"),
        ({"tokens": {"acme": "short"}}, "acme"),
        ({"assistants": {"builtin": {"api": "openai-chat", "base_url": "http://x"}}}, "built-in"),
        ({"assistants": {"a/b": {"api": "openai-chat", "base_url": "http://x"}}}, "no name for a provider"),
        ({"assistants": {"a": {"base_url": "http://x"}}}, "assistants.a.api"),
        (
            {"assistants": {"a": {"api": "x", "base_url": "http://x", "api_key": "k", "api_key_env": "K"}}},
            "api_key or api_key_env",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_setting_that_is_unknown_or_wrong_is_named(flags: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(flags=flags)
    assert named in str(caught.value)


def test_a_secret_that_is_wrong_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        load(flags={"tokens": {"acme": "shh-secret"}})
    assert "shh-secret" not in str(caught.value)


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("this is no TOML")
    (tmp_path / "unknown.toml").write_text("adress = 'x'")
    for name, message in (
        ("absent.toml", "cannot read"),
        ("broken.toml", "is not TOML"),
        ("unknown.toml", "no such setting"),
    ):
        with pytest.raises(SettingsError, match=message) as caught:
            load(config=tmp_path / name)
        assert name in str(caught.value)


def test_what_is_shown_is_toml_without_secrets_that_loads_again(file: Path, tmp_path: Path) -> None:
    settings = load(config=file, flags={"data_dir": tmp_path / 'a "strange"\\folder\n'})
    shown = as_toml(settings)
    assert "canary" not in shown
    assert "acme-token" not in shown
    (tmp_path / "again.toml").write_text(shown)
    again = load(config=tmp_path / "again.toml")
    assert as_toml(again) == shown
    hidden = {"tokens", "assistants"}
    assert again.model_dump(exclude=hidden) == settings.model_dump(exclude=hidden)
    assert again.assistants["local"].model_extra == settings.assistants["local"].model_extra
    assert again.assistants["local"].models == ("a", "b")
    assert again.tokens.keys() == settings.tokens.keys()


def test_what_plugins_and_urls_hide_is_not_shown() -> None:
    provider = {
        "api": "plugin",
        "base_url": "http://user:canary-1@host:1/v1?key=canary-2",
        "signing_key": "canary-3",
        "headers": {"Authorization": "Bearer canary-4"},
        "max_tokens_field": "max_tokens",
    }
    shown = as_toml(load(flags={"assistants": {"p": provider}}))
    assert "canary" not in shown
    assert "host:1/v1" in shown
    assert 'max_tokens_field = "max_tokens"' in shown


leaves = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text(max_size=5))
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), trees, max_size=4), st.text(min_size=1, max_size=4))
def test_any_options_and_any_text_survive_being_shown(options: dict[str, Any], text: str) -> None:
    made = AssistantSettings.model_validate({"api": "x", "base_url": text, "models": [text], "options": options})
    settings = Settings.model_construct(assistants={"a": made}, tokens={text: SecretStr("x" * 16)})
    shown = tomllib.loads(as_toml(settings))
    assert shown["assistants"]["a"]["options"] == options
    assert shown["assistants"]["a"]["base_url"] == text
    assert shown["assistants"]["a"]["models"] == [text]


def test_all_secrets_are_known_to_the_log(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "from-the-environment")
    other = {"other": {"api": "openai-chat", "base_url": "http://x", "api_key_env": "SOME_KEY"}}
    settings = load(config=file, flags={"assistants": other})
    assert set(settings.secrets()) == {"sk-canary-0123456789", "acme-token-0123456789", "from-the-environment"}
    assert not any(secret in repr(settings) for secret in ("sk-canary-0123456789", "acme-token-0123456789"))


def test_each_service_gets_its_part(file: Path) -> None:
    settings = load(config=file, flags={"retrieval": {"top_k": 5, "workers": 2, "passage_characters": 500}})
    retrieval = retrieval_config(settings)
    assert (retrieval.top_k, retrieval.workers, retrieval.split.max_characters) == (5, 2, 500)
    assistant = assistant_config(settings)
    assert assistant.providers["local"].api_key == "sk-canary-0123456789"
    assert assistant.providers["local"].options == {"think": True, "nested": {"list": [1, 2.5, "x"]}}
    assert assistant.default_assistant == "builtin/extractive"
    orchestrator = orchestrator_config(settings)
    assert (orchestrator.limits.first_token, orchestrator.limits.total) == (1, 600)
    assert orchestrator.max_answers == 256


def test_embedders_are_settings_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E5_KEY", "key-canary-of-e5")
    flags = {
        "retrieval": {"embedder": "e5/m", "device": "auto", "passage_characters": 400, "overlap_characters": 200},
        "embedders": {
            "e5": {"api": "tei", "base_url": "http://x", "api_key_env": "E5_KEY", "query_prefix": "query: "},
            "ours": {"api": "openai", "api_key": "key-canary-of-ours", "dimension": 256, "batch_texts": 3},
        },
    }
    settings = load(flags=flags)
    retrieval = retrieval_config(settings)
    assert (retrieval.split.max_characters, retrieval.split.overlap_characters) == (400, 200)
    assert (retrieval.embedding.default, retrieval.embedding.device) == ("e5/m", "auto")
    ours, e5 = retrieval.embedding.embedders["ours"], retrieval.embedding.embedders["e5"]
    assert (ours.api, ours.api_key, ours.dimension, ours.batch_texts) == ("openai", "key-canary-of-ours", 256, 3)
    assert (e5.base_url, e5.api_key_env, e5.query_prefix) == ("http://x", "E5_KEY", "query: ")
    assert {"key-canary-of-e5", "key-canary-of-ours"} <= set(settings.secrets())
    assert "canary" not in as_toml(settings) + repr(settings) + repr(retrieval)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"embedders": {"builtin": {"api": "tei"}}}, "the built-in embedder"),
        ({"embedders": {"a/b": {"api": "tei"}}}, "is no name for a provider"),
        ({"embedders": {"x": {"api": "word2vec"}}}, "embedders.x.api"),
        ({"embedders": {"x": {"api": "tei", "api_key": "a", "api_key_env": "B"}}}, "not both"),
        ({"embedders": {"x": {"api": "tei", "query_prefix": "x" * 100, "max_characters": 100}}}, "leave room"),
        ({"retrieval": {"passage_characters": 100, "overlap_characters": 51}}, "at most half"),
        ({"retrieval": {"device": "tpu"}}, "retrieval.device"),
    ],
)
def test_a_setting_of_embedders_that_cannot_work_is_named(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(flags=flags)
