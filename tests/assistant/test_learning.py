"""How large a model's context is, learned from lists that hold up nobody, and connections opened beforehand."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint

import anyio
import pytest

from headwater_server.assistant.config import AssistantConfig, NamedProvider
from headwater_server.assistant.failover import FailoverPolicy
from headwater_server.assistant.protocol import (
    ENTRY_POINT_GROUP,
    Event,
    Finished,
    FinishReason,
    GenerateRequest,
    Model,
    Text,
)
from headwater_server.assistant.registry import ProviderRegistry
from headwater_server.assistant.service import AssistantCore, open_assistants
from headwater_server.errors import Reason, ServiceError
from headwater_server.owned_tasks import owned_tasks
from tests.assistant.asking import a_request, ask
from tests.assistant.fake_provider import Canned, fake_provider
from tests.assistant.talking import Api

pytestmark = pytest.mark.anyio

SOURCES = ["word " * 100, "text " * 200, "more " * 2000]
"""More than a small context holds; the first two fit into 2,000 tokens."""


@dataclass
class Listing:
    """A provider of one model `m`, whose list is as the test wants it."""

    lists: Callable[[], Awaitable[Sequence[Model]]]
    fails: bool = False
    asked: list[GenerateRequest] = field(default_factory=list)
    listed: int = 0
    warmed: int = 0
    known: Model = field(default_factory=lambda: Model("m"))

    @property
    def model(self) -> Model:
        return self.known

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        self.asked.append(request)
        if self.fails:
            raise ServiceError(Reason.PROVIDER_UNAVAILABLE, "down")
        yield Text("So.")
        yield Finished(FinishReason.STOP)

    def assistant(self, model: str) -> Listing:
        assert model == self.known.id
        return self

    async def models(self) -> Sequence[Model]:
        self.listed += 1
        models = await self.lists()
        self.known = next(iter(models), self.known)
        return models

    async def warm(self) -> None:
        self.warmed += 1

    async def aclose(self) -> None:
        pass


Serve = Callable[..., AbstractAsyncContextManager[AssistantCore]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    @asynccontextmanager
    async def served(*providers: Listing, max_age: float = 60) -> AsyncIterator[AssistantCore]:
        monkeypatch.setitem(sys.modules, "listing_plugin", type(sys)("listing_plugin"))
        plugins = []
        for number, provider in enumerate(providers):
            monkeypatch.setattr(f"listing_plugin.p{number}", lambda _, it=provider: it, raising=False)
            plugins.append(EntryPoint(f"p{number}", f"listing_plugin:p{number}", ENTRY_POINT_GROUP))
        fallbacks = {"p0/m": [f"p{number}/m" for number in range(1, len(providers))]}
        config = AssistantConfig(
            default_assistant="p0/m",
            environ={},
            list_timeout=60,
            list_max_age=max_age,
            learn_within=0.05,
            failover=FailoverPolicy(fallbacks=fallbacks, retries=0),
        )
        async with owned_tasks(cancel=True) as tasks:
            yield AssistantCore(ProviderRegistry(config, plugins=plugins), config, tasks=tasks)

    return served


async def with_context() -> Sequence[Model]:
    return [Model("m", context_tokens=2000)]


async def without_context() -> Sequence[Model]:
    return [Model("m")]


async def forever() -> Sequence[Model]:
    await anyio.sleep_forever()
    raise AssertionError


async def failing() -> Sequence[Model]:
    raise ServiceError(Reason.PROVIDER_UNAVAILABLE, "down")


async def test_a_quick_list_fits_the_first_long_request(serve: Serve) -> None:
    provider = Listing(with_context)
    async with serve(provider) as core:
        await ask(core, a_request("Why?", sources=SOURCES))
    assert [source.id for source in provider.asked[0].sources] == ["1", "2"]


async def test_a_list_that_does_not_come_holds_up_nobody(serve: Serve) -> None:
    provider = Listing(forever)
    async with serve(provider) as core:
        with anyio.fail_after(20):
            for _ in range(5):
                await ask(core, a_request("Why?", sources=SOURCES))
    assert [len(request.sources) for request in provider.asked] == [3] * 5
    assert provider.listed == 1


async def test_a_list_without_contexts_is_asked_for_once(serve: Serve) -> None:
    provider = Listing(without_context)
    async with serve(provider, max_age=0) as core:
        for _ in range(5):
            await ask(core, a_request("Why?", sources=SOURCES))
    assert provider.listed == 1


async def test_a_list_that_failed_is_asked_for_again_and_not_waited_for(serve: Serve) -> None:
    provider = Listing(failing)
    async with serve(provider, max_age=0) as core:
        await ask(core, a_request("Why?", sources=SOURCES))
        provider.lists = forever
        with anyio.fail_after(20):
            await ask(core, a_request("Why?", sources=SOURCES))
            await anyio.wait_all_tasks_blocked()
        assert provider.listed == 2


async def test_a_short_request_asks_for_no_list(serve: Serve) -> None:
    provider = Listing(forever)
    async with serve(provider) as core:
        await ask(core, a_request("Why?"))
    assert provider.listed == 0


async def test_what_stands_in_is_sent_what_fits_its_own_context(serve: Serve) -> None:
    wanted, other = Listing(without_context, fails=True), Listing(with_context)
    async with serve(wanted, other) as core:
        await ask(core, a_request("Why?", sources=SOURCES))
    assert len(wanted.asked[0].sources) == 3
    assert [source.id for source in other.asked[0].sources] == ["1", "2"]


async def test_what_stands_in_and_has_no_room_at_all_is_passed_over(serve: Serve) -> None:
    async def tiny() -> Sequence[Model]:
        return [Model("m", context_tokens=300)]

    wanted, small, large = Listing(without_context, fails=True), Listing(tiny), Listing(without_context)
    async with serve(wanted, small, large) as core:
        heard = await ask(core, a_request("why " * 3000))
    assert heard.answer.assistant == "assistants/p2/m"
    assert small.asked == []


async def test_providers_are_made_ready_at_the_start_and_when_a_question_is_expected(serve: Serve) -> None:
    first, second = Listing(without_context), Listing(without_context)
    async with serve(first, second) as core:
        await anyio.wait_all_tasks_blocked()
        assert (first.warmed, second.warmed) == (1, 1)
        for name in ("", "p1/m", "assistants/p1/m", "nobody/m", "builtin/extractive"):
            core.expect(name)
        await anyio.wait_all_tasks_blocked()
        assert (first.warmed, second.warmed) == (2, 3)
        for _ in range(100):
            core.expect("")
        await anyio.wait_all_tasks_blocked()
        assert first.warmed == 6
    assert first.asked == []


async def test_the_connection_of_the_first_question_is_there_before_it() -> None:
    async with fake_provider() as provider:
        provider.canned = Canned([b"data: [DONE]\n\n"])
        tables = {"mine": NamedProvider(api="openai-chat", base_url=provider.url)}
        async with open_assistants(AssistantConfig(providers=tables, environ={})) as core:
            with anyio.fail_after(10):
                while not provider.connections:  # noqa: ASYNC110 (there is no event of it)
                    await anyio.sleep(0.005)
            assert provider.requests == []
            with pytest.raises(ServiceError):
                await ask(core, a_request("Why?", assistant="mine/m"))
        assert provider.connections == 1
        assert len(provider.requests) == 1


async def test_a_provider_of_which_there_is_only_a_key_is_not_connected_to() -> None:
    async with fake_provider() as provider:
        environ = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "x"}
        async with open_assistants(AssistantConfig(environ=environ)):
            await anyio.wait_all_tasks_blocked()
        assert provider.connections == 0


async def test_llama_cpp_says_how_large_a_requests_context_is() -> None:
    entry = {"id": "a.gguf", "owned_by": "llamacpp", "meta": {"n_ctx": 4096, "n_ctx_train": 8192}}
    assert await Api("openai-chat").models({"data": [entry]}) == [("a.gguf", "", 4096)]
    entry = {"id": "a.gguf", "owned_by": "llamacpp", "meta": {"n_ctx_train": 8192}}
    assert await Api("openai-chat").models({"data": [entry]}) == [("a.gguf", "", 8192)]


async def test_a_server_of_one_model_has_its_context_under_every_name() -> None:
    entry = {"id": "a.gguf", "owned_by": "llamacpp", "meta": {"n_ctx": 4096}}
    async with fake_provider() as provider:
        provider.canned = Canned([json.dumps({"data": [entry]}).encode()])
        tables = {"mine": NamedProvider(api="openai-chat", base_url=provider.url)}
        config = AssistantConfig(providers=tables, environ={}, learn_within=10)
        async with open_assistants(config) as core:
            with pytest.raises(ServiceError) as raised:
                await ask(core, a_request("why " * 9000, assistant="mine/whatever"))
    assert raised.value.reason is Reason.CONTEXT_TOO_LARGE
    assert raised.value.metadata["context_tokens"] == "4096"
