"""From a model's events to an answer's text with citations that hold.

Text only grows. Markers are read, taken out and made citations of; a citation is kept only if it points at a source
that was presented, and a quote only if it stands in that source word for word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from headwater_server.assistant.markers import Marker, MarkerReader
from headwater_server.assistant.prefix import Prefix, with_markers
from headwater_server.assistant.protocol import CitationStyle, Cite, Evidence, Source
from headwater_server.assistant.quotes import QuotedText
from headwater_server.assistant.sentences import sentences
from headwater_server.errors import InvalidRequest
from headwater_server.text import SurrogateJoiner, utf8_prefix

MAX_TEXT_BYTES = 1 << 20
MAX_EVIDENCE = 1000

_MAX_TAIL = 2000
_WORD = re.compile(r"\w")
_LEADING = re.compile(r"[\s,;:.!?–—\-*•>#)\]]+")
_IN_QUOTES = re.compile(r'["“„«]([^"“”„«»\n]{12,600})["”“»]')


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Text to append."""

    text: str
    offset_bytes: int
    """Where it starts: the bytes of UTF-8 of all text before."""


@dataclass(frozen=True, slots=True)
class CheckedCitation:
    """A citation of which everything was checked."""

    start_byte: int
    end_byte: int
    evidence: Sequence[Evidence]


