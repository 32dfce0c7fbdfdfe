"""The handle of a streamed answer."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from headwater._answer_base import AnswerBase
from headwater._answer_calls import AnswerCalls
from headwater._exceptions import AnswerBusy, HeadwaterError, NotFound
from headwater._reader import Reader
from headwater._resuming import Resumption, leaves_it_running
from headwater._retrieval import RetrievalResult
from headwater.v1 import answer_pb2, answer_service_pb2

_BUSY = "another thread is reading this answer: read it in one place, or let both call .content()"


class Answer(AnswerBase):
    """A streamed answer with its sources, in two states: being read, and finished.

    There is one cursor: iteration, `chunks()` and `content()` go on where the last of them stopped. A `break` cancels
    nothing; `close()`, leaving `with`, and garbage collection (with a ResourceWarning) do. After a failure `partial`,
    `name`, `repr()` and the retrieved sources work, and everything else raises that same exception again.

    Several threads may call `content()` and `retrieved()` at the same time, which then share one read; a second thread
    that iterates while another waits for a piece gets `AnswerBusy`.

    Example:
        >>> for piece in client.answer("What does the handbook say about leave?"):  # doctest: +SKIP
        ...     print(piece, end="", flush=True)
    """

    def __init__(self, calls: AnswerCalls, *, resume: bool, name: str = "") -> None:
        super().__init__(calls.request_id, name=name)
        self._calls = calls
        resumption = Resumption(enabled=resume, deadline=calls.deadline)
        self._reader = Reader(calls.open, self._transcript, resumption=resumption, target=calls.target)
        self._turn = threading.Condition()
        self._iterating = False  # an iterator waits for a chunk
        self._sharing = 0  # how many calls of content() and retrieved() are under way
        self._reading = False  # one of those waits for a chunk

    def __iter__(self) -> Iterator[str]:
        """Iterates over the pieces of text as they come, from where the last read stopped.

        Raises:
            StreamConsumed: The answer was read to its end.
            AnswerClosed: The answer was closed.
            AnswerBusy: From `next()`: another thread is reading the answer.
            CallError: From `next()`: the answer failed.
            ProtocolError: From `next()`: the server broke the protocol.
        """
        self._check_iterable()
        return _Pieces(self._next_chunk)

    def chunks(self) -> Iterator[answer_pb2.AnswerChunk]:
        """Iterates over the `AnswerChunk` messages themselves, heartbeats included; raises as iteration does."""
        self._check_iterable()
        return _Chunks(self._next_chunk)

    def content(self) -> str:
        """The whole text: reads what is left, and keeps it.

        Raises:
            AnswerBusy: Another thread is waiting for a piece of the answer.
            AnswerClosed: The answer was closed before its end.
            CallError: The answer failed.
            ProtocolError: The server broke the protocol.
        """
        self._read_until(self._ended, hold=False)
        self._held.clear()
        return self.message.text

    def retrieved(self) -> RetrievalResult:
        """The sources found, known before the first text: reads as far as them.

        What it reads is not lost to `chunks()`.

        Raises:
            AnswerBusy: They are not known, and another thread is waiting for a piece of the answer.
            AnswerClosed: The answer was closed before they were known.
            CallError: The answer failed before they were known.
            ProtocolError: The server broke the protocol before they were known.
        """
        self._read_until(self._sources_known, hold=True)
        return self._retrieved()

    def cancel(self) -> None:
        """Stops the answer. Iteration and `content()` then end normally, with the finish reason CANCELLED.

        An answer that has ended already, or was closed, is left as it is.

        Raises:
            CallError: The server could not stop it, or the answer had failed before.
        """
        if self._error is not None:
            raise self._error
        if self._closed or self._message is not None:
            return
        if not self._transcript.name:
            try:
                self._calls.cancel(answer_service_pb2.CancelAnswerRequest(request_id=self.request_id))
            except NotFound:
                # The question may not have reached the server before this did.
                self._read_until(lambda: bool(self._transcript.name), hold=True, wait=True)
            else:
                return
        self._calls.cancel(answer_service_pb2.CancelAnswerRequest(name=self.name))

    def close(self) -> None:
        """Cancels what is still running. Later reads raise `AnswerClosed`; a finished answer keeps all it has."""
        if not self._closed:
            self._closed = True
            if self._message is None:
                self._reader.cancel()
                self._calls.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __str__(self) -> str:
        return self.content()

    def __del__(self) -> None:
        if getattr(self, "_turn", None) is None or self._closed or self._error or self._message is not None:
            return
        self._reader.cancel()
        self._calls.stop()
        warnings.warn(
            f"{self!r} was dropped before its end: read it with .content(), or close it",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )

    def _next_chunk(self) -> answer_pb2.AnswerChunk | None:
        with self._turn:
            if self._iterating or self._sharing:
                raise AnswerBusy(_BUSY)
            self._iterating = True
        try:
            self._check_open()
            if self._held:
                return self._held.popleft()
            return None if self._message is not None else self._read()
        finally:
            with self._turn:
                self._iterating = False
                self._turn.notify_all()

    def _read_until(self, reached: Callable[[], bool], *, hold: bool, wait: bool = False) -> None:
        """Reads until something is known, together with whoever else does.

        Args:
            reached: Whether it is known.
            hold: Whether to keep what is read for the cursor.
            wait: Whether to wait where an iterator is reading, instead of raising `AnswerBusy`.
        """
        with self._turn:
            if not reached() and self._iterating and not wait:
                raise AnswerBusy(_BUSY)
            self._turn.wait_for(lambda: reached() or not self._iterating)
            if reached():
                return
            self._sharing += 1
        try:
            while self._take_turn(reached):
                try:
                    chunk = self._read()
                    if hold:
                        self._held.append(chunk)
                finally:
                    with self._turn:
                        self._reading = False
                        self._turn.notify_all()
        finally:
            with self._turn:
                self._sharing -= 1

    def _take_turn(self, reached: Callable[[], bool]) -> bool:
        with self._turn:
            while not reached():
                self._check_open()
                if not self._reading:
                    self._reading = True
                    return True
                self._turn.wait()
            return False

    def _read(self) -> answer_pb2.AnswerChunk:
        try:
            chunk = self._reader.read()
        except HeadwaterError as error:
            self._store(error)
            if leaves_it_running(error):
                self._calls.stop()
            raise
        self._store(chunk)
        return chunk


class _Chunks:
    """An iterator over an answer's chunks. It owns nothing: dropping it leaves the answer as it is."""

    def __init__(self, next_chunk: Callable[[], answer_pb2.AnswerChunk | None]) -> None:
        self._next_chunk = next_chunk

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> answer_pb2.AnswerChunk:
        chunk = self._next_chunk()
        if chunk is None:
            raise StopIteration
        return chunk


class _Pieces:
    """An iterator over an answer's pieces of text. It owns nothing: dropping it leaves the answer as it is."""

    def __init__(self, next_chunk: Callable[[], answer_pb2.AnswerChunk | None]) -> None:
        self._next_chunk = next_chunk

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        while (chunk := self._next_chunk()) is not None:
            if chunk.HasField("text"):
                return chunk.text.text
        raise StopIteration
