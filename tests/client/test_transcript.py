"""The rules of the stream, tried with sequences of events that nobody wrote by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import DataLoss, ProtocolError, _reader
from headwater._reader import Reader
from headwater._reading import Arrival
from headwater._resuming import Deadline, Resumption
from headwater._transcript import Transcript
from headwater.v1 import answer_pb2, source_pb2

NAME = "answers/1"
WAIT_SECONDS = 20
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


def chunk(**event: object) -> answer_pb2.AnswerChunk:
    return answer_pb2.AnswerChunk(**event)  # type: ignore[arg-type]  # the generated signature names each event


@st.composite
def streams(draw: st.DrawFn) -> list[answer_pb2.AnswerChunk]:
    """A stream that keeps every rule, heartbeats and unknown events included."""
    chunks = [chunk(started=answer_pb2.AnswerStarted(answer=NAME))]
    batches = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    sources: list[source_pb2.Source] = []
    for index, size in enumerate(batches):
        batch = [source_pb2.Source(id=str(len(sources) + number + 1)) for number in range(size)]
        sources += batch
        retrieved = answer_pb2.SourcesRetrieved(sources=batch)
        if index == len(batches) - 1:
            retrieved.statistics.SetInParent()
        chunks.append(chunk(retrieved=retrieved))
    text = ""
    citations = []
    for kind in draw(st.lists(st.sampled_from(["text", "reasoning", "citation", "heartbeat", "unknown"]), max_size=12)):
        if kind == "text":
            piece = draw(texts)
            chunks.append(chunk(text=answer_pb2.TextDelta(text=piece, offset_bytes=len(text.encode()))))
            text += piece
        elif kind == "reasoning":
            chunks.append(chunk(reasoning=answer_pb2.ReasoningDelta(text="hm")))
        elif kind == "citation" and text and sources:
            end = draw(st.integers(1, len(text)))
            start = draw(st.integers(0, end - 1))
            citation = answer_pb2.Citation(
                start_byte=len(text[:start].encode()),
                end_byte=len(text[:end].encode()),
                evidence=[answer_pb2.Evidence(source_id=draw(st.sampled_from(sources)).id)],
            )
            citations.append(citation)
            chunks.append(chunk(citation=citation))
        elif kind == "heartbeat":
            chunks.append(chunk(heartbeat=answer_pb2.Heartbeat()))
        else:
            chunks.append(answer_pb2.AnswerChunk())
    final = answer_pb2.Answer(
        name=NAME,
        state=answer_pb2.ANSWER_STATE_SUCCEEDED,
        finish_reason=answer_pb2.FINISH_REASON_STOP,
        text=text,
        sources=sources,
        citations=citations,
        text_crc32c=google_crc32c.value(text.encode()),
    )
    chunks.append(chunk(answer=final))
    number = 0
    for each in chunks:
        number += 0 if each.HasField("heartbeat") else 1
        each.sequence = number
    chunks[-1].answer.last_sequence = number
    return chunks


def play(chunks: list[answer_pb2.AnswerChunk]) -> Transcript:
    transcript = Transcript("id")
    for each in chunks:
        transcript.accept(each)
    if transcript.final is None:
        raise transcript.lost_data()
    return transcript


@given(streams())
def test_a_stream_that_keeps_the_rules_is_taken_whole(chunks: list[answer_pb2.AnswerChunk]) -> None:
    transcript = play(chunks)
    assert transcript.final == chunks[-1].answer
    assert transcript.text == "".join(each.text.text for each in chunks)
    assert transcript.unknown_events == sum(each.WhichOneof("event") is None for each in chunks)


@given(streams(), st.data())
def test_a_stream_that_lacks_a_numbered_event_is_refused(
    chunks: list[answer_pb2.AnswerChunk], data: st.DataObject
) -> None:
    numbered = [index for index, each in enumerate(chunks) if not each.HasField("heartbeat")]
    del chunks[data.draw(st.sampled_from(numbered))]
    with pytest.raises(ProtocolError):
        play(chunks)


@given(streams(), st.data())
def test_a_stream_that_repeats_an_event_is_refused(chunks: list[answer_pb2.AnswerChunk], data: st.DataObject) -> None:
    numbered = [index for index, each in enumerate(chunks) if not each.HasField("heartbeat")]
    index = data.draw(st.sampled_from(numbered))
    chunks.insert(index, chunks[index])
    with pytest.raises(ProtocolError):
        play(chunks)


@given(streams(), st.data())
def test_a_stream_with_two_events_exchanged_is_refused(
    chunks: list[answer_pb2.AnswerChunk], data: st.DataObject
) -> None:
    numbered = [index for index, each in enumerate(chunks) if not each.HasField("heartbeat")]
    first, second = sorted(data.draw(st.lists(st.sampled_from(numbered), min_size=2, max_size=2, unique=True)))
    chunks[first], chunks[second] = chunks[second], chunks[first]
    with pytest.raises(ProtocolError):
        play(chunks)


@given(streams(), st.data())
def test_a_stream_that_is_cut_anywhere_has_lost_data(chunks: list[answer_pb2.AnswerChunk], data: st.DataObject) -> None:
    kept = chunks[: data.draw(st.integers(0, len(chunks) - 1))]
    with pytest.raises(DataLoss):
        play(kept)


@given(streams(), texts)
def test_another_text_at_the_end_is_refused(chunks: list[answer_pb2.AnswerChunk], more: str) -> None:
    final = chunks[-1].answer
    final.text += more
    final.text_crc32c = google_crc32c.value(final.text.encode())
    with pytest.raises(ProtocolError):
        play(chunks)


def started() -> Transcript:
    transcript = Transcript("id")
    transcript.accept(chunk(sequence=1, started=answer_pb2.AnswerStarted(answer=NAME)))
    return transcript


def test_what_a_reader_must_hold_is_bounded() -> None:
    transcript = started()
    sources = [source_pb2.Source(id=str(number)) for number in range(101)]
    with pytest.raises(ProtocolError, match="more than 100 sources"):
        transcript.accept(chunk(sequence=2, retrieved=answer_pb2.SourcesRetrieved(sources=sources)))
    transcript = started()
    retrieved = answer_pb2.SourcesRetrieved(sources=sources[:1])
    retrieved.statistics.SetInParent()
    transcript.accept(chunk(sequence=2, retrieved=retrieved))
    transcript.accept(chunk(sequence=3, text=answer_pb2.TextDelta(text="x" * 1024 * 1024)))
    with pytest.raises(ProtocolError, match="bytes of text"):
        transcript.accept(chunk(sequence=4, text=answer_pb2.TextDelta(text="x", offset_bytes=1024 * 1024)))
    evidence = [answer_pb2.Evidence(source_id="0")] * 1001
    with pytest.raises(ProtocolError, match="more than 1000"):
        transcript.accept(chunk(sequence=4, citation=answer_pb2.Citation(end_byte=1, evidence=evidence)))


def test_a_failure_is_never_an_event() -> None:
    transcript = started()
    failed = answer_pb2.Answer(name=NAME, state=answer_pb2.ANSWER_STATE_FAILED, last_sequence=2)
    with pytest.raises(ProtocolError, match="a failure is a status"):
        transcript.accept(chunk(sequence=2, answer=failed))


@given(streams(), st.integers(min_value=0))
def test_any_call_may_begin_with_a_snapshot_and_none_may_go_on_with_one(
    chunks: list[answer_pb2.AnswerChunk], number: int
) -> None:
    final = chunks[-1].answer
    snapshot = chunk(snapshot=final)
    snapshot.sequence = snapshot.snapshot.last_sequence = final.last_sequence - 1
    transcript = play([snapshot, chunks[-1]])
    assert transcript.final == final
    assert transcript.text == final.text
    chunks.insert(1 + number % (len(chunks) - 1), snapshot)
    with pytest.raises(ProtocolError):
        play(chunks)


class SlowToEnd:
    """A call whose status comes when it is let."""

    def __init__(self, chunks: list[answer_pb2.AnswerChunk]) -> None:
        self._chunks = chunks
        self.may_end = threading.Event()

    def __iter__(self) -> Iterator[answer_pb2.AnswerChunk]:
        yield from self._chunks
        assert self.may_end.wait(WAIT_SECONDS)

    def cancel(self) -> None:
        """Does nothing: it ends by itself."""


def test_a_reader_that_is_interrupted_before_the_status_has_the_end_when_it_reads_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "The leave lapses."
    chunks = [
        chunk(started=answer_pb2.AnswerStarted(answer=NAME)),
        chunk(retrieved=answer_pb2.SourcesRetrieved(statistics=source_pb2.RetrievalStatistics())),
        chunk(text=answer_pb2.TextDelta(text=text)),
        chunk(
            answer=answer_pb2.Answer(
                name=NAME,
                state=answer_pb2.ANSWER_STATE_SUCCEEDED,
                finish_reason=answer_pb2.FINISH_REASON_STOP,
                text=text,
                text_crc32c=google_crc32c.value(text.encode()),
                last_sequence=4,
            )
        ),
    ]
    for number, each in enumerate(chunks, start=1):
        each.sequence = number
    call = SlowToEnd(chunks)
    resumption = Resumption(enabled=True, deadline=Deadline(None))
    reader = Reader(lambda _: call, Transcript("id"), resumption=resumption, target="here")
    assert [reader.read() for _ in chunks[:-1]] == chunks[:-1]

    take = _reader._Arrivals.take

    def interrupted(arrivals: _reader._Arrivals, limit: float | None = None) -> Arrival:
        if limit is not None:  # the wait for the status has one
            raise KeyboardInterrupt
        return take(arrivals, limit)

    with monkeypatch.context() as patched:
        patched.setattr(_reader._Arrivals, "take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reader.read()
    call.may_end.set()
    assert reader.read() == chunks[-1]