class GroundedAnswer:
    """The text of one answer as it grows, and its citations.

    Attributes:
        full: Whether the text has reached its limit of 1 MiB. What comes after is dropped.
        cited: The ids of the sources cited so far.
    """

    def __init__(self, sources: Iterable[Source], *, style: CitationStyle) -> None:
        """Makes an empty answer.

        Args:
            sources: The sources that were presented to the assistant. Their ids are decimal numbers.
            style: How the assistant cites.
        """
        self.full = False
        self.cited: set[str] = set()
        self._sources: Mapping[str, Source] = {source.id: source for source in sources}
        self._takes_cites = style is not CitationStyle.MARKERS
        self._native = style is CitationStyle.NATIVE
        self._markers = MarkerReader(() if self._native else [int(number) for number in self._sources])
        self._taken_out: list[tuple[int, int]] = []  # where markers stood in the text with all of them, and their sizes
        self._taken_size = 0
        self._joiner = SurrogateJoiner()
        self._quoted: dict[str, QuotedText] = {}
        self._size = 0
        self._evidence = 0
        self._tail = ""  # the end of the text, from the beginning of its line
        self._tail_bytes = 0  # where the tail begins
        self._cited_to = 0  # the byte after the last span a marker was given
        self._last_span: tuple[int, int] | None = None
        self._encoded = bytearray()  # the text, to see where characters begin; kept for `Cite` only
        self._said: set[tuple[int, int, tuple[str, ...]]] = set()  # the citations of a prefix

    @property
    def size(self) -> int:
        """The length of the text so far, in bytes of UTF-8."""
        return self._size

    def go_on(self, prefix: Prefix) -> str:
        """Takes in what was sent of the answer before it was interrupted; takes time in proportion to it.

        Returns:
            It as the assistant said it.

        Raises:
            InvalidRequest: It cannot be put back: read again it is not what it was.
        """
        self._said = {citation.key for citation in prefix.citations}
        if self._native:
            for _ in self._append(prefix.text):
                pass
            self._evidence = sum(len(citation.evidence) for citation in prefix.citations)
            self.cited.update(item.source_id for citation in prefix.citations for item in citation.evidence)
            return prefix.text
        raw = with_markers(prefix)
        read = [*self._read(self._markers.feed(raw)), *self._read(self._markers.finish())]
        citations = [piece for piece in read if isinstance(piece, CheckedCitation)]
        text = "".join(piece.text for piece in read if isinstance(piece, TextPiece))
        keys = [(item.start_byte, item.end_byte, tuple(each.source_id for each in item.evidence)) for item in citations]
        if text != prefix.text or keys != [item.key for item in prefix.citations]:
            raise InvalidRequest("prefix", "cannot be put back into what the assistant said, with its markers")
        return raw

    def repeats(self, cite: Cite) -> bool:
        """Whether a citation that the assistant made itself was sent before it was interrupted."""
        if not self._said:
            return False
        start, end = self._without_markers(cite.start_byte), self._without_markers(cite.end_byte)
        return (start, end, tuple(item.source_id for item in cite.evidence)) in self._said

    def add(self, text: str) -> Iterator[TextPiece | CheckedCitation]:
        """Appends a piece of what the model said; gives what is certain."""
        yield from self._read(self._markers.feed(self._joiner.feed(text)))

    def finish(self) -> Iterator[TextPiece | CheckedCitation]:
        """Gives what was held back, when the model has ended."""
        yield from self._read(self._markers.feed(self._joiner.finish()))
        yield from self._read(self._markers.finish())

    def settle(self, end: int) -> Iterator[TextPiece | CheckedCitation]:
        """Gives what is held back now, though more may come: a citation comes after all the text that it covers.

        Args:
            end: Where the citation ends, in the text with the markers in it. What it does not cover stays held back,
                as it may still become a marker.
        """
        if end > self._size + self._taken_size:
            yield from self._read(self._markers.finish())

    def cite(self, cite: Cite) -> CheckedCitation | None:
        """Checks a citation that the assistant made itself. Its offsets count the text with the markers in it.

        Returns:
            It, with what holds of its evidence. None if nothing does, or its span is not one of the text so far.
        """
        if not self._takes_cites:
            return None
        start, end = self._without_markers(cite.start_byte), self._without_markers(cite.end_byte)
        if not 0 <= start < end <= self._size or not (self._is_start(start) and self._is_start(end)):
            return None
        return self._citation(start, end, cite.evidence)

    def _without_markers(self, offset: int) -> int:
        """An offset into the text with all markers as one into the text without; inside of a marker, its place."""
        removed = 0
        for start, size in self._taken_out:
            if start >= offset:
                break
            removed += min(size, offset - start)
        return offset - removed

    def _read(self, pieces: Iterable[str | Marker]) -> Iterator[TextPiece | CheckedCitation]:
        for piece in pieces:
            if self.full:
                return
            if isinstance(piece, Marker):
                self._taken_out.append((self._size + self._taken_size, piece.size))
                self._taken_size += piece.size
                citation = self._marked(piece)
                if citation:
                    yield citation
            elif piece:
                yield from self._append(piece)

    def _append(self, text: str) -> Iterator[TextPiece]:
        fitting = utf8_prefix(text, MAX_TEXT_BYTES - self._size)
        self.full = len(fitting) < len(text)
        if not fitting:
            return
        yield TextPiece(fitting, self._size)
        encoded = fitting.encode()
        if self._takes_cites:
            self._encoded += encoded
        self._size += len(encoded)
        self._move_tail(fitting)

    def _move_tail(self, text: str) -> None:
        self._tail += text
        line = self._tail.rfind("\n") + 1
        cut = max(line, len(self._tail) - _MAX_TAIL)
        if cut > 0:
            self._tail_bytes += len(self._tail[:cut].encode())
            self._tail = self._tail[cut:]

    def _marked(self, marker: Marker) -> CheckedCitation | None:
        span = self._span()
        if span is None:
            return None
        self._last_span = span
        self._cited_to = self._size
        words = self._tail.encode()[span[0] - self._tail_bytes : span[1] - self._tail_bytes].decode(errors="replace")
        quotes = [words, *_IN_QUOTES.findall(words)]
        return self._citation(*span, [self._evidence_for(str(number), quotes) for number in marker.numbers])

    def _span(self) -> tuple[int, int] | None:
        """What a marker that stands here ends: the sentence, or the part of it since the last marker."""
        encoded = self._tail.encode()
        since = max(self._cited_to - self._tail_bytes, 0)
        part = encoded[since:].decode()
        if not _WORD.search(part):  # nothing new: it rests on the same words as the last one
            return self._last_span
        text = part.rstrip()
        start = sentences(text)[-1].start if sentences(text) else 0
        leading = _LEADING.match(text, start)
        start = leading.end() if leading else start
        if start >= len(text):
            return self._last_span
        begin = self._tail_bytes + since
        return begin + len(text[:start].encode()), begin + len(text.encode())

    def _evidence_for(self, source_id: str, quotes: Sequence[str]) -> Evidence:
        """Evidence for what a marker ends, with the longest of its words that the source has too."""
        found = (self._verified(source_id, quote) for quote in quotes if len(quote.split()) >= 3)
        return Evidence(source_id, max(found, key=len, default=""))

    def _citation(self, start: int, end: int, evidence: Iterable[Evidence]) -> CheckedCitation | None:
        kept = [
            Evidence(item.source_id, self._verified(item.source_id, item.quote))
            for item in dict.fromkeys(evidence)
            if item.source_id in self._sources
        ][: MAX_EVIDENCE - self._evidence]
        if not kept:
            return None
        self._evidence += len(kept)
        self.cited.update(item.source_id for item in kept)
        return CheckedCitation(start, end, kept)

    def _verified(self, source_id: str, quote: str) -> str:
        if not quote:
            return ""
        if source_id not in self._quoted:
            self._quoted[source_id] = QuotedText(self._sources[source_id].text)
        return self._quoted[source_id].verified(quote)

    def _is_start(self, offset: int) -> bool:
        """Whether a character of the text begins at an offset, or the text ends there."""
        return offset == self._size or self._encoded[offset] & 0xC0 != 0x80
