from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint

import pytest
from structlog.testing import capture_logs

from headwater.v1 import answer_pb2, chat_pb2, generation_pb2, source_pb2
from headwater_server.assistant.config import AssistantConfig
from headwater_server.assistant.messages import location_words
from headwater_server.assistant.protocol import (
    ENTRY_POINT_GROUP,
    CitationStyle,
    Cite,
    Event,
    Evidence,
    Finished,
    FinishReason,
    GenerateRequest,
    Model,
    ProviderSettings,
    Reasoning,
    Role,
    Text,
    Usage,
)
from headwater_server.assistant.registry import ProviderRegistry
from headwater_server.assistant.service import AssistantCore
from headwater_server.errors import InvalidRequest, Reason, ServiceError
from tests.assistant.asking import CALLER, Heard, a_request, ask

pytestmark = pytest.mark.anyio

STOP = Finished(FinishReason.STOP, Usage(1, 1))


@dataclass
class Scripted:
    """An assistant, and its own provider, that says what the test wants."""

    events: Iterable[Event | Exception] = (STOP,)
    model: Model = field(default_factory=lambda: Model("m"))
    requests: list[GenerateRequest] = field(default_factory=list)
    closed: bool = False

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        self.requests.append(request)
        try:
            for event in self.events:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed = True

    def assistant(self, model: str) -> Scripted:
        assert model == self.model.id
        return self

    async def models(self) -> Sequence[Model]:
        return [self.model]

    async def aclose(self) -> None:
        pass


