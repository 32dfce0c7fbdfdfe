"""Assistants that stand in for one that fails, through the whole assistant service and over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from headwater.v1 import answer_pb2, assistant_service_pb2
from headwater_server.assistant.config import AssistantConfig, AssistantConfigError, NamedProvider
from headwater_server.assistant.failover import FailoverPolicy
from headwater_server.assistant.service import AssistantCore, open_assistants
from headwater_server.errors import InvalidRequest, Reason, ServiceError
from tests.assistant.asking import Heard, a_request, ask
from tests.assistant.fake_provider import HANG, Canned, FakeProvider, chat_event, fake_provider

pytestmark = pytest.mark.anyio

DOWN = Canned(status=503)


def saying(*words: str) -> Canned:
    deltas = [chat_event(delta={"content": word}) for word in words]
    return Canned([*deltas, chat_event(delta={}, finish_reason="stop"), b"data: [DONE]\n\n"])


@asynccontextmanager
async def a_core(
    providers: Mapping[str, FakeProvider], fallbacks: Mapping[str, Sequence[str]], **settings: float
) -> AsyncIterator[AssistantCore]:
    policy = FailoverPolicy(fallbacks=fallbacks, first_delay=0.001, longest_delay=0.01, **settings)  # type: ignore[arg-type]  # numbers by name
    tables = {name: NamedProvider(api="openai-chat", base_url=provider.url) for name, provider in providers.items()}
    config = AssistantConfig(providers=tables, environ={}, failover=policy)
    async with open_assistants(config) as core:
        yield core


async def test_a_fallback_answers_with_its_own_name_and_its_own_prompt() -> None:
    async with fake_provider() as one, fake_provider() as two:
        one.canned, two.canned = DOWN, saying("From ", "the other [1].")
        async with a_core({"one": one, "two": two}, {"one/m": ["two/other"]}) as core:
            heard = await ask(core, a_request("What?", assistant="one/m", sources=["A source."]))
    assert heard.text == "From the other."
    assert heard.answer.assistant == "assistants/two/other"
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert heard.spans == [("From the other", ["1"])]
    assert len(one.requests) == 3
    assert [body["model"] for _, _, body in two.requests if isinstance(body, dict)] == ["other"]


async def test_a_refusal_is_the_answer_even_where_there_is_a_fallback() -> None:
    async with fake_provider() as one, fake_provider() as two:
        one.canned, two.canned = Canned(status=401), saying("no")
        async with a_core({"one": one, "two": two}, {"one/m": ["two/m"]}) as core:
            with pytest.raises(ServiceError) as raised:
                await ask(core, a_request("What?", assistant="one/m"))
    assert raised.value.reason is Reason.PROVIDER_UNAUTHENTICATED
    assert (len(one.requests), len(two.requests)) == (1, 0)


async def test_what_breaks_after_its_first_words_keeps_them_and_nobody_else_goes_on() -> None:
    async with fake_provider() as one, fake_provider() as two:
        one.canned = Canned([chat_event(delta={"content": "Half"})], length=10_000)
        two.canned = saying("other")
        heard = Heard()
        async with a_core({"one": one, "two": two}, {"one/m": ["two/m"]}) as core:
            with pytest.raises(ServiceError) as raised:
                await ask(core, a_request("What?", assistant="one/m"), into=heard)
    assert raised.value.reason is Reason.PROVIDER_TRUNCATED
    assert heard.text == "Half"
    assert (len(one.requests), len(two.requests)) == (1, 0)


async def test_a_prompt_too_long_for_the_wanted_model_is_said_and_nobody_is_asked() -> None:
    async with fake_provider() as one, fake_provider() as two:
        tables = {
            "one": NamedProvider(api="openai-chat", base_url=one.url, context_tokens=256),
            "two": NamedProvider(api="openai-chat", base_url=two.url),
        }
        policy = FailoverPolicy(fallbacks={"one/m": ["two/m"]})
        async with open_assistants(AssistantConfig(providers=tables, environ={}, failover=policy)) as core:
            with pytest.raises(ServiceError) as raised:
                await ask(core, a_request("word " * 4000, assistant="one/m"))
    assert raised.value.reason is Reason.CONTEXT_TOO_LARGE
    assert not one.requests
    assert not two.requests


async def test_a_provider_that_was_put_to_rest_is_not_asked_while_its_fallback_answers() -> None:
    async with fake_provider() as one, fake_provider() as two:
        one.canned, two.canned = DOWN, saying("here")
        fallbacks = {"one/m": ["two/m"]}
        async with a_core({"one": one, "two": two}, fallbacks, retries=0, failures_to_rest=2) as core:
            for _ in range(5):
                assert (await ask(core, a_request("What?", assistant="one/m"))).text == "here"
    assert len(one.requests) == 2


async def test_a_fallback_that_cannot_do_what_is_wanted_is_passed_over() -> None:
    async with fake_provider() as one, fake_provider() as two, fake_provider() as three:
        one.canned, three.canned = DOWN, saying("here")
        tables = {
            "one": NamedProvider(api="openai-chat", base_url=one.url),
            "two": NamedProvider(api="anthropic", base_url=two.url, api_key="key"),  # which has no seed
            "three": NamedProvider(api="openai-chat", base_url=three.url),
        }
        request = a_request("What?", assistant="one/m")
        request.generation.seed = 7
        for fallbacks, heard in ((["two/m", "three/m"], "here"), (["two/m"], None)):
            policy = FailoverPolicy(fallbacks={"one/m": fallbacks}, retries=0)
            async with open_assistants(AssistantConfig(providers=tables, environ={}, failover=policy)) as core:
                if heard:
                    assert (await ask(core, request)).text == heard
                    continue
                with pytest.raises(ServiceError) as raised:
                    await ask(core, request)
                assert raised.value.reason is Reason.PROVIDER_UNAVAILABLE
                assert raised.value.metadata["tried"] == "one/m, two/m"
    assert not two.requests


async def test_a_provider_that_takes_a_request_and_says_nothing_gives_way_to_its_fallback() -> None:
    async with fake_provider() as one, fake_provider() as two:
        one.canned, two.canned = Canned([HANG]), saying("here")
        async with a_core({"one": one, "two": two}, {"one/m": ["two/m"]}, first_event=0.3) as core:
            assert (await ask(core, a_request("What?", assistant="one/m"))).text == "here"
        await one.gone.wait()
    assert len(one.requests) == 1


async def test_what_an_assistant_has_said_is_never_gone_on_with_by_another() -> None:
    async with fake_provider() as one, fake_provider() as two:
        one.canned, two.canned = DOWN, saying("other")
        async with a_core({"one": one, "two": two}, {"one/m": ["two/m"]}) as core:
            request = a_request("What?", assistant="one/m")
            request.prefix.CopyFrom(assistant_service_pb2.AnswerPrefix(text="It says"))
            with pytest.raises(InvalidRequest):
                await ask(core, request)
    assert not two.requests


async def test_a_fallback_whose_provider_is_not_there_is_refused_at_the_start() -> None:
    config = AssistantConfig(environ={}, failover=FailoverPolicy(fallbacks={"builtin/extractive": ["nobody/m"]}))
    with pytest.raises(AssistantConfigError, match="nobody/m"):
        async with open_assistants(config):
            pass
