"""What Python's arguments become on the wire, and what is refused before anything is sent."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from headwater import (
    AbstainReason,
    AnswerChunk,
    ArgumentError,
    AsyncClient,
    Citation,
    Client,
    Filter,
    FinishReason,
    Limits,
    Source,
    citation_span,
    field,
    metadata_dict,
    render_citations,
)
from headwater._filters import to_filter
from headwater._requests import answer_request
from headwater._values import MetadataPython, to_metadata
from headwater.v1 import answer_pb2, answer_service_pb2, chat_pb2, filter_pb2

DEFAULTS: dict[str, Any] = dict.fromkeys(
    [
        *["corpus", "corpora", "chat", "history", "assistant", "sources", "query", "filter", "mode", "top_k"],
        *["min_score", "token_budget", "instructions", "max_output_tokens", "temperature", "top_p"],
        *["stop_sequences", "seed", "provider_options", "limits", "abstain", "labels", "request_id"],
    ]
) | {"resume": False}


def make(prompt: str = "Why?", *, grounded: bool = True, **arguments: Any) -> answer_service_pb2.StreamAnswerRequest:
    return answer_request(prompt, grounded=grounded, **DEFAULTS | arguments)


def test_a_bare_question_leaves_everything_to_the_server_but_has_an_id() -> None:
    request = make()
    assert uuid.UUID(request.request_id).version == 4
    assert make().request_id != request.request_id
    request.ClearField("request_id")
    assert request == answer_service_pb2.StreamAnswerRequest(prompt="Why?")


def test_one_that_is_to_be_resumed_asks_the_server_to_wait_for_its_reader() -> None:
    assert make(resume=True).resume_window.ToSeconds() == 20
    assert not make().HasField("resume_window")


def test_every_argument_reaches_its_field() -> None:
    request = make(
        corpora=["a", "corpora/b"],
        assistant="openai/gpt-4o",
        history=[("user", "Hi"), chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_ASSISTANT, text="Hello")],
        query="leave",
        filter={"year": 2024},
        mode="lexical",
        top_k=3,
        token_budget=100,
        instructions="Be brief.",
        max_output_tokens=50,
        temperature=0.0,
        top_p=0.5,
        stop_sequences=["END"],
        seed=0,
        provider_options={"logprobs": True, "nested": {"list": [1, "a"]}},
        limits=Limits(first_token=1.5, total=60),
        abstain="never",
        labels={"user": "u1"},
        request_id="4F9619FF-8B86-4D01-B42D-00CF4FC964FF",
    )
    assert request.request_id == "4f9619ff-8b86-4d01-b42d-00cf4fc964ff"
    assert list(request.retrieval.corpora) == ["corpora/a", "corpora/b"]
    assert (request.retrieval.query, request.retrieval.mode, request.retrieval.top_k) == ("leave", 3, 3)
    assert request.retrieval.filter.all_of.filters[0].comparison.value.int64_value == 2024
    assert [message.role for message in request.history] == [1, 2]
    assert request.generation.HasField("temperature")
    assert request.generation.HasField("seed")
    assert MessageToDict(request.generation.provider_options)["nested"] == {"list": [1, "a"]}
    assert request.limits.first_token.ToMilliseconds() == 1500
    assert not request.limits.HasField("between_tokens")
    assert (request.abstain_policy, request.labels["user"]) == (2, "u1")
    assert request.on_disconnect == 0
    assert not request.HasField("resume_window")


def test_the_grounding_is_what_was_asked_for() -> None:
    assert make().WhichOneof("grounding") is None
    assert make(top_k=3).WhichOneof("grounding") == "retrieval"
    assert make(min_score=0.0).retrieval.HasField("min_score")
    assert make(grounded=False).WhichOneof("grounding") == "ungrounded"
    assert make(sources=[]).WhichOneof("grounding") == "provided"
    provided = make(sources=["text", Source(title="T", content="c")]).provided.sources
    assert [source.content for source in provided] == ["text", "c"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompt": " \n"}, "white space"),
        ({"corpus": "a", "corpora": ["b"]}, "leave one of them out"),
        ({"corpora": "handbook"}, "list of names"),
        ({"corpus": "documents/x"}, "named corpora/"),
        ({"sources": ["x"], "corpus": "a"}, "give one of them"),
        ({"sources": ["x"], "grounded": False}, "give one of them"),
        ({"grounded": False, "top_k": 3}, "without sources"),
        ({"chat": "c", "history": [("user", "x")]}, "leave out history or chat"),
        ({"history": [("system", "x")]}, "one of user, assistant"),
        ({"mode": "semantic"}, "one of hybrid, dense, lexical"),
        ({"abstain": "always"}, "one of without_sources, never"),
        ({"top_k": 0}, "from 1 to 100"),
        ({"max_output_tokens": 2**31}, "whole number"),
        ({"limits": Limits(total=0)}, "above 0"),
        ({"limits": Limits(total=float("nan"))}, "above 0"),
        ({"request_id": "not-a-uuid"}, "is a UUID"),
        ({"stop_sequences": "END"}, "list of strings"),
        ({"provider_options": {"x": object()}}, "JSON"),
        ({"filter": "year > 3"}, "field"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make(**{"prompt": "Why?", **arguments})


def test_arguments_are_refused_at_once_by_both_clients() -> None:
    with Client("127.0.0.1:1") as client:
        calls: list[Callable[[], object]] = [
            lambda: client.answer(""),
            lambda: AsyncClient("127.0.0.1:1").answer(""),
            client.cancel_answer,
            lambda: client.cancel_answer("a", request_id=uuid.uuid4()),
            lambda: client.get_answer("chats/x"),
            lambda: client.documents.get("leave"),
            lambda: client.documents.get("corpora/a/documents/b", corpus="c"),
        ]
        for call in calls:
            with pytest.raises(ArgumentError):
                call()


values: st.SearchStrategy[MetadataPython] = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=3),
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), values, max_size=4))
def test_metadata_comes_back_as_it_went(metadata: dict[str, MetadataPython]) -> None:
    back = metadata_dict(to_metadata(metadata))
    assert back == metadata
    assert {key: type(value) for key, value in back.items()} == {key: type(value) for key, value in metadata.items()}


def test_times_of_other_zones_are_the_same_moment() -> None:
    east = datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert metadata_dict(to_metadata({"t": east})) == {"t": east}


@pytest.mark.parametrize("value", [None, {}, [1], 2**63, float("nan"), float("inf"), b"x", object()])
def test_what_metadata_cannot_hold_is_refused_with_its_key(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"metadata\['key'\]"):
        to_metadata({"key": value})


operators: list[tuple[Callable[[Any, Any], Filter], filter_pb2.ComparisonOperator.ValueType]] = [
    (lambda key, value: key == value, filter_pb2.COMPARISON_OPERATOR_EQ),
    (lambda key, value: key != value, filter_pb2.COMPARISON_OPERATOR_NE),
    (lambda key, value: key < value, filter_pb2.COMPARISON_OPERATOR_LT),
    (lambda key, value: key <= value, filter_pb2.COMPARISON_OPERATOR_LE),
    (lambda key, value: key > value, filter_pb2.COMPARISON_OPERATOR_GT),
    (lambda key, value: key >= value, filter_pb2.COMPARISON_OPERATOR_GE),
]


@given(st.sampled_from(operators), values)
def test_a_comparison_keeps_its_operator_and_the_type_of_its_value(
    operator: tuple[Callable[[Any, Any], Filter], filter_pb2.ComparisonOperator.ValueType], value: MetadataPython
) -> None:
    compare, op = operator
    comparison = compare(field("key"), value).to_proto().comparison
    assert (comparison.key, comparison.op) == ("key", op)
    assert metadata_dict({"v": comparison.value}) == {"v": value}


def test_filters_combine_flat_and_are_never_truth_values() -> None:
    year, tag = field("year"), field("tag")
    both = ((year >= 2020) & (year < 2030) & tag.in_(["a"])).to_proto()
    assert [each.comparison.key for each in both.all_of.filters] == ["year", "year", "tag"]
    either = ((year == 1) | (year == 2) | ~tag.exists()).to_proto()
    assert [each.WhichOneof("condition") for each in either.any_of.filters] == ["comparison", "comparison", "negate"]
    mixed = ((year == 1) | (year == 2) & tag.not_in(["b"])).to_proto()
    assert mixed.any_of.filters[1].WhichOneof("condition") == "all_of"
    with pytest.raises(ArgumentError, match="neither true nor false"):
        bool(year == 1)
    with pytest.raises(ArgumentError, match="neither true nor false"):
        _ = 2020 <= year < 2030
    for refused in (lambda: tag.in_("ab"), lambda: tag.in_([]), lambda: field(""), lambda: field("x" * 65)):
        with pytest.raises(ArgumentError):
            refused()
    assert to_filter(both) is both


ASTRAL = "aé日👩‍👩‍👧e\u0301\u2028"


@given(st.text(st.characters(codec="utf-8") | st.sampled_from(ASTRAL), min_size=1), st.data())
def test_a_citation_covers_the_same_words_in_python(text: str, data: st.DataObject) -> None:
    end = data.draw(st.integers(1, len(text)))
    start = data.draw(st.integers(0, end))
    citation = Citation(start_byte=len(text[:start].encode()), end_byte=len(text[:end].encode()))
    assert citation_span(text, citation) == (start, end)


def test_a_citation_of_another_text_is_refused() -> None:
    with pytest.raises(ArgumentError, match="are not in a text"):
        citation_span("abc", Citation(start_byte=0, end_byte=4))
    with pytest.raises(ArgumentError, match="inside a character"):
        citation_span("é", Citation(start_byte=0, end_byte=1))


def cite(start: int, end: int, *ids: str) -> Citation:
    return Citation(start_byte=start, end_byte=end, evidence=[answer_pb2.Evidence(source_id=each) for each in ids])


@pytest.mark.parametrize(
    ("citations", "rendered"),
    [
        ([], "Ten days. Or two."),
        ([cite(0, 9, "1")], "Ten days. [1] Or two."),
        ([cite(10, 17, "2"), cite(0, 9, "10", "9")], "Ten days. [9][10] Or two. [2]"),
        ([cite(0, 9, "1"), cite(4, 9, "1", "2")], "Ten days. [1][2] Or two."),
        ([cite(0, 10, "3")], "Ten days. [3]Or two."),
    ],
)
def test_citations_are_shown_as_numbers(citations: list[Citation], rendered: str) -> None:
    assert render_citations("Ten days. Or two.", citations) == rendered


def test_the_enumerations_are_those_of_the_wire() -> None:
    for ours, theirs, prefix in [
        (FinishReason, answer_pb2.FinishReason, "FINISH_REASON_"),
        (AbstainReason, answer_pb2.AbstainReason, "ABSTAIN_REASON_"),
    ]:
        assert {prefix + each.name: each.value for each in ours} == dict(theirs.items())
    assert FinishReason(99).name == "UNKNOWN_99"
    assert int(FinishReason.STOP) == answer_pb2.FINISH_REASON_STOP
    assert AnswerChunk is answer_pb2.AnswerChunk