def core_of(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> AssistantCore:
    def provider(settings: ProviderSettings) -> Scripted:
        return scripted

    monkeypatch.setitem(sys.modules, "scripted_plugin", type(sys)("scripted_plugin"))
    monkeypatch.setattr("scripted_plugin.provider", provider, raising=False)
    config = AssistantConfig(default_assistant="scripted/m", environ={})
    plugin = EntryPoint("scripted", "scripted_plugin:provider", ENTRY_POINT_GROUP)
    return AssistantCore(ProviderRegistry(config, plugins=[plugin]), config)


Serve = Callable[[Scripted], AssistantCore]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    return lambda scripted: core_of(scripted, monkeypatch)


async def test_grounded_without_sources_it_abstains_without_asking(serve: Serve) -> None:
    scripted = Scripted()
    heard = await ask(serve(scripted), a_request("Why?", grounded=True))
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_ABSTAINED
    assert heard.answer.abstain_reason == answer_pb2.ABSTAIN_REASON_NO_SOURCES
    assert heard.answer.assistant == "assistants/scripted/m"
    assert heard.answer.usage.output_tokens == 0
    assert scripted.requests == []


async def test_told_never_to_abstain_it_asks_and_says_that_there_are_no_sources(serve: Serve) -> None:
    scripted = Scripted([Text("I don't know."), STOP])
    request = a_request("Why?", grounded=True, abstain_policy=generation_pb2.ABSTAIN_POLICY_NEVER)
    heard = await ask(serve(scripted), request)
    assert heard.text == "I don't know."
    assert "No source was found" in scripted.requests[0].instructions


async def test_ungrounded_it_asks_without_sources(serve: Serve) -> None:
    scripted = Scripted([Text("So."), STOP])
    await ask(serve(scripted), a_request("Why?"))
    (request,) = scripted.requests
    assert (request.grounded, request.instructions, request.messages[-1].text) == (False, "", "Why?")


async def test_what_became_of_each_source_stands_in_the_terminal_event(serve: Serve) -> None:
    scripted = Scripted([Text("One [2]."), STOP])
    heard = await ask(serve(scripted), a_request("Why?", sources=["first", "second", "third"], answer="answers/x"))
    found = [(source.id, source.disposition) for source in heard.answer.sources]
    presented, cited = source_pb2.SOURCE_DISPOSITION_PRESENTED, source_pb2.SOURCE_DISPOSITION_CITED
    assert found == [("1", presented), ("2", cited), ("3", presented)]
    assert not any(source.content for source in heard.answer.sources)
    assert heard.answer.name == "answers/x"


@pytest.mark.parametrize(
    ("ids", "field"), [(["", "2"], 0), (["1", "1"], 1), (["1", "x"], 1), (["0"], 0), (["1", "²"], 1)]
)
async def test_source_ids_that_no_marker_could_name_are_refused(serve: Serve, ids: list[str], field: int) -> None:
    sources = [source_pb2.Source(id=source_id, content="x") for source_id in ids]
    with pytest.raises(InvalidRequest) as raised:
        await ask(serve(Scripted()), a_request("Why?", sources=sources))
    assert raised.value.violations[0].field == f"sources[{field}].id"


async def test_sources_that_do_not_fit_the_context_are_left_out_lowest_first(serve: Serve) -> None:
    scripted = Scripted([Text("So [1]."), STOP], model=Model("m", context_tokens=1000))
    sources = ["word " * 100, "text " * 200, "more " * 400, "last " * 400]
    options = generation_pb2.GenerationOptions(max_output_tokens=100)
    heard = await ask(serve(scripted), a_request("Why?", sources=sources, generation=options))
    assert [source.id for source in scripted.requests[0].sources] == ["1", "2"]
    assert "last" not in scripted.requests[0].messages[-1].text
    assert [source.disposition for source in heard.answer.sources] == [
        source_pb2.SOURCE_DISPOSITION_CITED,
        source_pb2.SOURCE_DISPOSITION_PRESENTED,
        source_pb2.SOURCE_DISPOSITION_RETRIEVED,
        source_pb2.SOURCE_DISPOSITION_RETRIEVED,
    ]


@pytest.mark.parametrize(
    ("prompt", "sources", "words"),
    [
        ("why " * 2000, [], "does not fit"),
        ("why " * 2000, ["x"], "does not fit"),
        ("Why?", ["word " * 2000], "best source"),
    ],
)
async def test_what_cannot_fit_the_context_is_refused_before_it_is_sent(
    serve: Serve, prompt: str, sources: list[str], words: str
) -> None:
    scripted = Scripted(model=Model("m", context_tokens=1000))
    with pytest.raises(ServiceError, match=words) as raised:
        await ask(serve(scripted), a_request(prompt, sources=sources))
    assert raised.value.reason is Reason.CONTEXT_TOO_LARGE
    expected = {"assistant": "assistants/scripted/m", "provider": "scripted", "context_tokens": "1000"}
    assert raised.value.metadata == expected
    assert scripted.requests == []


async def test_of_a_conversation_that_does_not_fit_the_oldest_messages_are_left_out_and_counted(serve: Serve) -> None:
    scripted = Scripted([Text("So [1]."), STOP], model=Model("m", context_tokens=1000))
    roles = [chat_pb2.CHAT_ROLE_USER, chat_pb2.CHAT_ROLE_ASSISTANT]
    history = [chat_pb2.ChatMessage(role=roles[turn % 2], text=f"turn {turn} " + "word " * 50) for turn in range(20)]
    heard = await ask(serve(scripted), a_request("Why?", sources=["text " * 50, "more " * 500], history=history))
    (request,) = scripted.requests
    said = request.messages[:-1]
    assert [message.text for message in said] == [message.text for message in history[-len(said) :]]
    assert said[0].role is Role.USER
    assert [source.id for source in request.sources] == ["1"]
    assert heard.answer.timings.dropped_history_messages == len(history) - len(said) > 0


async def test_a_failure_in_the_middle_keeps_the_text_that_was_held_back(serve: Serve) -> None:
    error = ServiceError(Reason.PROVIDER_TRUNCATED, "cut")
    heard = Heard()
    with pytest.raises(ServiceError):
        await ask(serve(Scripted([Text("So it is [1"), error])), a_request("Why?", sources=["x"]), heard)
    assert heard.text == "So it is [1"


async def test_an_assistant_that_ends_without_saying_so_is_a_defect(serve: Serve) -> None:
    with pytest.raises(RuntimeError, match="without Finished"):
        await ask(serve(Scripted([Text("So")])), a_request("Why?"))


async def test_native_citations_are_checked_and_passed_on(serve: Serve) -> None:
    evidence = [Evidence("1", "the  first"), Evidence("1", "not there"), Evidence("9")]
    model = Model("m", citations=CitationStyle.NATIVE)
    scripted = Scripted([Text("Größe [1]"), Cite(0, 7, evidence), Cite(0, 99, evidence), STOP], model=model)
    heard = await ask(serve(scripted), a_request("Why?", sources=["It is the first."]))
    assert heard.text == "Größe [1]"
    assert heard.spans == [("Größe", ["1", "1"])]
    assert [item.quote for item in heard.citations[0].evidence] == ["the first", ""]


@pytest.mark.parametrize("end", [4, 7])
async def test_a_citation_in_the_middle_of_a_marker_leaves_the_marker_whole(serve: Serve, end: int) -> None:
    model = Model("m", citations=CitationStyle.BOTH)
    events: list[Event] = [Text("Größe is so [1"), Cite(0, end, [Evidence("2")]), Text("]. More."), STOP]
    heard = await ask(serve(Scripted(events, model=model)), a_request("Why?", sources=["first", "second"]))
    assert heard.text == "Größe is so. More."
    cited = [ids for _, ids in heard.spans]
    assert ["1"] in cited
    assert ("Größe is so", ["1"]) in heard.spans


async def test_a_citation_of_what_is_held_back_comes_after_it(serve: Serve) -> None:
    model = Model("m", citations=CitationStyle.BOTH)
    events: list[Event] = [Text("So [1"), Cite(0, 5, [Evidence("1")]), STOP]
    heard = await ask(serve(Scripted(events, model=model)), a_request("Why?", sources=["first"]))
    assert heard.spans == [("So [1", ["1"])]


async def test_citations_that_hold_nothing_are_counted_in_one_warning(serve: Serve) -> None:
    model = Model("m", citations=CitationStyle.NATIVE)
    scripted = Scripted([Text("So."), *[Cite(0, 99, [Evidence("1")])] * 50, STOP], model=model)
    with capture_logs() as logs:
        heard = await ask(serve(scripted), a_request("Why?", sources=["x"]))
    assert heard.citations == []
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [(entry["event"], entry["count"]) for entry in warnings] == [("citations_dropped", 50)]


async def test_halves_of_characters_never_reach_the_wire(serve: Serve) -> None:
    scripted = Scripted([Text("a\ud83d"), Reasoning("\ud83d"), Text("\ude00b\ud83d"), Reasoning("x"), STOP])
    heard = await ask(serve(scripted), a_request("Why?"))
    assert (heard.text, heard.reasoning) == ("a😀b\ufffd", "\ufffdx")


async def test_leaving_a_stream_closes_the_assistants(serve: Serve) -> None:
    scripted = Scripted([Text("a"), Text("b"), STOP])
    chunks = serve(scripted).stream_generate(a_request("Why?"), CALLER)
    await anext(chunks)
    await chunks.aclose()
    assert scripted.closed


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (source_pb2.Location(), ""),
        (source_pb2.Location(slide=4), "slide 4"),
        (source_pb2.Location(page_range=source_pb2.PageRange(first=3, last=3)), "page 3"),
        (source_pb2.Location(page_range=source_pb2.PageRange(first=3, last=4)), "pages 3 to 4"),
        (
            source_pb2.Location(row_range=source_pb2.RowRange(first=1, last=9, sheet="Costs")),
            "rows 1 to 9 of sheet Costs",
        ),
        (source_pb2.Location(byte_range=source_pb2.ByteRange(start=1, end=9)), ""),
    ],
)
def test_a_location_is_said_in_words(location: source_pb2.Location, words: str) -> None:
    assert location_words(location) == words
