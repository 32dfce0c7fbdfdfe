"""What has come of one answer, verified against the rules of the stream that stand at `AnswerChunk`."""

from __future__ import annotations

import google_crc32c

from headwater._exceptions import DataLoss, ProtocolError
from headwater.v1 import answer_pb2, source_pb2

MAX_TEXT_BYTES = 1024 * 1024
MAX_SOURCES = 100
MAX_EVIDENCE = 1000


class Transcript:
    """The events of one answer, in order.

    `accept` verifies each chunk before it becomes part of the transcript; the first violation raises `ProtocolError`,
    and after that the transcript must not be used further. It does no I/O and knows nothing of gRPC.

    Attributes:
        request_id: The request_id that the answer was asked with.
        name: The answer's name, `answers/{answer}`. Empty before `started`.
        sources: The sources retrieved so far.
        statistics: How the search went. None until all sources are there.
        citations: The citations so far.
        last_sequence: The number of the last event.
        unknown_events: How many events came that this version does not know.
        unlogged: Whether the server has said that it does not log the answer.
        final: The terminal message. None until it has come.
    """

    def __init__(self, request_id: str, *, name: str = "") -> None:
        self.request_id = request_id
        self.name = name
        self.sources: list[source_pb2.Source] = []
        self.statistics: source_pb2.RetrievalStatistics | None = None
        self.citations: list[answer_pb2.Citation] = []
        self.last_sequence = 0
        self.unknown_events = 0
        self.unlogged = False
        self.final: answer_pb2.Answer | None = None
        self._text = bytearray()
        self._evidence = 0
        self._call_begins = True  # the next message may be a snapshot

    @property
    def text(self) -> str:
        """The text so far."""
        return self._text.decode()

    @property
    def begun(self) -> bool:
        """Whether the server has sent an event."""
        return self.last_sequence > 0

    def resumed(self) -> None:
        """Notes that the stream goes on over another call, which may begin with a snapshot."""
        self._call_begins = True

    def accept(self, chunk: answer_pb2.AnswerChunk) -> answer_pb2.AnswerChunk:
        """Takes the next message of the stream.

        Returns:
            The message for the reader: the same, or in place of a snapshot the text that it has and the reader has not.

        Raises:
            ProtocolError: The message breaks a rule of the stream.
        """
        if self.final is not None:
            raise self.violation("an event came after the terminal message")
        kind = chunk.WhichOneof("event")
        if kind == "snapshot" and self._call_begins:
            self._call_begins = False
            return self._adopt(chunk)
        self._accept(kind, chunk)
        self._call_begins = False
        return chunk

    def _accept(self, kind: str | None, chunk: answer_pb2.AnswerChunk) -> None:
        if kind == "heartbeat":
            if chunk.sequence != self.last_sequence:
                raise self.violation(f"a heartbeat after event {self.last_sequence} has the sequence {chunk.sequence}")
            return
        if kind == "snapshot":
            raise self.violation("a snapshot came after the beginning of a call")
        if chunk.sequence != self.last_sequence + 1:
            raise self.violation(f"event {chunk.sequence} came after event {self.last_sequence}")
        self._accept_event(kind, chunk)
        self.last_sequence = chunk.sequence

    def lost_data(self) -> DataLoss:
        """Makes the exception for a stream that ends with status OK before its terminal message."""
        return DataLoss(
            f"the stream ended after event {self.last_sequence} without the terminal message: "
            "part of the answer is missing",
            answer=self.name,
            partial=self.text,
            request_id=self.request_id,
        )

    def violation(self, what: str) -> ProtocolError:
        """Makes the exception for a broken rule."""
        return ProtocolError(
            f"the server broke the protocol: {what}",
            answer=self.name,
            partial=self.text,
            request_id=self.request_id,
        )

    def _accept_event(self, kind: str | None, chunk: answer_pb2.AnswerChunk) -> None:
        if (kind == "started") == self.begun:
            raise self.violation("`started` must come first, and once")
        match kind:
            case "started":
                self._start(chunk.started)
            case "retrieved":
                self._retrieve(chunk.retrieved)
            case "text":
                self._append(chunk.text)
            case "reasoning":
                self._require_sources(kind)
                if not chunk.reasoning.text:
                    raise self.violation("an empty piece of reasoning came")
            case "citation":
                self._cite(chunk.citation)
            case "answer":
                self._finish(chunk.answer, chunk.sequence)
            case _:
                self.unknown_events += 1

    def _adopt(self, chunk: answer_pb2.AnswerChunk) -> answer_pb2.AnswerChunk:
        """Takes a snapshot, which must go on where the stream was: what came before is a prefix of it."""
        snapshot, before = chunk.snapshot, len(self._text)
        text = snapshot.text.encode()
        if self.name not in {"", snapshot.name}:
            raise self.violation("the snapshot is of another answer")
        if chunk.sequence < self.last_sequence or not text.startswith(self._text):
            raise self.violation("the snapshot does not go on where the stream was")
        if snapshot.HasField("text_crc32c") and snapshot.text_crc32c != google_crc32c.value(text):
            raise self.violation("the checksum of the snapshot's text is wrong")
        self.name = snapshot.name
        self.unlogged = snapshot.unlogged
        self.sources = list(snapshot.sources)
        self.statistics = self.statistics or source_pb2.RetrievalStatistics()
        self.citations = list(snapshot.citations)
        self._evidence = sum(len(citation.evidence) for citation in self.citations)
        self._text = bytearray(text)
        self.last_sequence = chunk.sequence
        if len(text) == before:
            return chunk
        rest = answer_pb2.TextDelta(text=text[before:].decode(), offset_bytes=before)
        return answer_pb2.AnswerChunk(sequence=chunk.sequence, text=rest)

    def _start(self, started: answer_pb2.AnswerStarted) -> None:
        if not started.answer or self.name not in {"", started.answer}:
            raise self.violation("`started` has no name, or another answer's")
        self.name = started.answer
        self.unlogged = started.unlogged

    def _retrieve(self, retrieved: answer_pb2.SourcesRetrieved) -> None:
        if self.statistics is not None:
            raise self.violation("sources came after the batch that was marked as the last")
        if len(self.sources) + len(retrieved.sources) > MAX_SOURCES:
            raise self.violation(f"more than {MAX_SOURCES} sources came")
        self.sources.extend(retrieved.sources)
        if retrieved.HasField("statistics"):
            self.statistics = retrieved.statistics

    def _append(self, delta: answer_pb2.TextDelta) -> None:
        self._require_sources("text")
        if not delta.text:
            raise self.violation("an empty piece of text came")
        if delta.offset_bytes != len(self._text):
            raise self.violation(f"text for byte {delta.offset_bytes} came after {len(self._text)} bytes")
        piece = delta.text.encode()
        if len(self._text) + len(piece) > MAX_TEXT_BYTES:
            raise self.violation(f"more than {MAX_TEXT_BYTES} bytes of text came")
        self._text += piece

    def _cite(self, citation: answer_pb2.Citation) -> None:
        self._require_sources("a citation")
        if not 0 <= citation.start_byte < citation.end_byte <= len(self._text):
            raise self.violation(
                f"a citation of bytes {citation.start_byte} to {citation.end_byte} came after {len(self._text)} bytes"
            )
        if self._splits_code_point(citation.start_byte) or self._splits_code_point(citation.end_byte):
            raise self.violation("a citation begins or ends inside a code point")
        self._evidence += len(citation.evidence)
        if not citation.evidence or self._evidence > MAX_EVIDENCE:
            raise self.violation(f"a citation has no evidence, or more than {MAX_EVIDENCE} pieces came in all")
        known = {source.id for source in self.sources}
        for evidence in citation.evidence:
            if evidence.source_id not in known:
                raise self.violation(f"a citation rests on the source {evidence.source_id!r}, which was not retrieved")
        self.citations.append(citation)

    def _finish(self, final: answer_pb2.Answer, sequence: int) -> None:
        if final.state not in {answer_pb2.ANSWER_STATE_SUCCEEDED, answer_pb2.ANSWER_STATE_CANCELLED}:
            raise self.violation("the terminal message is of an answer that has not ended well: a failure is a status")
        if final.finish_reason == answer_pb2.FINISH_REASON_UNSPECIFIED:
            raise self.violation("the terminal message has no finish reason")
        if final.finish_reason != answer_pb2.FINISH_REASON_CANCELLED:
            self._require_sources("the end")  # an answer can be stopped while its sources are searched
        if final.name != self.name or final.last_sequence != sequence:
            raise self.violation("the terminal message has another name, or another last sequence, than the stream")
        self._verify_text(final)
        if [source.id for source in final.sources] != [source.id for source in self.sources]:
            raise self.violation("the terminal message has other sources than were retrieved")
        if list(final.citations) != self.citations:
            raise self.violation("the terminal message has other citations than came before")
        self.unlogged = final.unlogged
        self.final = final

    def _verify_text(self, final: answer_pb2.Answer) -> None:
        text = bytes(self._text)
        if final.text.encode() != text:
            raise self.violation("the text of the terminal message is not the pieces that came before")
        if not final.HasField("text_crc32c") or final.text_crc32c != google_crc32c.value(text):
            raise self.violation("the checksum of the text is wrong, or missing")

    def _require_sources(self, what: str) -> None:
        if self.statistics is None:
            raise self.violation(f"{what} came before the last batch of sources")

    def _splits_code_point(self, offset: int) -> bool:
        return offset < len(self._text) and self._text[offset] & 0xC0 == 0x80
