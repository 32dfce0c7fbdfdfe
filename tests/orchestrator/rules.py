"""The rules of an answer's stream, checked on its chunks by code that shares nothing with the orchestrator's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headwater.v1 import answer_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk

ORDER = {"started": 0, "retrieved": 1, "text": 2, "reasoning": 2, "citation": 2, "answer": 3}


def crc32c(data: bytes) -> int:
    """CRC-32C by its definition: the reflected polynomial 0x82F63B78, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def assert_rules(chunks: Sequence[AnswerChunk]) -> answer_pb2.Answer:
    """Fails unless the chunks are a whole stream by the rules; returns the terminal message."""
    answer = assert_begins_by_the_rules(chunks)
    assert chunks
    assert chunks[-1].WhichOneof("event") == "answer", "the terminal message is last"
    assert answer is not None
    text = "".join(chunk.text.text for chunk in chunks)
    assert answer.text == text
    assert answer.HasField("text_crc32c")
    assert answer.text_crc32c == crc32c(text.encode())
    assert answer.last_sequence == chunks[-1].sequence
    assert list(answer.citations) == [chunk.citation for chunk in chunks if chunk.HasField("citation")]
    streamed = [source for chunk in chunks for source in chunk.retrieved.sources]
    assert [_undisposed(source) for source in answer.sources] == [_undisposed(source) for source in streamed]
    cited = {item.source_id for citation in answer.citations for item in citation.evidence}
    for source in answer.sources:
        assert (source.disposition == source_pb2.SOURCE_DISPOSITION_CITED) == (source.id in cited)
    return answer


def assert_begins_by_the_rules(chunks: Iterable[AnswerChunk]) -> answer_pb2.Answer | None:
    """Fails unless the chunks begin a stream by the rules; returns the terminal message if it is there."""
    sequence, stage, text = 0, -1, b""
    statistics_seen = False
    ids: list[str] = []
    answer: answer_pb2.Answer | None = None
    for chunk in chunks:
        kind = chunk.WhichOneof("event")
        assert answer is None, f"{kind} after the terminal message"
        if kind == "heartbeat":
            assert chunk.sequence == sequence
            continue
        assert kind in ORDER, f"{kind} does not belong into a stream"
        sequence += 1
        assert chunk.sequence == sequence
        assert stage <= ORDER[kind] <= (stage + 1 if stage < 1 else 3), f"{kind} out of order"
        stage = ORDER[kind]
        match kind:
            case "started":
                assert sequence == 1
            case "retrieved":
                assert not statistics_seen, "the batch with statistics is the last"
                statistics_seen = chunk.retrieved.HasField("statistics")
                ids += [source.id for source in chunk.retrieved.sources]
            case "text":
                assert statistics_seen
                assert chunk.text.text
                assert chunk.text.offset_bytes == len(text)
                text += chunk.text.text.encode()
            case "reasoning":
                assert chunk.reasoning.text
            case "citation":
                _assert_citation(chunk.citation, text, ids)
            case "answer":
                assert statistics_seen
                answer = chunk.answer
    assert ids == [str(number) for number in range(1, len(ids) + 1)]
    return answer


def _assert_citation(citation: answer_pb2.Citation, text: bytes, ids: Sequence[str]) -> None:
    assert 0 <= citation.start_byte < citation.end_byte <= len(text)
    text[: citation.start_byte].decode()
    text[: citation.end_byte].decode()
    assert citation.evidence
    for item in citation.evidence:
        assert item.source_id in ids
        assert len(item.quote.encode()) <= 512


def _undisposed(source: source_pb2.Source) -> source_pb2.Source:
    copy = source_pb2.Source()
    copy.CopyFrom(source)
    copy.ClearField("disposition")
    return copy
