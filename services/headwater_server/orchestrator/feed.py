"""The feed of a running answer: from its one writer to any number of readers, by way of the log.

What the assistant says waits here until a reader asks for more; then it is merged (adjacent pieces of text, or of
reasoning, become one event), numbered, logged, and only then handed out. So when a reader is idle each piece goes on at
once, and while all readers' writes are under way the next event grows. The fastest reader sets the pace: when too much
waits for it, the assistant has to, and through it the provider. A slower one reads what it missed from the log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

import anyio

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.orchestrator.answer_log.protocol import EventsLost
from headwater_server.orchestrator.journal import Journal
from headwater_server.orchestrator.transcript import Transcript

PENDING_BYTES = 64 * 1024
"""How much may wait to be numbered before the assistant has to."""

TAIL_BYTES = 128 * 1024
"""How much of what was handed out is kept in memory for readers that are a little behind; the log has the rest."""


class Feed:
    """Takes events in order from one writer, and gives them, merged, numbered and logged, to its readers.

    Args:
        transcript: Numbers the events, and keeps what they add up to.
        journal: Where they are logged.
    """

    def __init__(self, transcript: Transcript, journal: Journal) -> None:
        self._transcript = transcript
        self._journal = journal
        self._pending: list[AnswerChunk] = []  # not yet numbered
        self._pending_bytes = 0
        self._numbered: list[AnswerChunk] = []  # not yet logged
        self._tail: deque[tuple[AnswerChunk, int]] = deque()  # handed out, with their sizes
        self._tail_bytes = 0
        self._published = transcript.last_sequence  # an earlier owner's events are in the log
        self._failure: Exception | None = None
        self._ended = False
        self._flushing = False
        self._flushed = anyio.Event()
        self._waiting: set[asyncio.Future[None]] = set()
        self._wake_writer = anyio.Event()
        self._readers = 0
        self.visits = 0
        """How many readers have come so far."""

    @property
    def published(self) -> int:
        """The sequence of the last event that readers can have."""
        return self._published

    @property
    def behind(self) -> bool:
        """Whether something is numbered that readers cannot have yet; a `flush` then either waits or logs it."""
        return bool(self._numbered)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._ended

    @property
    def full(self) -> bool:
        """Whether the writer has to wait for a reader."""
        return self._pending_bytes >= PENDING_BYTES

    @property
    def buffered_bytes(self) -> int:
        """How much is kept in memory for readers."""
        numbered = sum(chunk.ByteSize() for chunk in self._numbered)
        return self._pending_bytes + numbered + self._tail_bytes + self._journal.kept_bytes

    @property
    def deserted(self) -> bool:
        """Whether nobody reads any more; before the first reader has come, one is expected."""
        return self.visits > 0 and not self._readers

    def expect_nobody(self) -> None:
        """Notes that the reader who was expected has gone before it came."""
        self.visits += 1

    @contextmanager
    def reading(self, *, left: Callable[[], None]) -> Iterator[None]:
        """Counts as a reader for as long as the context lasts; `left` is called when the last one goes."""
        self._readers += 1
        self.visits += 1
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                self._wake_writer.set()
                left()

    async def wait_for_room(self) -> None:
        """Returns when the feed is no longer full, or nobody is left to make room."""
        while self.full and not self.deserted:
            self._wake_writer = anyio.Event()
            await self._wake_writer.wait()

    def put(self, event: AnswerChunk) -> None:
        """Hands on a `text`, `reasoning` or `citation` event, not yet numbered."""
        self._pending.append(event)
        self._pending_bytes += event.ByteSize()
        self._wake_readers()

    def put_numbered(self, chunks: Sequence[AnswerChunk]) -> None:
        """Hands on events that the transcript has numbered: those that are never merged."""
        self._numbered += chunks
        self._wake_readers()

    def number_pending(self) -> None:
        """Merges and numbers what waits, so that the transcript is complete up to here."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        self._wake_writer.set()
        for kind, events in groupby(pending, key=_kind):
            match kind:
                case "text":
                    self._numbered.append(self._transcript.add_text("".join(event.text.text for event in events)))
                case "reasoning":
                    thought = "".join(event.reasoning.text for event in events)
                    self._numbered.append(self._transcript.add_reasoning(thought))
                case _:
                    citations = [self._transcript.add_citation(event.citation) for event in events]
                    self._numbered += [chunk for chunk in citations if chunk is not None]

    async def flush(self) -> None:
        """Merges, numbers, logs and hands out what waits; whoever is cancelled in it loses nothing.

        Raises:
            Fenced: The answer has another owner by now.
        """
        while self._flushing:
            await self._flushed.wait()
        if self._pending:
            self.number_pending()
        if not self._numbered:
            return
        self._flushing, self._flushed = True, anyio.Event()  # one for all who wait
        try:
            await self._journal.append(self._numbered)
        finally:
            self._flushing = False
            self._flushed.set()
            self._publish()

    async def conclude(self, ending: answer_pb2.Answer) -> answer_pb2.Answer:
        """Logs the terminal message and seals the answer, and only then hands the message out.

        The writer's alone: a reader may be cancelled in the middle of `flush`, and a seal is not begun twice.

        Args:
            ending: How the answer ends; numbered only when all that comes before it is logged.

        Returns:
            The terminal message.

        Raises:
            Fenced: The answer has another owner by now.
        """
        await self.flush()
        terminal = self._transcript.add_answer(ending)
        self._flushing, self._flushed = True, anyio.Event()  # one for all who wait
        self._numbered.append(terminal)
        try:
            await self._journal.conclude(terminal)
        finally:
            self._flushing = False
            self._flushed.set()
            self._publish()
        return terminal.answer

    def end(self, failure: Exception | None = None) -> None:
        """Ends the feed: nothing comes after what was handed out, except for the failure, raised to each reader."""
        if not self._ended:
            self._failure = failure
            self._ended = True
            self._wake_readers()

    async def take(self, after: int, patience: float) -> Sequence[AnswerChunk]:
        """The next events after a sequence, at least one; none if nothing came for `patience` seconds.

        Raises:
            Exception: What `end` was given, once everything before it has been taken.
            Fenced: The answer has another owner by now.
            AnswerLogError: What the reader missed cannot be read, or is lost.
        """
        if after >= self._published and not self._ended:
            if not (self._pending or self._numbered):
                await self._wait(patience)
            await self.flush()
        if after < self._published:
            return await self._since(after)
        if self._failure is not None:
            raise self._failure
        return []

    async def _since(self, after: int) -> Sequence[AnswerChunk]:
        missing = self._published - after
        if missing > len(self._tail):
            logged = await self._journal.read(after)
            if not logged or logged[0].sequence != after + 1:
                raise EventsLost(f"nothing is left of what follows {after}")
            return [chunk for chunk in logged if chunk.sequence <= self._published]  # the end is logged before its time
        if missing == len(self._tail):
            return [chunk for chunk, _ in self._tail]
        return [self._tail[index][0] for index in range(len(self._tail) - missing, len(self._tail))]

    def _publish(self) -> None:
        """Hands out what has been logged, which after a cancellation may be less than all."""
        if self._journal.given_up:
            self._transcript.note_unlogged()
        logged = self._journal.last_sequence
        kept = 0
        for chunk in self._numbered:
            if chunk.sequence > logged:
                break
            kept += 1
            size = chunk.ByteSize()
            self._tail.append((chunk, size))
            self._tail_bytes += size
            self._published = chunk.sequence
        del self._numbered[:kept]
        while self._tail_bytes > TAIL_BYTES and len(self._tail) > 1 and not self._journal.given_up:
            _, size = self._tail.popleft()
            self._tail_bytes -= size
        self._wake_readers()

    async def _wait(self, patience: float) -> None:
        """Waits to be woken. A bare future and timer of asyncio, because anyio's event and scope cost 10 µs a token."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.add(future)
        timer = loop.call_later(patience, _wake, future)
        try:
            await future
        finally:
            timer.cancel()
            self._waiting.discard(future)

    def _wake_readers(self) -> None:
        for future in self._waiting:
            _wake(future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _kind(event: AnswerChunk) -> str | None:
    return event.WhichOneof("event")
