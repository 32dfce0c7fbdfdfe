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
from itertools import islice

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

_KEPT_BYTES = 48
"""What an event that is kept costs beyond its bytes. As a message it would cost 850."""

_PARTS = 64
"""How many pieces of a text may wait apart: each costs some 50 bytes beyond its text."""


class Feed:
    """Takes events in order from one writer, and gives them, merged, numbered and logged, to its readers.

    Args:
        transcript: Numbers the events, and keeps what they add up to.
        journal: Where they are logged.
    """

    def __init__(self, transcript: Transcript, journal: Journal) -> None:
        self._transcript = transcript
        self._journal = journal
        self._pending: list[_Speech | answer_pb2.Citation] = []  # not yet numbered
        self._pending_bytes = 0
        self._numbered: list[AnswerChunk] = []  # not yet logged
        self._fresh: list[AnswerChunk] = []  # handed out last
        self._tail: deque[bytes] = deque()  # handed out, the last ones included
        self._tail_bytes = 0
        self._published = transcript.last_sequence  # an earlier owner's events are in the log
        self._failure: Exception | None = None
        self._ended = False
        self._flushing = False
        self._flushed: anyio.Event | None = None  # while somebody waits for that
        self._waiting: dict[asyncio.Future[None], float] = {}  # readers, and until when they wait
        self._timer: asyncio.TimerHandle | None = None  # one for all readers and all their waits
        self._wake_writer: anyio.Event | None = None  # while it waits
        self._readers = 0
        self.visits = 0
        """How many readers have come so far."""

    @property
    def published(self) -> int:
        """The sequence of the last event that readers can have."""
        return self._published

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
        numbered = sum([chunk.ByteSize() for chunk in self._numbered]) if self._numbered else 0
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
                self._drop_timer()
                self._room_made()
                left()

    async def wait_for_room(self) -> None:
        """Returns when the feed is no longer full, or nobody is left to make room."""
        while self.full and not self.deserted:
            self._wake_writer = anyio.Event()
            await self._wake_writer.wait()
            self._wake_writer = None

    def put(self, event: AnswerChunk) -> None:
        """Hands on a `text`, `reasoning` or `citation` event, not yet numbered."""
        kind = event.WhichOneof("event")
        self._pending_bytes += event.ByteSize()
        if kind == "citation":
            self._pending.append(event.citation)
        elif kind == "text":
            if event.text.assistant:
                self._transcript.note_speaker(event.text.assistant)
            self._put_speech(event.text.text, aloud=True)
        else:
            self._put_speech(event.reasoning.text, aloud=False)
        self._wake_readers()

    def _put_speech(self, text: str, *, aloud: bool) -> None:
        last = self._pending[-1] if self._pending else None
        if isinstance(last, _Speech) and last.aloud == aloud:
            last.add(text)
        else:
            self._pending.append(_Speech(text, aloud=aloud))

    def put_numbered(self, chunks: Sequence[AnswerChunk]) -> None:
        """Hands on events that the transcript has numbered: those that are never merged."""
        self._numbered += chunks
        self._wake_readers()

    def number_pending(self) -> None:
        """Merges and numbers what waits, so that the transcript is complete up to here."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        self._room_made()
        for item in pending:
            if not isinstance(item, _Speech):
                citation = self._transcript.add_citation(item)
                if citation is not None:
                    self._numbered.append(citation)
            elif item.aloud:
                self._numbered.append(self._transcript.add_text(item.text))
            else:
                self._numbered.append(self._transcript.add_reasoning(item.text))

    async def flush(self) -> None:
        """Merges, numbers, logs and hands out what waits; whoever is cancelled in it loses nothing.

        Raises:
            Fenced: The answer has another owner by now.
        """
        while self._flushing:
            if self._flushed is None:
                self._flushed = anyio.Event()
            await self._flushed.wait()
        if self._pending:
            self.number_pending()
        if not self._numbered:
            return
        self._flushing = True
        try:
            await self._journal.append(self._numbered)
        finally:
            self._end_flushing()

    async def flush_all(self) -> None:
        """Flushes until readers can have all that is numbered.

        Raises:
            Fenced: The answer has another owner by now.
        """
        await self.flush()
        while self._numbered:  # more was numbered while that was logged
            await self.flush()

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
        self._flushing = True
        self._numbered.append(terminal)
        try:
            await self._journal.conclude(terminal)
        finally:
            self._end_flushing()
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
        if missing == len(self._fresh):
            return self._fresh
        if missing > len(self._tail):
            logged = await self._journal.read(after)
            if not logged or logged[0].sequence != after + 1:
                raise EventsLost(f"nothing is left of what follows {after}")
            return [chunk for chunk in logged if chunk.sequence <= self._published]  # the end is logged before its time
        return [AnswerChunk.FromString(event) for event in islice(self._tail, len(self._tail) - missing, None)]

    def _publish(self) -> None:
        """Hands out what has been logged, which after a cancellation may be less than all."""
        if self._journal.given_up:
            self._transcript.note_unlogged()
        logged = self._journal.last_sequence
        fresh, behind = self._numbered, []
        if fresh and fresh[-1].sequence > logged:
            fresh = [chunk for chunk in self._numbered if chunk.sequence <= logged]
            behind = self._numbered[len(fresh) :]
        self._numbered = behind
        if fresh:
            self._fresh = fresh
            self._published = fresh[-1].sequence
        for chunk in fresh:
            event = chunk.SerializeToString()
            self._tail.append(event)
            self._tail_bytes += len(event) + _KEPT_BYTES
        while self._tail_bytes > TAIL_BYTES and len(self._tail) > 1 and not self._journal.given_up:
            self._tail_bytes -= len(self._tail.popleft()) + _KEPT_BYTES
        self._wake_readers()

    def _end_flushing(self) -> None:
        self._flushing = False
        if self._flushed is not None:  # the one for all who wait
            self._flushed.set()
            self._flushed = None
        self._publish()

    def _room_made(self) -> None:
        if self._wake_writer is not None:
            self._wake_writer.set()

    async def _wait(self, patience: float) -> None:
        """Waits to be woken, for some seconds at most.

        A bare future of asyncio, because anyio's event and scope cost 10 µs a token; and one timer that is set anew
        only when it has gone off, because a timer for each token costs 2.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        due = loop.time() + patience
        self._waiting[future] = due
        if self._timer is None or due < self._timer.when():
            self._drop_timer()
            self._timer = loop.call_at(due, self._look)
        try:
            await future
        finally:
            del self._waiting[future]

    def _look(self) -> None:
        """Wakes those who have waited for long enough, and comes back for the others."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for future, due in self._waiting.items():
            if due <= now:
                _wake(future)
        later = [due for due in self._waiting.values() if due > now]
        if later:
            self._timer = loop.call_at(min(later), self._look)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake_readers(self) -> None:
        for future in self._waiting:
            _wake(future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Speech:
    """Adjacent pieces of text, or of reasoning, which will be one event. As messages they would cost 850 bytes each."""

    __slots__ = ("_parts", "aloud")

    def __init__(self, text: str, *, aloud: bool) -> None:
        self._parts = [text]
        self.aloud = aloud
        """Whether it is text, and not reasoning."""

    def add(self, text: str) -> None:
        """Adds a piece."""
        if len(self._parts) >= _PARTS:
            self._parts = ["".join(self._parts)]
        self._parts.append(text)

    @property
    def text(self) -> str:
        """All of it."""
        return self._parts[0] if len(self._parts) == 1 else "".join(self._parts)
