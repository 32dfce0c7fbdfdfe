from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncGenerator, Sequence
from importlib.metadata import EntryPoint

import anyio
import pytest

from headwater.v1 import assistant_service_pb2
from headwater_server.assistant.config import AssistantConfig, AssistantConfigError, NamedProvider
from headwater_server.assistant.protocol import (
    ENTRY_POINT_GROUP,
    Event,
    Finished,
    FinishReason,
    GenerateRequest,
    Model,
    ProviderSettings,
    Text,
)
from headwater_server.assistant.registry import HTTP_APIS, BrokenProvider, ProviderRegistry
from headwater_server.assistant.service import AssistantCore, open_assistants
from headwater_server.errors import InvalidRequest, Reason, ResourceNotFound, ServiceError
from tests.assistant.asking import CALLER, a_request, ask
from tests.assistant.fake_provider import Canned, fake_provider

pytestmark = pytest.mark.anyio

HERE = __name__
SECRET = "sk-canary-5f1d9b7c3e"


class Echo:
    """A plugin's assistant."""

    def __init__(self, model: str) -> None:
        self.model = Model(id=model)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        yield Text(request.question)
        yield Finished(FinishReason.STOP)


class EchoProvider:
    """A plugin's provider, which lists its models in a way of the test's choice."""

    listing: Sequence[Model] | Exception | None = (Model("a"), Model("b/c", context_tokens=100))
    closed = 0

    def __init__(self, settings: ProviderSettings) -> None:
        self.settings = settings

    def assistant(self, model: str) -> Echo:
        return Echo(model)

    async def models(self) -> Sequence[Model]:
        if isinstance(self.listing, Exception):
            raise self.listing
        if self.listing is None:
            await anyio.sleep_forever()
        return self.listing or ()

    async def aclose(self) -> None:
        type(self).closed += 1


def a_factory(settings: ProviderSettings) -> EchoProvider:
    if settings.options:
        raise ValueError(f"assistants.{settings.name}.{next(iter(settings.options))}: not a setting of echo")
    return EchoProvider(settings)


def a_failing_factory(settings: ProviderSettings) -> EchoProvider:
    raise RuntimeError("no such device")


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, ENTRY_POINT_GROUP)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "echo_plugin", sys.modules[HERE])
    monkeypatch.setattr(EchoProvider, "listing", (Model("a"), Model("b/c", context_tokens=100)))


ECHO = entry("echo", "echo_plugin:a_factory")


def a_registry(config: AssistantConfig | None = None, *plugins: EntryPoint) -> ProviderRegistry:
    return ProviderRegistry(config or AssistantConfig(environ={}), plugins=[ECHO, *plugins])


def a_core(config: AssistantConfig | None = None, *plugins: EntryPoint) -> AssistantCore:
    config = config or AssistantConfig(environ={})
    return AssistantCore(a_registry(config, *plugins), config)


async def names(core: AssistantCore, page_size: int = 0) -> list[str]:
    found: list[str] = []
    request = assistant_service_pb2.ListAssistantsRequest(page_size=page_size)
    while True:
        page = await core.list_assistants(request, CALLER)
        found += [assistant.name for assistant in page.assistants]
        if not page.next_page_token:
            return found
        assert len(page.assistants) == page_size
        request.page_token = page.next_page_token


@pytest.mark.parametrize("api", HTTP_APIS)
def test_every_api_of_our_own_is_a_module_with_its_name(api: str) -> None:
    module = importlib.import_module(f"headwater_server.assistant.{api.replace('-', '_')}")
    tables = {"mine": NamedProvider(api=api, base_url="https://x.example")}
    made = ProviderRegistry(AssistantConfig(providers=tables, environ={}), plugins=()).provider("mine")
    assert type(made) is type(module.provider(ProviderSettings("mine", base_url="https://x.example")))


async def test_a_plugin_answers_under_its_name() -> None:
    heard = await ask(a_core(), a_request("Echo me", assistant="assistants/echo/x/y"))
    assert (heard.text, heard.answer.assistant) == ("Echo me", "assistants/echo/x/y")


async def test_the_default_is_the_built_in_assistant_unless_the_settings_name_another() -> None:
    assert a_registry().assistant("")[0] == "assistants/builtin/extractive"
    config = AssistantConfig(default_assistant="assistants/echo/z", environ={})
    assert a_registry(config).assistant("")[0] == "assistants/echo/z"


