"""The real llama.cpp server with a model that says known texts, on each of the three APIs that it speaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

import anyio
import pytest

from headwater.v1 import answer_pb2, generation_pb2
from headwater_server.assistant.service import AssistantCore
from tests.assistant.asking import CALLER, a_request, ask
from tests.assistant.cores import core_at
from tests.assistant.test_scripted_llm import SOURCES, scenarios, wait_for_idle_slots
from tests.scripted_llm.running import scripted_llm

pytest.importorskip("gguf", reason="needs the package gguf (development requirements)")
pytest.importorskip("xllamacpp", reason="needs the package xllamacpp (development requirements)")
pytestmark = pytest.mark.anyio

ME = "fake/scripted"
APIS: Mapping[str, Mapping[str, object]] = {
    "openai-chat": {},
    "openai-responses": {},
    "anthropic": {"native_citations": False},
}


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scripted_llm(tmp_path_factory.mktemp("llm")) as url:
        yield url


@pytest.fixture(params=APIS)
async def core(llm: str, request: pytest.FixtureRequest) -> AsyncIterator[AssistantCore]:
    async with core_at(f"{llm}/v1", api=request.param, api_key="", options=APIS[request.param]) as opened:
        yield opened


@pytest.mark.parametrize("name", ["unicode", "seps", "ssebait", "code", "long", "empty"])
async def test_every_scenario_is_exact_on_every_api(core: AssistantCore, name: str) -> None:
    heard = await ask(core, a_request(f"Say #{name}", assistant=ME))
    assert heard.text == scenarios()[name]
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert heard.answer.usage.origin == answer_pb2.USAGE_ORIGIN_REPORTED
    assert heard.answer.usage.input_tokens > 0


async def test_thinking_and_text_together_are_all_that_the_model_wrote(core: AssistantCore) -> None:
    heard = await ask(core, a_request("Say #think", assistant=ME))
    written = scenarios()["think"].replace("<think>", "").replace("</think>", "")
    said = (heard.reasoning + heard.text).replace("<think>", "").replace("</think>", "")
    assert said.split() == written.split()


async def test_markers_become_citations_on_every_api(core: AssistantCore) -> None:
    heard = await ask(core, a_request("Hello", assistant=ME, sources=SOURCES))
    assert [ids for _, ids in heard.spans] == [["1"], ["2"], ["3"]]
    assert "[1]" not in heard.text


async def test_an_endless_text_ends_at_the_limit_of_tokens_on_every_api(core: AssistantCore) -> None:
    options = generation_pb2.GenerationOptions(max_output_tokens=6)
    heard = await ask(core, a_request("Say #loop", assistant=ME, generation=options))
    assert heard.text == " tick tock" * 3
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_MAX_TOKENS


async def test_leaving_an_endless_answer_frees_the_servers_slot_on_every_api(llm: str, core: AssistantCore) -> None:
    chunks = core.stream_generate(a_request("Say #loop", assistant=ME), CALLER)
    async for chunk in chunks:
        if chunk.text.offset_bytes > 100:
            break
    await chunks.aclose()
    with anyio.fail_after(10):
        await asyncio.to_thread(wait_for_idle_slots, llm)
