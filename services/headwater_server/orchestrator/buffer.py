"""The bounded buffer between an answer's generation and its reader.

While the reader's write is under way, what the assistant says waits here and is merged: adjacent pieces of text, or of
reasoning, become one event before they are numbered. When the reader is idle, each piece goes on at once. When the
buffer is full, the assistant waits, and through it the provider.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import anyio

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.orchestrator.transcript import Transcript

PENDING_BYTES = 64 * 1024
"""How much may wait for the reader before the assistant has to."""


class EventBuffer:
    """Takes events in order from one writer, and gives them, merged and numbered, to one reader.

    Args:
        transcript: Numbers the events, and keeps what they add up to.
    """

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._ready: list[AnswerChunk] = []
        self._pending: list[AnswerChunk] = []
        self._pending_bytes = 0
        self._failure: Exception | None = None
        self._ended = False
        self._wake_reader = anyio.Event()
        self._wake_writer = anyio.Event()

    @property
    def full(self) -> bool:
        """Whether the writer has to wait for its reader."""
        return self._pending_bytes >= PENDING_BYTES

    async def wait_for_room(self) -> None:
        """Returns when the buffer is no longer full."""
        while self.full:
            self._wake_writer = anyio.Event()
            await self._wake_writer.wait()

    def put(self, event: AnswerChunk) -> None:
        """Hands on a `text`, `reasoning` or `citation` event, not yet numbered, once the buffer is not `full`."""
        self._pending.append(event)
        self._pending_bytes += event.ByteSize()
        self._wake_reader.set()

    def put_numbered(self, chunks: Sequence[AnswerChunk]) -> None:
        """Hands on events that the transcript has numbered: those that are never merged."""
        self._ready += chunks
        self._wake_reader.set()

    def finish(self, ending: answer_pb2.Answer) -> answer_pb2.Answer:
        """Ends the answer with its terminal message, and returns that."""
        self.number_pending()
        chunk = self._transcript.add_answer(ending)
        self._ready.append(chunk)
        self._end()
        return chunk.answer

    def fail(self, failure: Exception) -> None:
        """Ends the answer with a failure, raised to the reader after all that came before."""
        if self._ended:
            return
        self._failure = failure
        try:
            self.number_pending()
        finally:
            self._end()

    async def take(self, patience: float) -> list[AnswerChunk]:
        """The next events, at least one; none if nothing came for `patience` seconds.

        Raises:
            Exception: What `fail` was given, once everything before it has been taken.
        """
        if not (self._ready or self._pending or self._ended):
            self._wake_reader = anyio.Event()
            with anyio.move_on_after(patience):
                await self._wake_reader.wait()
        self.number_pending()
        chunks, self._ready = self._ready, []
        if not chunks and self._failure is not None:
            raise self._failure
        return chunks

    def _end(self) -> None:
        self._ended = True
        self._wake_reader.set()

    def number_pending(self) -> None:
        """Merges and numbers what waits, so that the transcript is complete up to here."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        self._wake_writer.set()
        for kind, events in groupby(pending, key=_kind):
            match kind:
                case "text":
                    self._ready.append(self._transcript.add_text("".join(event.text.text for event in events)))
                case "reasoning":
                    thought = "".join(event.reasoning.text for event in events)
                    self._ready.append(self._transcript.add_reasoning(thought))
                case _:
                    citations = [self._transcript.add_citation(event.citation) for event in events]
                    self._ready += [chunk for chunk in citations if chunk is not None]


def _kind(event: AnswerChunk) -> str | None:
    return event.WhichOneof("event")