def test_an_unknown_provider_is_not_found_and_the_message_lists_what_there_is() -> None:
    with pytest.raises(ResourceNotFound, match="builtin, echo") as raised:
        a_registry().assistant("nobody/x")
    assert raised.value.resource == "assistants/nobody/x"
    with pytest.raises(ResourceNotFound, match="builtin/extractive"):
        a_registry().assistant("builtin/other")


def test_openai_without_a_key_says_which_variable_to_set() -> None:
    with pytest.raises(ResourceNotFound, match="OPENAI_API_KEY"):
        a_registry().assistant("openai/gpt-4o")


async def test_openais_own_variables_set_it_up() -> None:
    async with fake_provider() as provider:
        provider.canned = Canned([b'{"data":[{"id":"m1"},{"id":5},"x",{"id":"m2","context_length":4096}]}'], headers=())
        environ = {"OPENAI_BASE_URL": provider.url + "/", "OPENAI_API_KEY": SECRET}
        async with open_assistants(AssistantConfig(environ=environ)) as core:
            assert [name for name in await names(core) if "openai" in name] == [
                "assistants/openai/m1",
                "assistants/openai/m2",
            ]
    assert provider.requests[0][0] == "GET /v1/models HTTP/1.1"
    assert provider.requests[0][1]["authorization"] == f"Bearer {SECRET}"


async def test_a_broken_plugin_is_named_and_stops_no_other() -> None:
    core = a_core(None, entry("gone", "no_such_module:provider"), entry("failing", "echo_plugin:a_failing_factory"))
    assert "assistants/echo/a" in await names(core)
    with pytest.raises(
        ResourceNotFound, match=r"'gone' \(no_such_module:provider\) cannot be loaded: ModuleNotFoundError"
    ):
        await ask(core, a_request("x", assistant="gone/m"))
    with pytest.raises(ResourceNotFound, match=r"'failing' .* no such device"):
        await ask(core, a_request("x", assistant="failing/m"))


def test_plugins_are_imported_when_they_are_asked_for() -> None:
    registry = a_registry(None, entry("gone", "no_such_module:provider"))
    with pytest.raises(BrokenProvider):
        registry.provider("gone")


def test_nobody_takes_the_place_of_the_built_in_assistant() -> None:
    registry = a_registry(None, entry("builtin", "echo_plugin:a_factory"))
    with pytest.raises(ResourceNotFound):
        registry.assistant("builtin/anything")


@pytest.mark.parametrize(
    ("provider", "problem"),
    [
        (
            NamedProvider(api="telepathy"),
            r"assistants\.mine\.api: there is no 'telepathy'; there are anthropic, .*builtin, .*echo, .*openai-chat",
        ),
        (NamedProvider(api="openai-chat", base_url="ftp://x"), r"assistants\.mine\.base_url: must begin with"),
        (NamedProvider(api="openai-chat", base_url=f"http://u:{SECRET}@x/v1"), "user name or password"),
        (NamedProvider(api="openai-chat", base_url=f"http://x/v1?key={SECRET}"), "without a query"),
        (NamedProvider(api="openai-chat", base_url="http://[::1"), "not a URL"),
        (NamedProvider(api="openai-chat", base_url="http://x:99999/"), "not a URL"),
        (NamedProvider(api="openai-chat", api_key=SECRET, api_key_env="X"), "not both"),
        (NamedProvider(api="openai-chat", api_key_env="NOT_SET"), "NOT_SET is not set"),
        (NamedProvider(api="openai-chat", options={"thinktags": True}), r"assistants\.mine\.thinktags: not a setting"),
        (NamedProvider(api="openai-chat", options={"think_tags": "yes"}), "must be of type bool"),
        (NamedProvider(api="builtin", base_url="http://x"), "no settings"),
        (NamedProvider(api="echo", options={"loud": 1}), r"assistants\.mine\.loud"),
    ],
)
def test_a_wrong_setting_is_found_at_the_start_and_named_without_its_secret(
    provider: NamedProvider, problem: str
) -> None:
    config = AssistantConfig(providers={"mine": provider}, environ={})
    with pytest.raises(AssistantConfigError, match=problem) as raised:
        a_registry(config)
    assert SECRET not in str(raised.value)
    assert SECRET not in repr(config)


