"""The examples of docs/writing-an-assistant.md, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections.abc import AsyncIterator, Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from headwater.v1 import answer_pb2, assistant_service_pb2, generation_pb2
from headwater_server.assistant.config import AssistantConfig, NamedProvider
from headwater_server.assistant.failover import FailoverPolicy
from headwater_server.assistant.openai_chat import ChatOptions
from headwater_server.assistant.protocol import ENTRY_POINT_GROUP
from headwater_server.assistant.registry import ProviderRegistry
from headwater_server.assistant.service import AssistantCore
from headwater_server.errors import InvalidRequest, Reason, ServiceError
from tests.assistant.asking import CALLER, Heard, a_request, ask
from tests.assistant.cores import KEY
from tests.assistant.fake_provider import Canned, FakeProvider, event, fake_provider
from tests.fidelity.recordings import MANIFEST, Recording, recordings

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "docs/writing-an-assistant.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def named(table: dict[str, Any], base_url: str) -> NamedProvider:
    """A table of the settings, whose URL is this one where it has one."""
    api, key_of, has_place = table.pop("api"), table.pop("api_key_env", ""), bool(table.pop("base_url", ""))
    return NamedProvider(api=api, base_url=base_url if has_place else "", api_key_env=key_of, options=table)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ProviderRegistry]:
    """The plugins of the page, with its settings; `base_url` takes the place of that of the API."""
    monkeypatch.syspath_prepend(tmp_path)
    for example in blocks("python"):
        name = example.splitlines()[0].removeprefix("# ")
        (tmp_path / name).write_text(example, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    packaging, settings = (tomllib.loads(block) for block in blocks("toml"))
    declared = packaging["project"]["entry-points"][ENTRY_POINT_GROUP]
    plugins = [EntryPoint(name, value, ENTRY_POINT_GROUP) for name, value in declared.items()]

    def made(base_url: str = "") -> ProviderRegistry:
        providers = {name: named(dict(table), base_url) for name, table in settings["assistants"].items()}
        config = AssistantConfig(providers=providers, environ={"MINE_KEY": KEY}, failover=FailoverPolicy(retries=0))
        return ProviderRegistry(config, plugins=plugins)

    return made


@pytest.fixture
async def core(registry: Callable[..., ProviderRegistry]) -> AsyncIterator[AssistantCore]:
    made = registry("http://127.0.0.1:1/v1")  # where nobody listens
    yield AssistantCore(made, AssistantConfig(environ={}))
    await made.aclose()


@pytest.mark.parametrize("assistant", ["first-lines/first", "lines/first"])
async def test_the_example_answers_and_cites(core: AssistantCore, assistant: str) -> None:
    heard = await ask(core, a_request("Why?", assistant=assistant, sources=["Größe.\nMore.", "Second"]))
    assert heard.text == "Größe.\nSecond\n"
    assert heard.spans == [("Größe.", ["1"]), ("Second", ["2"])]
    assert [citation.evidence[0].quote for citation in heard.citations] == ["Größe.", "Second"]
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert heard.answer.model_version == "1"


async def test_the_example_is_listed(core: AssistantCore) -> None:
    page = await core.list_assistants(assistant_service_pb2.ListAssistantsRequest(), CALLER)
    names = {assistant.name: assistant.display_name for assistant in page.assistants}
    assert names["assistants/first-lines/first"] == names["assistants/lines/first"] == "First lines"


async def test_the_example_refuses_what_it_cannot_do(core: AssistantCore) -> None:
    options = generation_pb2.GenerationOptions(temperature=1)
    with pytest.raises(InvalidRequest):
        await ask(core, a_request("Why?", assistant="lines/first", sources=["x"], generation=options))


def recorded() -> list[Recording]:
    """What the real provider sent."""
    return [each for each in recordings() if each.api == "anthropic" and each.finish is not None]


async def told(made: Callable[..., ProviderRegistry], canned: Canned, heard: Heard, **more: Any) -> FakeProvider:
    """Asks the example behind HTTP, which is answered so."""
    async with fake_provider() as provider:
        provider.canned = canned
        registry = made(provider.url)
        config = AssistantConfig(environ={}, failover=FailoverPolicy(retries=0))
        try:
            await ask(AssistantCore(registry, config), a_request("Why?", assistant="mine/some-model", **more), heard)
        finally:
            await registry.aclose()
    return provider


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[place : place + size] for place in range(0, len(body), size)]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
async def test_the_example_behind_http_reads_what_the_real_provider_sent(
    registry: Callable[..., ProviderRegistry], size: int
) -> None:
    if not MANIFEST.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{MANIFEST} is not there; HEADWATER_SHARED says where the shared data are")
        pytest.skip(f"needs the recorded streams, which are not in the repository ({MANIFEST})")
    assert len(recorded()) > 2
    for recording in recorded():
        if len(recording.body) > 20_000 and size < 100:
            continue
        heard = Heard()
        provider = await told(registry, Canned(pieces(recording.body, size)), heard)
        assert heard.text == recording.text
        assert heard.reasoning == recording.expected["reasoning"]
        assert heard.answer.finish_reason == recording.finish
        usage = heard.answer.usage
        assert {"in": usage.input_tokens, "out": usage.output_tokens} == recording.expected["usage"]
        ((line, headers, _),) = provider.requests
        assert line == "POST /v1/messages HTTP/1.1"
        assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")


BEGUN = event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "part [1]"}})
OVERLOADED = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}


@pytest.mark.parametrize(
    ("canned", "reason", "text"),
    [
        (Canned([BEGUN]), Reason.PROVIDER_TRUNCATED, "part"),
        (Canned([BEGUN], length=9999), Reason.PROVIDER_TRUNCATED, "part"),
        (Canned([BEGUN, event(OVERLOADED)]), Reason.PROVIDER_RATE_LIMITED, "part"),
        (Canned([BEGUN, b"event: error\ndata: it fell over\n\n"]), Reason.PROVIDER_UNAVAILABLE, "part"),
        (Canned([json.dumps(OVERLOADED).encode()]), Reason.PROVIDER_RATE_LIMITED, ""),
        (Canned([json.dumps(OVERLOADED).encode()], status=429), Reason.PROVIDER_RATE_LIMITED, ""),
        (Canned([b"<html>"], status=502), Reason.PROVIDER_UNAVAILABLE, ""),
        (Canned([event({"type": "content_block_start", "content_block": {"type": "tool_use"}})]),
         Reason.PROVIDER_PROTOCOL, ""),
    ],
)  # fmt: skip
async def test_the_example_behind_http_types_every_error_and_makes_no_false_end(
    registry: Callable[..., ProviderRegistry], canned: Canned, reason: Reason, text: str
) -> None:
    heard = Heard()
    with pytest.raises(ServiceError) as raised:
        await told(registry, canned, heard, sources=["a source"])
    assert raised.value.reason is reason
    assert heard.text == text
    assert not heard.answer.finish_reason


async def test_the_example_behind_http_sends_what_is_asked_and_refuses_what_it_has_not(
    registry: Callable[..., ProviderRegistry],
) -> None:
    stop = event({"type": "message_stop"})
    generation = {"max_output_tokens": 5, "stop_sequences": ["END"], "provider_options": {"top_k": 3}}
    provider = await told(registry, Canned([stop]), Heard(), generation=generation)
    body = provider.requests[0][2]
    assert isinstance(body, dict)
    assert (body["max_tokens"], body["stop_sequences"], body["top_k"]) == (5, ["END"], 3)
    for refused in ({"seed": 1}, {"provider_options": {"max_tokens": 1}}, {"provider_options": {"system": "x"}}):
        with pytest.raises(InvalidRequest):
            await told(registry, Canned([stop]), Heard(), generation=refused)


def test_the_page_names_every_key_of_openai_chat() -> None:
    keys = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert sorted(keys) == sorted(ChatOptions.__slots__)
