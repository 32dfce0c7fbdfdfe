"""A real llama.cpp server goes on from a part of its answer, byte for byte."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from headwater.v1 import answer_pb2
from headwater.v1.assistant_service_pb2 import AnswerPrefix
from headwater_server.assistant.service import AssistantCore
from tests.assistant.asking import CALLER, Heard, a_request, ask
from tests.assistant.cores import core_at
from tests.scripted_llm.running import scripted_llm

pytest.importorskip("gguf", reason="needs the package gguf (development requirements)")
pytest.importorskip("xllamacpp", reason="needs the package xllamacpp (development requirements)")
pytestmark = pytest.mark.anyio

ME = "fake/scripted"
SOURCES = ["Word after phrase.", "Three passages were ranked.", "One terminal message."]


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scripted_llm(tmp_path_factory.mktemp("llm"), continuable=True) as url:
        yield url


@pytest.fixture(params=["llama.cpp", "vllm"])
async def core(llm: str, request: pytest.FixtureRequest) -> AsyncIterator[AssistantCore]:
    """The server understands both ways to be asked."""
    async with core_at(f"{llm}/v1", api_key="", options={"continues": request.param}) as opened:
        yield opened


@pytest.mark.parametrize("grounded", [True, False])
async def test_an_answer_goes_on_from_every_event_and_is_the_same(core: AssistantCore, grounded: bool) -> None:
    request = a_request("Hello", assistant=ME, sources=SOURCES if grounded else ())
    events = [chunk async for chunk in core.stream_generate(request, CALLER)]
    whole = await ask(core, request)
    assert len(whole.citations) == (3 if grounded else 0)
    so_far = Heard()
    for event in events[:-1]:
        so_far.text += event.text.text
        if event.HasField("citation"):
            so_far.citations.append(event.citation)
        request.prefix.CopyFrom(AnswerPrefix(text=so_far.text, citations=so_far.citations))
        went_on = await ask(core, request, Heard(text=so_far.text, citations=list(so_far.citations)))
        assert (went_on.text, went_on.citations) == (whole.text, whole.citations)
        assert went_on.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
        assert went_on.answer.sources == whole.answer.sources