@pytest.mark.parametrize("proxy", ["http://svc:canary/9xQ@proxy.example:3128", "socks5://svc:canary@proxy.example"])
def test_a_proxy_that_cannot_be_used_is_told_of_without_a_part_of_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    registry = a_registry(AssistantConfig(environ={"ANTHROPIC_API_KEY": "sk-ant-x"}))
    with pytest.raises(ResourceNotFound, match=r"a proxy in .* cannot be used") as raised:
        registry.assistant("anthropic/claude-x")
    captured = capsys.readouterr()
    assert "assistant_provider_broken" in captured.out + captured.err
    for told in (raised.value.message, captured.out, captured.err):
        assert "canary" not in told


def test_what_happens_in_a_library_below_our_own_providers_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(settings: ProviderSettings) -> EchoProvider:
        raise RuntimeError(f"it holds {settings.api_key}")

    monkeypatch.setattr("headwater_server.assistant.openai_chat.provider", fail)
    config = AssistantConfig(providers={"mine": NamedProvider(api="openai-chat", api_key=SECRET)}, environ={})
    with pytest.raises(AssistantConfigError, match="cannot be loaded: RuntimeError") as raised:
        a_registry(config)
    assert SECRET not in str(raised.value)


def test_a_default_that_is_not_there_is_found_at_the_start() -> None:
    with pytest.raises(AssistantConfigError, match="assistants/nobody/x"):
        a_registry(AssistantConfig(default_assistant="nobody/x", environ={}))


async def test_secrets_are_in_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    config = AssistantConfig(
        providers={"mine": NamedProvider(api="openai-chat", base_url="http://127.0.0.1:1", api_key=SECRET)},
        environ={"OPENAI_API_KEY": SECRET},
    )
    registry = a_registry(config)
    shown = [config, registry.settings("mine"), registry.settings("openai"), registry.provider("mine"), vars(registry)]
    assert SECRET not in repr(shown)
    await registry.aclose()


async def test_a_list_comes_in_pages_by_name() -> None:
    everything = await names(a_core())
    assert everything == ["assistants/builtin/extractive", "assistants/echo/a", "assistants/echo/b/c"]
    assert await names(a_core(), page_size=1) == everything
    with pytest.raises(InvalidRequest, match="page_token"):
        await a_core().list_assistants(assistant_service_pb2.ListAssistantsRequest(page_token="é?"), CALLER)


async def test_configured_models_and_the_default_are_listed_beside_those_of_the_provider() -> None:
    config = AssistantConfig(
        providers={"mine": NamedProvider(api="echo", models=["b/c", "z"], context_tokens=7)},
        default_assistant="mine/d",
        environ={},
    )
    page = await a_core(config).list_assistants(assistant_service_pb2.ListAssistantsRequest(), CALLER)
    mine = {a.name.removeprefix("assistants/mine/"): a for a in page.assistants if "/mine/" in a.name}
    assert sorted(mine) == ["a", "b/c", "d", "z"]
    assert mine["b/c"].context_tokens == 100
    assert mine["z"].context_tokens == 7
    assert [name for name, assistant in mine.items() if assistant.default_assistant] == ["d"]


@pytest.mark.parametrize("listing", [ServiceError(Reason.PROVIDER_UNAVAILABLE, "down"), RuntimeError("defect"), None])
async def test_a_provider_that_cannot_list_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, listing: Exception | None
) -> None:
    monkeypatch.setattr(EchoProvider, "listing", listing)
    config = AssistantConfig(providers={"mine": NamedProvider(api="echo", models=["m"])}, list_timeout=0.05, environ={})
    assert await names(a_core(config)) == ["assistants/builtin/extractive", "assistants/mine/m"]


async def test_one_assistant_is_found_by_name_without_asking_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EchoProvider, "listing", None)
    request = assistant_service_pb2.GetAssistantRequest(name="assistants/builtin/extractive")
    found = await a_core().get_assistant(request, CALLER)
    assert found.default_assistant
    assert found.display_name == "Extractive"
    with pytest.raises(ResourceNotFound):
        await a_core().get_assistant(assistant_service_pb2.GetAssistantRequest(name="assistants/x/y"), CALLER)


async def test_closing_the_service_closes_its_providers() -> None:
    before = EchoProvider.closed
    registry = a_registry()
    registry.provider("echo")
    await registry.aclose()
    assert EchoProvider.closed == before + 1
