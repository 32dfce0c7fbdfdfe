from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.v1 import answer_pb2, filter_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.orchestrator.transcript import (
    BATCH_BYTES,
    MAX_EVIDENCE,
    MAX_SOURCES,
    MAX_TEXT_BYTES,
    RuleBrokenError,
    Transcript,
    header,
)
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules, crc32c

MESSAGE_LIMIT = 4 * 1024 * 1024
CITED = source_pb2.SOURCE_DISPOSITION_CITED
STATISTICS = source_pb2.RetrievalStatistics(candidates=7)

texts = st.text(alphabet=st.sampled_from("ab é€𝄞\n"), max_size=6)
sources = st.lists(st.builds(source_pb2.Source, content=texts, id=st.sampled_from(["", "7"])), max_size=3)
evidence = st.builds(answer_pb2.Evidence, source_id=st.sampled_from(["1", "2", "3", "9", ""]), quote=texts)
citations = st.builds(
    answer_pb2.Citation,
    start_byte=st.integers(-1, 12),
    end_byte=st.integers(-1, 12),
    evidence=st.lists(evidence, max_size=3),
)
endings = st.builds(
    answer_pb2.Answer,
    finish_reason=st.just(answer_pb2.FINISH_REASON_STOP),
    sources=st.lists(
        st.builds(source_pb2.Source, id=st.sampled_from(["1", "2", "9"]), disposition=st.sampled_from([0, 1, 2, 3])),
        max_size=3,
    ),
)
operations = st.one_of(
    st.tuples(st.just("started"), st.none()),
    st.tuples(st.just("retrieved"), sources),
    st.tuples(st.just("text"), texts),
    st.tuples(st.just("reasoning"), texts),
    st.tuples(st.just("citation"), citations),
    st.tuples(st.just("answer"), endings),
)


def transcript(**fields: str) -> Transcript:
    return Transcript(
        header(name="answers/a", prompt=fields.get("prompt", "why?"), request_id="r", labels={"k": "v"}, created_at=1.5)
    )


def begun(*found: source_pb2.Source) -> Transcript:
    """A transcript that has its sources, and takes text."""
    made = transcript()
    made.add_started("assistants/a/b")
    made.add_retrieved(found, STATISTICS)
    return made


@dataclass
class _Model:
    """When an operation is legal, in as few words as possible."""

    started: bool = False
    retrieved: bool = False
    ended: bool = False

    def allows(self, kind: str, payload: object) -> bool:
        match kind:
            case "started":
                return not self.started
            case "retrieved":
                return self.started and not self.retrieved
            case "text" | "reasoning":
                return self.retrieved and not self.ended and bool(payload)
            case _:
                return self.retrieved and not self.ended

    def note(self, kind: str) -> None:
        self.started |= kind == "started"
        self.retrieved |= kind == "retrieved"
        self.ended |= kind == "answer"


def perform(on: Transcript, kind: str, payload: object) -> list[AnswerChunk]:
    match kind, payload:
        case "started", _:
            return [on.add_started("assistants/a/b")]
        case "retrieved", list():
            return on.add_retrieved(payload, STATISTICS)
        case "text", str():
            return [on.add_text(payload)]
        case "reasoning", str():
            return [on.add_reasoning(payload)]
        case "citation", answer_pb2.Citation():
            chunk = on.add_citation(payload)
            return [chunk] if chunk is not None else []
        case "answer", answer_pb2.Answer():
            return [on.add_answer(payload)]
    raise AssertionError(kind)


# What is mostly legal, so that long streams are tried too, and what is mostly not.
sequences = st.one_of(
    st.lists(operations, max_size=30),
    st.builds(
        lambda found, said, ending: [("started", None), ("retrieved", found), *said, ("answer", ending)],
        sources,
        st.lists(operations, max_size=20),
        endings,
    ),
)


@given(sequences)
def test_any_sequence_of_events_becomes_a_stream_by_the_rules_or_is_refused(tried: list[tuple[str, object]]) -> None:
    made, model, chunks = transcript(), _Model(), list[AnswerChunk]()
    for kind, payload in tried:
        before = made.answer_so_far()
        if model.allows(kind, payload):
            chunks += perform(made, kind, payload)
            model.note(kind)
        else:
            with pytest.raises(RuleBrokenError):
                perform(made, kind, payload)
            assert made.answer_so_far() == before, "a refused event leaves no trace"
        assert made.last_sequence == len(chunks)
    answer = assert_begins_by_the_rules(chunks)
    assert (answer is not None) == model.ended
    if model.ended:
        assert assert_rules(chunks) == made.terminal


