from __future__ import annotations

from pathlib import Path

import pytest

from headwater_server.assistant.config import AssistantConfig
from headwater_server.assistant.presets import PRESETS, preset_tables, variables_of
from headwater_server.assistant.registry import ProviderRegistry
from headwater_server.errors import ResourceNotFound

SECRET = "sk-canary-91c2"


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("openai", ("OPENAI_BASE_URL", "OPENAI_API_KEY")),
        ("anthropic", ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY")),
        ("gemini", ("GEMINI_BASE_URL", "GEMINI_API_KEY")),
        ("cohere", ("CO_API_URL", "CO_API_KEY")),
        ("mistral", ("MISTRAL_BASE_URL", "MISTRAL_API_KEY")),
        ("azure", ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY")),
        ("ollama", ("OLLAMA_HOST", "OLLAMA_API_KEY")),
        ("groq", ("GROQ_BASE_URL", "GROQ_API_KEY")),
    ],
)
def test_providers_keep_their_own_names_for_their_variables(name: str, variables: tuple[str, str]) -> None:
    assert variables_of(name) == variables


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_there_with_its_key_and_makes_assistants(name: str) -> None:
    base_url, api_key = variables_of(name)
    environ = {api_key: f" {SECRET} ", base_url: "https://x.example/"}
    registry = ProviderRegistry(AssistantConfig(environ=environ), plugins=())
    resource, assistant = registry.assistant(f"{name}/some/model")
    assert resource == f"assistants/{name}/some/model"
    assert assistant.model.id == "some/model"
    assert registry.settings(name).api_key == SECRET
    assert registry.settings(name).base_url == "https://x.example"
    shown = [registry.settings(name), registry.provider(name), assistant, registry]
    assert not any(SECRET in repr(value) for value in shown)


@pytest.mark.parametrize("name", PRESETS)
def test_without_its_variables_a_preset_is_absent_and_says_which_to_set(name: str) -> None:
    registry = ProviderRegistry(AssistantConfig(environ={}), plugins=())
    assert name not in registry.names
    with pytest.raises(ResourceNotFound) as raised:
        registry.assistant(f"{name}/m")
    assert all(variable in raised.value.message for variable in variables_of(name))


def test_a_key_alone_leaves_a_preset_where_its_provider_is() -> None:
    assert preset_tables({"GROQ_API_KEY": "x"})["groq"].base_url == "https://api.groq.com/openai/v1"
    assert preset_tables({"ANTHROPIC_API_KEY": "x"})["anthropic"].base_url == ""


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("gpu.local:8000", "http://gpu.local:8000"),
        (":8000", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("https://ollama.example", "https://ollama.example"),
    ],
)
def test_ollamas_variable_may_name_a_host(host: str, url: str) -> None:
    assert preset_tables({"OLLAMA_HOST": host})["ollama"].base_url == url


@pytest.mark.parametrize("name", PRESETS)
def test_the_settings_page_has_every_preset_with_its_variables(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs/settings.md").read_text(encoding="utf-8")
    base_url, api_key = variables_of(name)
    assert f"| `{name}` | `{PRESETS[name].api}` | `{api_key}` | `{base_url}` |" in page
