"""Every preset, streamed through as whoever sets its variables has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import pytest

from headwater.v1 import answer_pb2
from headwater_server.assistant.config import AssistantConfig, NamedProvider
from headwater_server.assistant.presets import PRESETS, variables_of
from headwater_server.assistant.service import open_assistants
from headwater_server.errors import InvalidRequest
from tests.assistant.asking import Heard, a_request, ask
from tests.assistant.cores import KEY
from tests.assistant.fake_provider import Canned, FakeProvider, event, fake_provider, said

pytestmark = pytest.mark.anyio

CHAT = said("Hel", "lo.")
ANSWERS: Mapping[str, Sequence[bytes]] = {
    "anthropic": [
        event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello."}}),
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        event({"type": "message_stop"}),
    ],
    "cohere": [
        event({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hello."}}}}),
        event({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}),
    ],
    "gemini": [event({"candidates": [{"content": {"parts": [{"text": "Hello."}]}, "finishReason": "STOP"}]})],
    "ollama": [b'{"message": {"content": "Hello."}, "done": true, "done_reason": "stop"}\n'],
}
PATHS = {
    "anthropic": "/v1/messages",
    "azure-openai": "/openai/v1/chat/completions",
    "cohere": "/v2/chat",
    "gemini": "/v1beta/models/some-model:streamGenerateContent?alt=sse",
    "ollama": "/api/chat",
}
KEYS = {
    "anthropic": ("x-api-key", KEY),
    "azure-openai": ("api-key", KEY),
    "gemini": ("x-goog-api-key", KEY),
}
WITH_VERSION = {name for name, preset in PRESETS.items() if preset.api in {"openai-chat", "perplexity", "deepseek"}}
"""Presets whose base URL holds the API's version."""
LIMITS = {"azure-openai": "max_completion_tokens", "gemini": "generationConfig", "ollama": "options"}


async def asked_of(name: str, provider: FakeProvider, **generation: object) -> Heard:
    """Asks a preset, which is where its variable says."""
    api = PRESETS[name].api
    provider.canned = Canned(ANSWERS.get(api, CHAT))
    base_url, api_key = variables_of(name)
    url = provider.url if name in WITH_VERSION else provider.url.removesuffix("/v1")
    async with open_assistants(AssistantConfig(environ={base_url: url, api_key: KEY})) as core:
        return await ask(core, a_request("Hello?", assistant=f"{name}/some-model", generation=generation))


@pytest.mark.parametrize("name", PRESETS)
async def test_every_preset_streams_an_answer(name: str) -> None:
    api = PRESETS[name].api
    async with fake_provider() as provider:
        heard = await asked_of(name, provider, max_output_tokens=5, instructions="Be brief.")
    assert heard.text == "Hello."
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert heard.answer.assistant == f"assistants/{name}/some-model"
    ((line, headers, body),) = provider.requests
    assert line == f"POST {PATHS.get(api, '/v1/chat/completions')} HTTP/1.1"
    header, value = KEYS.get(api, ("authorization", f"Bearer {KEY}"))
    assert headers[header] == value
    assert headers["content-type"] == "application/json"
    assert isinstance(body, dict)
    assert LIMITS.get(api, "max_tokens") in body
    if api != "gemini":
        assert body["model"] == "some-model"
        assert body["stream"] is True
        assert body["messages"][-1] == {"role": "user", "content": "Hello?"}
    if name in WITH_VERSION | {"azure"}:
        assert body["messages"][0] == {"role": "system", "content": "Be brief."}
        assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("name", PRESETS)
async def test_what_a_preset_lacks_is_refused_and_all_else_is_sent(name: str) -> None:
    lacking = set[str]()
    settings: Mapping[str, object] = {"temperature": 0.5, "top_p": 0.5, "stop_sequences": ["END"], "seed": 7}
    for field, value in settings.items():
        async with fake_provider() as provider:
            refused = ""
            try:
                await asked_of(name, provider, **{field: value})
            except InvalidRequest as error:
                refused = error.violations[0].field
        if refused:
            assert refused == f"generation.{field}"
            assert not provider.requests
            lacking.add(field)
        else:
            sent = str(provider.requests[0][2])
            assert str(value) in sent
            assert ("require_parameters" in sent) is (name == "openrouter")
    expected = {
        "ai21": {"seed"},
        "anthropic": {"seed"},
        "deepseek": {"seed", "temperature", "top_p"},
        "moonshot": {"seed"},
        "perplexity": {"seed", "stop_sequences"},
    }
    assert lacking == expected.get(name, set())


@pytest.mark.parametrize("name", sorted(WITH_VERSION))
async def test_a_table_of_the_settings_points_a_preset_elsewhere(name: str) -> None:
    preset = PRESETS[name]
    async with fake_provider() as provider:
        provider.canned = Canned(CHAT)
        table = NamedProvider(api=preset.api, base_url=f"{provider.url}/deep", api_key=KEY, options=preset.options)
        async with open_assistants(AssistantConfig(providers={name: table}, environ={})) as core:
            heard = await ask(core, a_request("Hello?", assistant=f"{name}/a/model:of-its-own"))
    assert heard.text == "Hello."
    ((line, _, body),) = provider.requests
    assert line.split()[1] == "/v1/deep/chat/completions"
    assert isinstance(body, dict)
    assert body["model"] == "a/model:of-its-own"


@pytest.mark.parametrize("name", PRESETS)
def test_where_a_preset_is_by_itself_is_a_url_with_tls_or_this_machine(name: str) -> None:
    url = PRESETS[name].base_url
    parts = urlsplit(url)
    assert not url or parts.scheme == "https" or parts.hostname == "127.0.0.1"
    assert not url.endswith("/")
