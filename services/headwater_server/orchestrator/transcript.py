"""What an answer has said so far: the one place that numbers events and builds the terminal message.

Pure logic: no I/O, no clock, no tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import google_crc32c

from headwater.v1 import answer_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import StreamAnswerRequest

MAX_TEXT_BYTES = 1024 * 1024
MAX_EVIDENCE = 1000
MAX_QUOTE_BYTES = 512
MAX_SOURCES = 100
MAX_SOURCES_BYTES = 1900 * 1024
"""How large all sources may be together, so that the terminal message stays under 4 MiB: 100 of 16 KiB, 1 KiB of
metadata and some 2 KiB of names and titles."""
BATCH_BYTES = 1024 * 1024
"""How large one `retrieved` event may grow: well under the 4 MiB of a message."""

ESTIMATED_BYTES_A_TOKEN = 4


class RuleBrokenError(Exception):
    """An event was offered that the rules of the stream do not allow here; a defect of whoever offered it."""


class Transcript:
    """The events of one answer in order, and the answer they add up to.

    Each `add_…` returns the numbered chunk to send. Chunks are never changed once they are returned.

    Args:
        header: What is known of the answer before anything has happened; name, request_id, prompt, labels, create_time.
    """

    def __init__(self, header: answer_pb2.Answer) -> None:
        self._header = header
        self._sequence = 0
        self._text_bytes = 0
        self._encoded = bytearray()  # the text; a list of its pieces would be five times as large
        self._crc = 0
        self._sources: dict[str, source_pb2.Source] = {}
        self._searched = False
        self._citations: list[answer_pb2.Citation] = []
        self._evidence = 0
        self._reasoning_bytes = 0
        self._assistant = ""
        self._speaker = ""
        self._statistics = source_pb2.RetrievalStatistics()
        self._terminal: answer_pb2.Answer | None = None

    @property
    def name(self) -> str:
        """The answer's name."""
        return self._header.name

    @property
    def chat(self) -> str:
        """The chat that the answer belongs to; empty outside one."""
        return self._header.chat

    @property
    def last_sequence(self) -> int:
        """The sequence of the last event; 0 before the first."""
        return self._sequence

    @property
    def text_bytes(self) -> int:
        """The length of the text so far, in bytes of UTF-8."""
        return self._text_bytes

    @property
    def room(self) -> int:
        """How many more bytes of text fit."""
        return MAX_TEXT_BYTES - self._text_bytes

    @property
    def sources(self) -> list[source_pb2.Source]:
        """The sources, in order of rank."""
        return list(self._sources.values())

    @property
    def assistant(self) -> str:
        """The name of the assistant that `started` names; empty before."""
        return self._assistant

    @property
    def speaker(self) -> str:
        """The name of the assistant that says the text, where others could have; empty before, and where none could."""
        return self._speaker

    @property
    def searched(self) -> bool:
        """Whether the last `retrieved` has come."""
        return self._searched

    @property
    def statistics(self) -> source_pb2.RetrievalStatistics:
        """How the search went; empty until `searched`, and where there was none."""
        return self._statistics

    @property
    def reasoned(self) -> bool:
        """Whether there is reasoning."""
        return self._reasoning_bytes > 0

    @property
    def spoken(self) -> bool:
        """Whether the assistant has said anything: text, reasoning or a citation."""
        return self._text_bytes > 0 or self.reasoned

    @property
    def terminal(self) -> answer_pb2.Answer | None:
        """The terminal message, once it was added."""
        return self._terminal

    def add_started(self, assistant: str) -> AnswerChunk:
        """The first event."""
        self._require(self._sequence == 0, "started comes first, once")
        started = answer_pb2.AnswerStarted(
            answer=self._header.name,
            chat=self._header.chat,
            assistant=assistant,
            create_time=self._header.create_time,
        )
        self._assistant = assistant
        return self._numbered(AnswerChunk(started=started))

    def add_retrieved(
        self, sources: Iterable[source_pb2.Source], statistics: source_pb2.RetrievalStatistics
    ) -> list[AnswerChunk]:
        """The sources, numbered from "1", in as many events as their size asks for; the last carries the statistics.

        The last ones are left out where there are more than an answer may hold. Where an earlier owner has logged a
        part of its sources, they stay; the others follow if the part is the beginning of what was found now.
        """
        self._require(self._sequence > 0 and not self._searched, "retrieved comes after started, before text")
        numbered = list(_numbered_sources(sources))
        logged = self.sources
        if numbered[: len(logged)] != logged:
            numbered, statistics = logged, source_pb2.RetrievalStatistics()
        self._searched = True
        self._statistics = statistics
        self._sources = {source.id: source for source in numbered}
        events = [answer_pb2.SourcesRetrieved(sources=batch) for batch in _batches(numbered[len(logged) :])]
        events[-1].statistics.CopyFrom(statistics)
        return [self._numbered(AnswerChunk(retrieved=event)) for event in events]

    def note_speaker(self, assistant: str) -> None:
        """Notes which of several assistants says the text: its first event is about to be added, and tells of it."""
        if not self._text_bytes:
            self._speaker = assistant

    def add_text(self, text: str) -> AnswerChunk:
        """Text to append; not empty, and no more than there is room for."""
        self._require_speech()
        encoded = text.encode()
        self._require(0 < len(encoded) <= self.room, "a text delta is not empty, and fits")
        chunk = AnswerChunk()
        delta = chunk.text  # filled in place: a message made and copied costs twice as much
        delta.text = text
        delta.offset_bytes = self._text_bytes
        if self._speaker and not self._text_bytes:
            delta.assistant = self._speaker
        self._append(encoded)
        return self._numbered(chunk)

    def add_reasoning(self, text: str) -> AnswerChunk:
        """A piece of the model's visible thinking; not empty."""
        self._require_speech()
        self._require(bool(text), "a reasoning delta is not empty")
        self._reasoning_bytes += len(text.encode())
        return self._numbered(AnswerChunk(reasoning=answer_pb2.ReasoningDelta(text=text)))

    def add_citation(self, citation: answer_pb2.Citation) -> AnswerChunk | None:
        """A citation; what does not hold is left out, and with it, if nothing is left, the citation (None)."""
        self._require_speech()
        if not self._spans_text(citation.start_byte, citation.end_byte):
            return None
        room = MAX_EVIDENCE - self._evidence
        evidence = [item for item in citation.evidence if self._holds(item)][:room]
        if not evidence:
            return None
        kept = answer_pb2.Citation(start_byte=citation.start_byte, end_byte=citation.end_byte, evidence=evidence)
        self._keep(kept)
        return self._numbered(AnswerChunk(citation=kept))

    def add_answer(self, ending: answer_pb2.Answer) -> AnswerChunk:
        """The terminal message: what the ending says, and all that has happened.

        Args:
            ending: state, finish_reason, abstain_reason, assistant, model_version, usage, timings, complete_time,
                expire_time, and in `sources` the ids and dispositions of those that the assistant was shown.
        """
        self._require(self._searched and self._terminal is None, "the answer comes last, once, after retrieved")
        for shown in ending.sources:
            source = self._sources.get(shown.id)
            presented = shown.disposition >= source_pb2.SOURCE_DISPOSITION_PRESENTED
            if source is not None and presented and source.disposition == source_pb2.SOURCE_DISPOSITION_RETRIEVED:
                source.disposition = source_pb2.SOURCE_DISPOSITION_PRESENTED
        answer = self.answer_so_far()
        for name in ("assistant", "model_version", "state", "finish_reason", "abstain_reason"):
            setattr(answer, name, getattr(ending, name))
        if ending.HasField("usage"):
            answer.usage.CopyFrom(ending.usage)
        if ending.HasField("timings"):
            answer.timings.CopyFrom(ending.timings)
        if ending.HasField("complete_time"):
            answer.complete_time.CopyFrom(ending.complete_time)
        if ending.HasField("expire_time"):
            answer.expire_time.CopyFrom(ending.expire_time)
        answer.last_sequence = self._sequence + 1
        self._terminal = answer
        return self._numbered(AnswerChunk(answer=answer))

    def restore(self, chunk: AnswerChunk) -> None:
        """Takes an event that was numbered before, by an earlier owner of the answer.

        Raises:
            RuleBrokenError: It is not the next.
        """
        self._require(chunk.sequence == self._sequence + 1 and self._terminal is None, "events follow one another")
        match chunk.WhichOneof("event"):
            case "started":
                self._assistant = chunk.started.assistant
            case "retrieved":
                self._sources.update((source.id, source) for source in chunk.retrieved.sources)
                self._searched = chunk.retrieved.HasField("statistics")
                self._statistics = chunk.retrieved.statistics
            case "text":
                self._speaker = self._speaker or chunk.text.assistant
                self._append(chunk.text.text.encode())
            case "reasoning":
                self._reasoning_bytes += len(chunk.reasoning.text.encode())
            case "citation":
                self._keep(chunk.citation)
            case "answer":
                self._terminal = chunk.answer
        self._sequence = chunk.sequence

    def note_unlogged(self) -> None:
        """Notes that the answer is not logged to its end."""
        self._header.unlogged = True
        if self._terminal is not None:
            self._terminal.unlogged = True

    def answer_so_far(self) -> answer_pb2.Answer:
        """The answer as far as it has come, RUNNING."""
        answer = answer_pb2.Answer()
        answer.CopyFrom(self._header)
        answer.state = answer_pb2.ANSWER_STATE_RUNNING
        answer.text = self._encoded.decode()
        answer.sources.extend(self._sources.values())
        answer.citations.extend(self._citations)
        answer.last_sequence = self._sequence
        answer.text_crc32c = self._crc
        return answer

    def estimated_usage(self) -> answer_pb2.Usage:
        """Counts of tokens estimated from what was said, for answers whose provider never told."""
        output = self._text_bytes + self._reasoning_bytes
        return answer_pb2.Usage(
            output_tokens=-(-output // ESTIMATED_BYTES_A_TOKEN),
            origin=answer_pb2.USAGE_ORIGIN_ESTIMATED,
            partial=True,
        )

    def _append(self, encoded: bytes) -> None:
        self._text_bytes += len(encoded)
        self._encoded += encoded
        self._crc = google_crc32c.extend(self._crc, encoded)

    def _keep(self, citation: answer_pb2.Citation) -> None:
        self._evidence += len(citation.evidence)
        self._citations.append(citation)
        for item in citation.evidence:
            self._sources[item.source_id].disposition = source_pb2.SOURCE_DISPOSITION_CITED

    def _numbered(self, chunk: AnswerChunk) -> AnswerChunk:
        self._sequence += 1
        chunk.sequence = self._sequence
        return chunk

    def _require_speech(self) -> None:
        self._require(self._searched and self._terminal is None, "speech comes after retrieved, before the answer")

    @staticmethod
    def _require(allowed: bool, rule: str) -> None:
        if not allowed:
            raise RuleBrokenError(rule)

    def _spans_text(self, start: int, end: int) -> bool:
        return 0 <= start < end <= self._text_bytes and self._is_boundary(start) and self._is_boundary(end)

    def _is_boundary(self, offset: int) -> bool:
        return offset == self._text_bytes or self._encoded[offset] & 0xC0 != 0x80

    def _holds(self, evidence: answer_pb2.Evidence) -> bool:
        return evidence.source_id in self._sources and len(evidence.quote.encode()) <= MAX_QUOTE_BYTES


def _numbered_sources(found: Iterable[source_pb2.Source]) -> Iterator[source_pb2.Source]:
    """Copies of the sources with their ids, as many as an answer may hold."""
    room = MAX_SOURCES_BYTES
    for number, original in enumerate(islice(found, MAX_SOURCES), start=1):
        source = source_pb2.Source()
        source.CopyFrom(original)
        source.id = str(number)
        source.disposition = source_pb2.SOURCE_DISPOSITION_RETRIEVED
        room -= source.ByteSize()
        if room < 0:
            return
        yield source


def _batches(sources: Iterable[source_pb2.Source]) -> list[list[source_pb2.Source]]:
    """The sources in batches of a bounded size; at least one batch."""
    batches: list[list[source_pb2.Source]] = [[]]
    size = 0
    for source in sources:
        size += source.ByteSize()
        if size > BATCH_BYTES and batches[-1]:
            batches.append([])
            size = source.ByteSize()
        batches[-1].append(source)
    return batches


def header(
    *, name: str, request_id: str, prompt: str, labels: Mapping[str, str], created_at: float
) -> answer_pb2.Answer:
    """What is known of an answer when it begins; `created_at` in seconds since 1970."""
    answer = answer_pb2.Answer(name=name, request_id=request_id, prompt=prompt, labels=labels)
    answer.create_time.FromMicroseconds(round(created_at * 1_000_000))
    return answer


def header_of(name: str, request: StreamAnswerRequest, *, created: float) -> answer_pb2.Answer:
    """What is known of the answer to a request when it begins; `created` in seconds since 1970."""
    made = header(
        name=name,
        request_id=request.request_id,
        prompt=request.prompt,
        labels=request.labels,
        created_at=created,
    )
    made.chat = request.chat
    return made
