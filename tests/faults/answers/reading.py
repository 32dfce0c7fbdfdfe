"""One caller's view of an answer: the rules of the stream, over as many calls as it takes."""

from __future__ import annotations

from collections.abc import Mapping

import google_crc32c

from headwater.v1.answer_pb2 import Answer, AnswerChunk
from tests.faults.answers.life import Ending, Life
from tests.faults.answers.model import AnswerModel

_STAGES = {"started": 0, "retrieved": 1, "text": 2, "reasoning": 2, "citation": 2, "answer": 3}


class View:
    """What one caller has of an answer. It shares no code with the client.

    Args:
        model: All that is known of the answer.
    """

    def __init__(self, model: AnswerModel) -> None:
        self._model = model
        self._life: Life | None = None
        self._stage = -1
        self._sources_known = False
        self.last_sequence = 0
        self.text = b""
        self.ending: Ending | None = None

    @property
    def name(self) -> str:
        """The answer's name; empty before it has begun."""
        return self._life.name if self._life is not None else ""

    def take(self, chunk: AnswerChunk) -> None:
        """Notes a message, which follows those before it."""
        kind = chunk.WhichOneof("event")
        if self.ending is not None:
            raise self._model.broken(f"{kind} came after the end")
        if kind == "started" and self._life is None:
            self._life = self._model.life(chunk.started.answer)
        if self._life is None:
            raise self._model.broken(f"{kind} came first")
        if kind == "heartbeat":
            if chunk.sequence != self.last_sequence:
                raise self._life.broken(f"a heartbeat says {chunk.sequence} after {self.last_sequence}")
            return
        if chunk.sequence != self.last_sequence + 1:
            raise self._life.broken(f"event {chunk.sequence} came after {self.last_sequence}")
        if kind not in _STAGES or not self._stage <= _STAGES[kind] or (self._stage < 0) != (kind == "started"):
            raise self._life.broken(f"{kind} is out of order")
        if _STAGES[kind] == 2 and not self._sources_known:
            raise self._life.broken(f"{kind} came before the sources")
        self._stage = _STAGES[kind]
        self.last_sequence = chunk.sequence
        self._life.saw(chunk)
        self._accept(kind, chunk, self._life)

    def _accept(self, kind: str, chunk: AnswerChunk, life: Life) -> None:
        match kind:
            case "retrieved":
                self._sources_known = chunk.retrieved.HasField("statistics")
            case "text":
                if chunk.text.offset_bytes != len(self.text) or not chunk.text.text:
                    raise life.broken(f"text for byte {chunk.text.offset_bytes} came after {len(self.text)}")
                piece = chunk.text.text.encode()
                life.check_piece(piece, at=len(self.text))
                self.text += piece
            case "citation":
                if not 0 <= chunk.citation.start_byte < chunk.citation.end_byte <= len(self.text):
                    raise life.broken("a citation is of text that has not come")
            case "answer":
                self._finish(chunk.answer, life)

    def _finish(self, answer: Answer, life: Life) -> None:
        if answer.text.encode() != self.text or answer.text_crc32c != google_crc32c.value(self.text):
            raise life.broken("the terminal message has another text, or checksum, than came before it")
        if answer.last_sequence != self.last_sequence or answer.name != life.name:
            raise life.broken("the terminal message has another name or sequence")
        self.ending = Ending.of(answer)
        if self.ending.state not in {"SUCCEEDED", "CANCELLED"}:
            raise life.broken(f"the terminal message is {self.ending}")
        if self.ending.why == "STOP":
            life.check_whole(self.text)

    def adopt(self, chunk: AnswerChunk) -> None:
        """Notes a snapshot, from which it goes on."""
        snapshot, life = chunk.snapshot, self._model.life(chunk.snapshot.name)
        text = snapshot.text.encode()
        if self._life not in {None, life}:
            raise life.broken(f"came in a snapshot in the place of {self.name}")
        if not text.startswith(self.text) or chunk.sequence < self.last_sequence:
            raise life.broken("a snapshot goes back behind what the caller has")
        if snapshot.text_crc32c != google_crc32c.value(text) or snapshot.last_sequence != chunk.sequence:
            raise life.broken("a snapshot has a wrong checksum, or sequence")
        life.was_shown(chunk.sequence, text)
        self._life, self.text, self.last_sequence = life, text, chunk.sequence
        self._stage, self._sources_known = max(self._stage, 1), True
        if chunk.sequence < 2:  # the answer had only begun
            self._stage, self._sources_known = chunk.sequence - 1, False

    def failed(self, reason: str, metadata: Mapping[str, str]) -> None:
        """Notes a failure of the answer's own, which names it."""
        name = metadata.get("answer") or self.name
        if not name or (self.name and name != self.name):
            raise self._model.broken(f"{reason} does not say which answer it is of, but {name!r}")
        self._life = self._model.life(name)
        self.ending = Ending("FAILED", reason)

    def forgotten(self, name: str) -> None:
        """Notes that the server does not know the answer."""
        self._model.life(name).forgotten = True

    def leave(self) -> None:
        """Notes that the caller is done."""
        if self._life is not None:
            self._life.left(self.text, self.ending)