@given(sequences)
def test_what_was_once_returned_never_changes(tried: list[tuple[str, object]]) -> None:
    made = transcript()
    returned: list[tuple[AnswerChunk, bytes]] = []
    for kind, payload in tried:
        try:
            chunks = perform(made, kind, payload)
        except RuleBrokenError:
            continue
        returned += [(chunk, chunk.SerializeToString(deterministic=True)) for chunk in chunks]
    assert all(chunk.SerializeToString(deterministic=True) == was for chunk, was in returned)


@given(st.lists(texts.filter(bool), max_size=10))
def test_the_text_so_far_only_grows_and_has_its_checksum(pieces: list[str]) -> None:
    made = begun()
    before = ""
    for piece in pieces:
        made.add_text(piece)
        so_far = made.answer_so_far()
        assert so_far.text == before + piece
        assert so_far.text_crc32c == crc32c(so_far.text.encode())
        assert so_far.state == answer_pb2.ANSWER_STATE_RUNNING
        before = so_far.text


def test_the_checksum_is_crc_32c() -> None:
    made = begun()
    made.add_text("123456789")
    assert made.answer_so_far().text_crc32c == 0xE3069283  # the check value of CRC-32C


@given(texts, st.integers(-2, 20), st.integers(-2, 20))
@example("€", 0, 3)
@example("€", 1, 3)
def test_a_citation_is_kept_exactly_if_its_span_is_whole_characters_of_text_already_there(
    text: str, start: int, end: int
) -> None:
    made = begun(source_pb2.Source(content="c"))
    if text:
        made.add_text(text)
    boundaries = {len(text[:index].encode()) for index in range(len(text) + 1)}
    citation = answer_pb2.Citation(
        start_byte=start, end_byte=end, evidence=[answer_pb2.Evidence(source_id="1", quote="c")]
    )
    kept = made.add_citation(citation)
    assert (kept is not None) == (start < end and {start, end} <= boundaries)


def test_evidence_from_unknown_sources_is_left_out_and_an_empty_citation_with_it() -> None:
    made = begun(source_pb2.Source(content="c"))
    made.add_text("abc")
    mixed = made.add_citation(
        answer_pb2.Citation(
            end_byte=3, evidence=[answer_pb2.Evidence(source_id="2"), answer_pb2.Evidence(source_id="1")]
        )
    )
    assert mixed is not None
    assert [item.source_id for item in mixed.citation.evidence] == ["1"]
    assert made.add_citation(answer_pb2.Citation(end_byte=3, evidence=[answer_pb2.Evidence(source_id="2")])) is None
    too_long = answer_pb2.Evidence(source_id="1", quote="€" * 171)
    assert made.add_citation(answer_pb2.Citation(end_byte=3, evidence=[too_long])) is None


