"""What was seen of an answer under one name, by whomever, compared as it comes."""

from __future__ import annotations

from dataclasses import dataclass

import google_crc32c
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from tests.faults.answers.plans import Plan


class BrokenPromise(AssertionError):
    """An answer was not as it must be."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended, as one caller was told."""

    state: str
    """SUCCEEDED, CANCELLED or FAILED."""
    why: str
    """The finish reason, or the reason of the failure."""

    @classmethod
    def of(cls, answer: answer_pb2.Answer) -> Ending:
        """That of a terminal message, or of an answer that is kept."""
        state = answer_pb2.AnswerState.Name(answer.state).removeprefix("ANSWER_STATE_")
        if answer.HasField("error"):
            return cls(state, info_in(answer.error).reason)
        return cls(state, answer_pb2.FinishReason.Name(answer.finish_reason).removeprefix("FINISH_REASON_"))

    def __str__(self) -> str:
        return f"{self.state} {self.why}"


class Life:
    """All that was seen of an answer under one name, compared as it comes.

    Args:
        plan: What it was to be.
        name: Its name.
    """

    def __init__(self, plan: Plan, name: str) -> None:
        self._plan = plan
        self._truth = plan.truth.encode()
        self.name = name
        self.events: dict[int, bytes] = {}
        """Every numbered event that anybody was sent."""
        self.endings: set[Ending] = set()
        self.forgotten = False
        """Whether a caller was told that there is no such answer."""
        self._texts: list[bytes] = []  # what each caller had when it was done
        self._snapshots: list[tuple[int, bytes]] = []

    def broken(self, what: str) -> BrokenPromise:
        """Makes the exception."""
        return BrokenPromise(f"answer {self._plan.number} ({self.name}): {what}")

    def saw(self, chunk: AnswerChunk) -> None:
        """Notes a numbered event, which is the same for everybody and for ever."""
        event = chunk.SerializeToString(deterministic=True)
        if self.events.setdefault(chunk.sequence, event) != event:
            was = AnswerChunk.FromString(self.events[chunk.sequence])
            raise self.broken(f"event {chunk.sequence} was {_differences(was, chunk)}")

    def was_shown(self, sequence: int, text: bytes) -> None:
        """Notes a snapshot of the text after an event."""
        self.check_piece(text, at=0)
        self._snapshots.append((sequence, text))

    def left(self, text: bytes, ending: Ending | None) -> None:
        """Notes what a caller had when it was done, and how the answer had ended, which is one way for all."""
        self._texts.append(text)
        if ending is not None:
            self.endings.add(ending)
        if len(self.endings) > 1:
            raise self.broken(f"ended in more than one way: {sorted(map(str, self.endings))}")

    def check_piece(self, piece: bytes, *, at: int) -> None:
        """A piece is what the assistant said at this place."""
        if not self._truth.startswith(piece, at) and not self._ends_in_a_marker(piece, at):
            raise self.broken(f"says from byte {at} what its assistant did not: {piece[:100]!r}")

    def _ends_in_a_marker(self, piece: bytes, at: int) -> bool:
        """Whether it is what was said until it broke off within a marker, which nobody can tell from text then."""
        cut_off = (
            (piece[: place - at], marker.startswith(piece[place - at :]))
            for place, marker in self._plan.markers.items()
            if at <= place < at + len(piece)
        )
        return any(begun and self._truth.startswith(text, at) for text, begun in cut_off)

    def check_whole(self, text: bytes) -> None:
        """A text that ends with STOP is all that the assistant said."""
        if text != self._truth:
            raise self.broken(f"ends with STOP after {len(text)} of {len(self._truth)} bytes")

    def check_kept(self, kept: answer_pb2.Answer) -> None:
        """What GetAnswer has of it agrees with all that was sent."""
        text = kept.text.encode()
        sent, lengths = b"", {0: 0}
        for sequence, number in enumerate(sorted(self.events), start=1):
            if number != sequence:
                raise self.broken(f"has the events {sorted(self.events)}")
            sent += AnswerChunk.FromString(self.events[number]).text.text.encode()
            lengths[number] = len(sent)
        if text != sent:
            raise self.broken(f"is kept with {len(text)} bytes of text, and {len(sent)} were sent")
        if any(snapshot != sent[: lengths[sequence]] for sequence, snapshot in self._snapshots):
            raise self.broken("was shown in a snapshot that is not what the events before it add up to")
        if any(not text.startswith(seen) for seen in self._texts):
            raise self.broken("is kept with another text than a caller had")
        if kept.HasField("text_crc32c") and kept.text_crc32c != google_crc32c.value(text):
            raise self.broken("is kept with a wrong checksum")
        if kept.last_sequence != len(self.events):
            raise self.broken(f"is kept with {kept.last_sequence} events, and {len(self.events)} were sent")
        if {Ending.of(kept)} != self.endings:
            raise self.broken(f"is kept as {Ending.of(kept)}, and was {sorted(map(str, self.endings))}")

    def check_forgotten(self) -> None:
        """Of an answer that was not kept its terminal message has said so."""
        events = [AnswerChunk.FromString(event) for event in self.events.values()]
        if any(chunk.HasField("answer") and not chunk.answer.unlogged for chunk in events):
            raise self.broken("is forgotten, and its terminal message did not say that it would be")


def info_in(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    """The ErrorInfo of a status of ours; empty where it has none."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == "headwater":
            return info
    return error_details_pb2.ErrorInfo()


def _differences(one: Message, other: Message) -> str:
    """What differs between two messages, line by line."""
    before, after = str(one).splitlines(), str(other).splitlines()
    gone, new = [line for line in before if line not in after], [line for line in after if line not in before]
    return f"{gone}, and is {new}"[:600]
