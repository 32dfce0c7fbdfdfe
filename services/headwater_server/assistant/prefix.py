"""The beginning of an answer, put back into what its assistant said.

An answer goes on where it stopped from its text and its citations, and an assistant that cites by markers said both as
one text. What it said is not kept, so the markers are written again: each citation's as `[1]`, or `[1][2]`, after a
blank, where its span ends. Whether the assistant wrote `[1, 2]`, or no blank, is lost; both mean the same, and no text
of the answer depends on it. Whoever puts the text back reads it again (`GroundedAnswer.go_on`): what does not come out
as it went in is refused, so that nothing is said twice and nothing moves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from headwater_server.assistant.protocol import Evidence

_AFTER_WORDS = re.compile(r"[^\w\s]*")
_MAX_BETWEEN = 256


@dataclass(frozen=True, slots=True)
class SaidCitation:
    """A citation that was sent."""

    start_byte: int
    end_byte: int
    evidence: Sequence[Evidence]

    @property
    def key(self) -> tuple[int, int, tuple[str, ...]]:
        """What tells it from others: its span and its sources."""
        return self.start_byte, self.end_byte, tuple(item.source_id for item in self.evidence)


@dataclass(frozen=True, slots=True)
class Prefix:
    """What has been sent of an answer."""

    text: str
    citations: Sequence[SaidCitation]


def with_markers(prefix: Prefix) -> str:
    """The text with a marker for each citation.

    Several citations of the same span come from markers with nothing but punctuation between them: each is put after
    the next of it.
    """
    encoded = prefix.text.encode()
    pieces: list[str] = []
    done = 0
    span = (-1, -1)
    for citation in prefix.citations:
        place = max(citation.end_byte, done)
        if (citation.start_byte, citation.end_byte) == span:
            following = encoded[place : place + _MAX_BETWEEN].decode(errors="ignore")
            place += len(_AFTER_WORDS.match(following)[0].encode())  # type: ignore[index]  # it matches nothing, too
        span = (citation.start_byte, citation.end_byte)
        numbers = dict.fromkeys(item.source_id for item in citation.evidence)
        pieces += [encoded[done:place].decode(), " ", *(f"[{number}]" for number in numbers)]
        done = place
    pieces.append(encoded[done:].decode())
    return "".join(pieces)
