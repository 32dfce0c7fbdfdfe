"""The real llama.cpp server with a model that says known texts."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from headwater.v1 import answer_pb2, generation_pb2, source_pb2
from headwater_server.assistant.service import AssistantCore
from tests.assistant.asking import CALLER, a_request, ask
from tests.assistant.cores import core_at
from tests.scripted_llm.running import scripted_llm

pytest.importorskip("gguf", reason="needs the package gguf (development requirements)")
pytest.importorskip("xllamacpp", reason="needs the package xllamacpp (development requirements)")
pytestmark = pytest.mark.anyio

ME = "fake/scripted"
SOURCES = ["Token by token.", "Three passages were ranked.", "One terminal message."]


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scripted_llm(tmp_path_factory.mktemp("llm")) as url:
        yield url


@pytest.fixture
async def core(llm: str) -> AsyncIterator[AssistantCore]:
    async with core_at(f"{llm}/v1", api_key="") as opened:
        yield opened


def scenarios() -> dict[str, str]:
    from tests.scripted_llm.model import SCENARIOS  # noqa: PLC0415 (only where its packages are installed)

    return SCENARIOS


@pytest.mark.parametrize("grounded", [False, True])
@pytest.mark.parametrize("name", ["unicode", "seps", "ssebait", "code", "long", "empty"])
async def test_every_scenario_is_exact(core: AssistantCore, name: str, grounded: bool) -> None:
    heard = await ask(core, a_request(f"Say #{name}", assistant=ME, sources=SOURCES if grounded else ()))
    assert heard.text == scenarios()[name]
    assert not heard.reasoning
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert heard.answer.usage.origin == answer_pb2.USAGE_ORIGIN_REPORTED


async def test_thinking_that_the_server_leaves_in_the_text_stays_there_word_for_word(core: AssistantCore) -> None:
    assert (await ask(core, a_request("Say #think", assistant=ME))).text == scenarios()["think"]


async def test_thinking_is_reasoning_where_the_settings_say_so(llm: str) -> None:
    async with core_at(f"{llm}/v1", options={"think_tags": True}) as core:
        heard = await ask(core, a_request("Say #think", assistant=ME, sources=SOURCES))
    assert heard.reasoning == "\nThe user asks; passage two is relevant.\n"
    assert heard.text == "The answer is forty-two."
    assert heard.spans == [("The answer is forty-two", ["2"])]


async def test_without_sources_the_markers_stay(core: AssistantCore) -> None:
    assert (await ask(core, a_request("Hello", assistant=ME))).text == scenarios()["default"]


async def test_with_sources_the_markers_become_citations(core: AssistantCore) -> None:
    heard = await ask(core, a_request("Hello", assistant=ME, sources=SOURCES))
    text = scenarios()["default"]
    for marker in (" [1]", " [2]", " [3]"):
        text = text.replace(marker, "")
    assert heard.text == text
    first, second, third = text.removesuffix(".").split(". ")
    assert heard.spans == [(first, ["1"]), (second, ["2"]), (third, ["3"])]
    assert [source.disposition for source in heard.answer.sources] == [source_pb2.SOURCE_DISPOSITION_CITED] * 3
    assert heard.answer.model_version == "scripted.gguf"


async def test_a_marker_of_a_source_that_was_not_presented_stays_in_the_text(core: AssistantCore) -> None:
    heard = await ask(core, a_request("Hello", assistant=ME, sources=SOURCES[:2]))
    assert heard.text.endswith("that carries the sources [3].")
    assert [source.disposition for source in heard.answer.sources] == [source_pb2.SOURCE_DISPOSITION_CITED] * 2


async def test_an_endless_text_ends_at_the_limit_of_tokens(core: AssistantCore) -> None:
    options = generation_pb2.GenerationOptions(max_output_tokens=6)
    heard = await ask(core, a_request("Say #loop", assistant=ME, generation=options))
    assert heard.text == " tick tock" * 3
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_MAX_TOKENS
    assert heard.answer.usage.output_tokens == 6


async def test_a_stop_sequence_ends_the_text(core: AssistantCore) -> None:
    options = generation_pb2.GenerationOptions(stop_sequences=["w0003"])
    heard = await ask(core, a_request("Say #long", assistant=ME, generation=options))
    assert heard.text.rstrip() == "w0000 w0001 w0002"


async def test_leaving_an_endless_answer_frees_the_servers_slot(llm: str, core: AssistantCore) -> None:
    chunks = core.stream_generate(a_request("Say #loop", assistant=ME), CALLER)
    async for chunk in chunks:
        if chunk.text.offset_bytes > 100:
            break
    await chunks.aclose()
    with anyio.fail_after(10):
        await asyncio.to_thread(wait_for_idle_slots, llm)


async def test_the_servers_models_are_listed(core: AssistantCore) -> None:
    listed = await core._list.all()
    assert "assistants/fake/scripted.gguf" in [name for name, _ in listed]


def wait_for_idle_slots(url: str) -> None:
    while any(slot["is_processing"] for slot in slots(url)):
        time.sleep(0.02)


def slots(url: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(f"{url}/slots") as response:  # noqa: S310 (the test's own server)
        found: list[dict[str, object]] = json.load(response)
    return found