def test_all_citations_together_have_at_most_a_thousand_pieces_of_evidence() -> None:
    made = begun(source_pb2.Source(content="c"))
    made.add_text("abc")
    for _ in range(3):
        made.add_citation(
            answer_pb2.Citation(end_byte=3, evidence=[answer_pb2.Evidence(source_id="1")] * (MAX_EVIDENCE // 3 + 1))
        )
    terminal = made.add_answer(answer_pb2.Answer()).answer
    assert [len(citation.evidence) for citation in terminal.citations] == [334, 334, 332]
    with pytest.raises(RuleBrokenError):
        made.add_text("more")


def test_sources_are_retrieved_then_presented_or_cited() -> None:
    made = begun(*(source_pb2.Source(content=content, disposition=CITED) for content in "abcd"))
    made.add_text("text")
    made.add_citation(answer_pb2.Citation(end_byte=4, evidence=[answer_pb2.Evidence(source_id="3")]))
    presented = source_pb2.SOURCE_DISPOSITION_PRESENTED
    shown = [source_pb2.Source(id=number, disposition=presented) for number in ("2", "3", "77")]
    not_shown = source_pb2.Source(id="4", disposition=source_pb2.SOURCE_DISPOSITION_RETRIEVED)
    terminal = made.add_answer(answer_pb2.Answer(sources=[*shown, not_shown])).answer
    assert [(source.id, source.content, source.disposition) for source in terminal.sources] == [
        ("1", "a", source_pb2.SOURCE_DISPOSITION_RETRIEVED),
        ("2", "b", source_pb2.SOURCE_DISPOSITION_PRESENTED),
        ("3", "c", CITED),
        ("4", "d", source_pb2.SOURCE_DISPOSITION_RETRIEVED),
    ]


def test_an_empty_search_is_still_one_event_with_statistics() -> None:
    made = transcript()
    made.add_started("assistants/a/b")
    (event,) = made.add_retrieved([], source_pb2.RetrievalStatistics())
    assert event.retrieved.HasField("statistics")
    assert not event.retrieved.sources


def test_a_long_list_of_sources_comes_in_batches_and_the_last_alone_has_the_statistics() -> None:
    made = transcript()
    made.add_started("assistants/a/b")
    events = made.add_retrieved([source_pb2.Source(content="c" * 16384)] * 100, STATISTICS)
    assert len(events) > 1
    assert all(event.ByteSize() < BATCH_BYTES + 64 * 1024 for event in events)
    assert [event.retrieved.HasField("statistics") for event in events] == [False] * (len(events) - 1) + [True]
    assert [source.id for event in events for source in event.retrieved.sources] == [str(n) for n in range(1, 101)]


def test_more_sources_than_an_answer_may_hold_lose_the_last_ones() -> None:
    assert len(begun(*[source_pb2.Source(content="c")] * (MAX_SOURCES + 5)).sources) == MAX_SOURCES
    large = source_pb2.Source(content="c" * 16384, uri="u" * 4096, title="t" * 1024, heading="h" * 1024)
    kept = begun(*[large] * 100).sources
    assert 80 < len(kept) < 100
    assert kept[-1].id == str(len(kept))


def test_what_nobody_knows_stays_unset_in_the_terminal_message() -> None:
    terminal = begun().add_answer(answer_pb2.Answer()).answer
    assert not terminal.HasField("usage")
    assert not terminal.HasField("timings")
    assert not terminal.HasField("complete_time")
    assert terminal.HasField("text_crc32c")


def test_text_up_to_one_mebibyte_fits_and_not_a_byte_more() -> None:
    made = begun()
    made.add_text("€" * (MAX_TEXT_BYTES // 3))
    assert made.room == 1
    with pytest.raises(RuleBrokenError):
        made.add_text("é")
    made.add_text("e")
    assert made.room == 0
    with pytest.raises(RuleBrokenError):
        made.add_text("e")
    assert len(made.add_answer(answer_pb2.Answer()).answer.text.encode()) == MAX_TEXT_BYTES


@pytest.mark.parametrize("generous", [False, True], ids=["by the contract", "with every other field at its limit too"])
def test_the_largest_terminal_message_fits_into_a_message(*, generous: bool) -> None:
    labels = {f"{number:064}": "v" * 256 for number in range(64)} if generous else {}
    made = Transcript(
        header(name="answers/" + "a" * 32, request_id="r" * 36, prompt="p" * 262144, labels=labels, created_at=1.0)
    )
    made.add_started("assistants/a/b")
    metadata = {"k": filter_pb2.MetadataValue(string_value="m" * 1000)}
    source = source_pb2.Source(
        passage="p" * 128,
        document="d" * 100,
        title="t" * (1024 if generous else 100),
        uri="u" * (4096 if generous else 200),
        heading="h" * (1024 if generous else 100),
        content="c" * 16384,
        metadata=metadata,
        score=1,
        cosine=1,
        rank=1,
    )
    made.add_retrieved([source] * 100, STATISTICS)
    made.add_text("t" * MAX_TEXT_BYTES)
    sheet = "s" * 256 if generous else ""
    location = source_pb2.Location(row_range=source_pb2.RowRange(first=1, last=2, sheet=sheet))
    for index in range(MAX_EVIDENCE):
        item = answer_pb2.Evidence(source_id=str(index % 80 + 1), quote="q" * 512, location=location)
        made.add_citation(answer_pb2.Citation(start_byte=index, end_byte=MAX_TEXT_BYTES, evidence=[item]))
    chunk = made.add_answer(answer_pb2.Answer(assistant="assistants/" + "a" * 200, model_version="m" * 200))
    assert len(chunk.answer.citations) == MAX_EVIDENCE
    assert len(chunk.answer.sources) == 100 or generous
    assert chunk.ByteSize() < MESSAGE_LIMIT
