"""An answer that was interrupted goes on from what was said of it, or is refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.v1 import answer_pb2, assistant_service_pb2, generation_pb2
from headwater.v1.assistant_service_pb2 import AnswerPrefix
from headwater_server.assistant.config import AssistantConfig, NamedProvider
from headwater_server.assistant.failover import FailoverPolicy
from headwater_server.assistant.grounding import CheckedCitation, GroundedAnswer, TextPiece
from headwater_server.assistant.prefix import Prefix, SaidCitation, with_markers
from headwater_server.assistant.protocol import CitationStyle, Evidence, Source
from headwater_server.assistant.service import AssistantCore, open_assistants
from headwater_server.errors import InvalidRequest, Reason, ServiceError
from tests.assistant.asking import CALLER, Heard, a_request, ask
from tests.assistant.cores import core_at
from tests.assistant.fake_provider import Canned, FakeProvider, fake_provider, said

pytestmark = pytest.mark.anyio

SOURCES = [Source("1", "Annual leave is paid, says page one."), Source("2", "Größe: 12%."), Source("3", "More words.")]
LEAVE = "Annual leave can be used for any reason.\n\nYou can carry over a maximum of 240 annual leave hours every year."
ME = "fake/some/model"

Said = list[TextPiece | CheckedCitation]


def prefix_of(events: Sequence[TextPiece | CheckedCitation]) -> Prefix:
    """What was sent of an answer when these events were the last."""
    return Prefix(
        "".join(item.text for item in events if isinstance(item, TextPiece)),
        [
            SaidCitation(item.start_byte, item.end_byte, item.evidence)
            for item in events
            if isinstance(item, CheckedCitation)
        ],
    )


def put_together(events: Sequence[TextPiece | CheckedCitation]) -> tuple[str, list[tuple[int, int, list[str]]]]:
    """The text and the citations of events, however the text is cut into pieces."""
    prefix = prefix_of(events)
    return prefix.text, [
        (item.start_byte, item.end_byte, [each.source_id for each in item.evidence]) for item in prefix.citations
    ]


def answer_of(pieces: Sequence[str]) -> Said:
    answer = GroundedAnswer(SOURCES, style=CitationStyle.MARKERS)
    return [event for piece in pieces for event in answer.add(piece)] + list(answer.finish())


WORDS = [
    "One is so",
    " and two",
    " [1]",
    " [2][3]",
    ".",
    ". ",
    "\n\n",
    " Größe 世界",
    ", ",
    "`x[1]`",
    "- ",
    "[9]",
    " §",
]


@given(st.lists(st.sampled_from(WORDS), max_size=12))
@example(["One is so", " [1]", ". ", "[2]", " and two"])
@example(["One is so", " [1]", "."])
def test_a_text_with_markers_goes_on_from_wherever_it_was_cut(words: list[str]) -> None:
    whole = answer_of(words)
    for cut in range(1, len(whole) + 1):
        prefix = prefix_of(whole[:cut])
        if not prefix.text:
            continue
        answer = GroundedAnswer(SOURCES, style=CitationStyle.MARKERS)
        try:
            raw = answer.go_on(prefix)
        except InvalidRequest:  # it is refused, and never goes on from something else
            continue
        assert put_together(answer_of([raw])) == put_together(whole[:cut])
        rest = "".join(words).removeprefix(raw)
        if raw + rest != "".join(words) or rest.lstrip().startswith("["):
            continue  # the assistant wrote its markers another way
        went_on = [*whole[:cut], *answer.add(rest), *answer.finish()]
        assert put_together(went_on) == put_together(whole)


@pytest.mark.parametrize(
    "raw",
    [
        "One is so [1]. Two is not [2].",
        "One is so. [1] Two is not. [2][3] And three.",
        "One is so [1]. [2] Two.",
        "# Title\n\n- One item [1]\n- Two items [2]\n\nEnd of it [3].",
        "Größe ist 世界 [2], und `x[1]` bleibt [9] so [1].",
        "```\na[1] = 2\n```\nThat was code [1].",
    ],
)
def test_markers_are_put_back_as_most_assistants_write_them(raw: str) -> None:
    whole = answer_of([raw[place : place + 3] for place in range(0, len(raw), 3)])
    for cut in range(1, len(whole) + 1):
        prefix = prefix_of(whole[:cut])
        if prefix.text:
            answer = GroundedAnswer(SOURCES, style=CitationStyle.MARKERS)
            begun = answer.go_on(prefix)
            assert raw.startswith(begun)
            went_on = [*whole[:cut], *answer.add(raw[len(begun) :]), *answer.finish()]
            assert put_together(went_on) == put_together(whole)


def test_other_ways_to_write_a_marker_become_one_and_mean_the_same() -> None:
    whole = answer_of(["One is so[1, 3]. Two"])
    assert with_markers(prefix_of(whole)) == "One is so [1][3]. Two"
    assert put_together(answer_of(["One is so [1][3]. Two"])) == put_together(whole)


def test_what_cannot_be_put_back_is_refused() -> None:
    evidence = [Evidence("1")]
    for prefix in (
        Prefix("One is so. Two is not.", [SaidCitation(4, 9, evidence)]),  # no span begins so
        Prefix("One is so.", [SaidCitation(0, 10, [Evidence("7")])]),
        Prefix("One [1] is so.", []),
    ):
        with pytest.raises(InvalidRequest, match="prefix"):
            GroundedAnswer(SOURCES, style=CitationStyle.MARKERS).go_on(prefix)


@pytest.fixture
async def core() -> AsyncGenerator[AssistantCore]:
    async with open_assistants(AssistantConfig(environ={})) as opened:
        yield opened


@pytest.mark.parametrize("limit", [None, 22])
async def test_the_extractive_assistant_goes_on_from_every_event_and_says_the_same(
    core: AssistantCore, limit: int | None
) -> None:
    generation = generation_pb2.GenerationOptions(max_output_tokens=limit)
    request = a_request(
        "How many hours of annual leave can I carry over?", sources=[LEAVE, "Größe."], generation=generation
    )
    whole = await ask(core, request)
    assert whole.text
    so_far = Heard()
    for chunk in [chunk async for chunk in core.stream_generate(request, CALLER)]:
        if chunk.HasField("text"):
            so_far.text += chunk.text.text
        elif chunk.HasField("citation"):
            so_far.citations.append(chunk.citation)
        else:
            continue
        request.prefix.CopyFrom(AnswerPrefix(text=so_far.text, citations=so_far.citations))
        went_on = await ask(core, request, Heard(text=so_far.text, citations=list(so_far.citations)))
        assert (went_on.text, went_on.citations) == (whole.text, whole.citations)
        assert went_on.answer == whole.answer


@pytest.mark.parametrize("sources", [[LEAVE.replace("240", "250")], ["Nothing of that."], [" "]])
async def test_the_extractive_assistant_refuses_to_go_on_with_other_sources(
    core: AssistantCore, sources: list[str]
) -> None:
    question = "How many hours of annual leave can I carry over?"
    whole = await ask(core, a_request(question, sources=[LEAVE]))
    prefix = AnswerPrefix(text=whole.text, citations=whole.citations)
    with pytest.raises(InvalidRequest) as refused:
        await ask(core, a_request(question, sources=sources, prefix=prefix))
    assert refused.value.metadata["field"] == "prefix"


async def test_an_assistant_that_does_not_continue_refuses_a_prefix() -> None:
    async with fake_provider() as provider, core_at(provider.url) as core:
        with pytest.raises(InvalidRequest) as refused:
            await ask(core, a_request("Hello?", assistant=ME, prefix=AnswerPrefix(text="Hel")))
        assert not provider.requests
    assert refused.value.metadata["field"] == "prefix"


@pytest.mark.parametrize(
    "citation",
    [
        answer_pb2.Citation(start_byte=0, end_byte=9),
        answer_pb2.Citation(start_byte=2, end_byte=3),
        answer_pb2.Citation(start_byte=2, end_byte=2),
    ],
)
async def test_a_citation_that_is_not_of_the_prefix_is_refused(
    core: AssistantCore, citation: answer_pb2.Citation
) -> None:
    prefix = AnswerPrefix(text="Größe", citations=[citation])
    with pytest.raises(InvalidRequest, match=r"prefix\.citations\[0\]"):
        await ask(core, a_request("Size?", sources=["Größe"], prefix=prefix))


async def going_on(
    provider: FakeProvider, pieces: list[bytes], way: str, *, generation: generation_pb2.GenerationOptions | None = None
) -> tuple[Heard, dict[str, object]]:
    """What an assistant says after "Leave is paid [1]", and what its provider was asked."""
    provider.canned = Canned(pieces)
    citation = answer_pb2.Citation(end_byte=13, evidence=[answer_pb2.Evidence(source_id="1")])
    async with core_at(provider.url, options={"continues": way, "think_tags": True}) as core:
        request = a_request(
            "Leave?",
            assistant=ME,
            sources=["Leave is paid, always."],
            prefix=AnswerPrefix(text="Leave is paid", citations=[citation]),
            generation=generation or generation_pb2.GenerationOptions(),
        )
        heard = await ask(core, request, Heard(text="Leave is paid", citations=[citation]))
    body = provider.requests[-1][2]
    assert isinstance(body, dict)
    return heard, body


@pytest.mark.parametrize(
    ("way", "flag", "fields"),
    [
        ("llama.cpp", {}, {"echo": False}),
        ("vllm", {}, {"continue_final_message": True, "add_generation_prompt": False}),
        ("prefix-flag", {"prefix": True}, {}),
        ("mistral", {"prefix": True}, {}),
    ],
)
async def test_each_kind_of_server_is_asked_in_its_own_way(
    way: str, flag: dict[str, object], fields: dict[str, object]
) -> None:
    async with fake_provider() as provider:
        echo = ("Leave is", " paid [1].") if way == "mistral" else (".",)
        heard, body = await going_on(provider, said(*echo, " It", " is [1]."), way)
    messages = body["messages"]
    assert isinstance(messages, list)
    assert messages[-1] == {"role": "assistant", "content": "Leave is paid [1]", **flag}
    assert messages[-2]["role"] == "user"
    assert {name: body.get(name) for name in fields} == fields
    assert heard.text == "Leave is paid. It is."
    assert heard.spans == [("Leave is paid", ["1"]), ("It is", ["1"])]


async def test_a_provider_that_says_something_else_than_its_echo_is_not_believed() -> None:
    async with fake_provider() as provider:
        with pytest.raises(ServiceError) as raised:
            await going_on(provider, said("Leave was paid [1]."), "mistral")
    assert raised.value.reason is Reason.PROVIDER_PROTOCOL


async def test_what_was_said_counts_towards_the_limit_of_tokens() -> None:
    async with fake_provider() as provider:
        for limit, left in ((100, 95), (3, 1)):
            generation = generation_pb2.GenerationOptions(max_output_tokens=limit)
            _, body = await going_on(provider, said("."), "vllm", generation=generation)
            assert body["max_tokens"] == left  # "Leave is paid [1]" counts as five


async def test_where_the_provider_does_not_count_the_estimate_is_of_the_whole() -> None:
    async with fake_provider() as provider:
        heard, _ = await going_on(provider, said("."), "vllm")
    assert heard.answer.usage.origin == answer_pb2.USAGE_ORIGIN_ESTIMATED
    assert heard.answer.usage.output_tokens == 5


@asynccontextmanager
async def two_that_answer(
    one: FakeProvider, two: FakeProvider, *, second: Mapping[str, str] | None = None
) -> AsyncGenerator[AssistantCore]:
    """`one/m`, which goes on, and `two/m`, which stands in for it and goes on unless its options say otherwise."""
    options = {"continues": "vllm"}
    tables = {
        "one": NamedProvider(api="openai-chat", base_url=one.url, options=options),
        "two": NamedProvider(api="openai-chat", base_url=two.url, options=options if second is None else dict(second)),
    }
    policy = FailoverPolicy(fallbacks={"one/m": ["two/m"]}, retries=0)
    async with open_assistants(AssistantConfig(providers=tables, environ={}, failover=policy)) as core:
        yield core


@pytest.mark.parametrize("speaker", ["one", "two"])
async def test_the_first_text_names_who_says_it_where_another_stands_in(speaker: str) -> None:
    async with fake_provider() as one, fake_provider() as two, two_that_answer(one, two) as core:
        one.canned = Canned(said("Hel", "lo."), status=200 if speaker == "one" else 503)
        two.canned = Canned(said("Hel", "lo."))
        chunks = [chunk async for chunk in core.stream_generate(a_request("Hello?", assistant="one/m"), CALLER)]
    texts = [chunk.text for chunk in chunks if chunk.HasField("text")]
    assert [text.assistant for text in texts] == [f"assistants/{speaker}/m", *[""] * (len(texts) - 1)]
    assert chunks[-1].answer.assistant == f"assistants/{speaker}/m"


@pytest.mark.parametrize("speaker", ["one", "two"])
async def test_whoever_said_it_goes_on_and_nobody_stands_in_for_it(speaker: str) -> None:
    async with fake_provider() as one, fake_provider() as two, two_that_answer(one, two) as core:
        speaking, other = (one, two) if speaker == "one" else (two, one)
        speaking.canned = Canned(said("lo."))
        prefix = AnswerPrefix(text="Hel", assistant=f"assistants/{speaker}/m")
        request = a_request("Hello?", assistant="one/m", prefix=prefix)
        heard = await ask(core, request, Heard(text="Hel"))
        assert (heard.text, heard.answer.assistant) == ("Hello.", f"assistants/{speaker}/m")
        speaking.canned = Canned(status=503)
        with pytest.raises(ServiceError) as raised:
            await ask(core, request, Heard(text="Hel"))
        assert raised.value.reason is Reason.PROVIDER_UNAVAILABLE
        assert not other.requests


async def test_where_another_may_have_answered_in_its_place_nobody_goes_on() -> None:
    async with fake_provider() as one, fake_provider() as two, two_that_answer(one, two, second={}) as core:
        for said_by, words in (("", "in place of"), ("three/m", "neither"), ("assistants/two/m", "cannot go on")):
            prefix = AnswerPrefix(text="Hel", assistant=said_by)
            with pytest.raises(InvalidRequest, match=words):
                await ask(core, a_request("Hello?", assistant="one/m", prefix=prefix))
        assert not one.requests
        assert not two.requests


async def test_an_assistant_says_whether_it_continues() -> None:
    async with core_at("http://127.0.0.1:9/v1", options={"continues": "vllm"}) as core:
        for name, continues in ((f"assistants/{ME}", True), ("assistants/builtin/extractive", True)):
            asked = assistant_service_pb2.GetAssistantRequest(name=name)
            assert (await core.get_assistant(asked, CALLER)).continues_prefix is continues
    async with core_at("http://127.0.0.1:9/v1") as core:
        asked = assistant_service_pb2.GetAssistantRequest(name=f"assistants/{ME}")
        assert not (await core.get_assistant(asked, CALLER)).continues_prefix


async def test_a_way_to_continue_that_nobody_knows_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match=r"assistants\.fake\.continues: must be one of"):
        async with core_at("http://127.0.0.1:9/v1", options={"continues": "somehow"}):
            pass
