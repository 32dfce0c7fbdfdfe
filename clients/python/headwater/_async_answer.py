"""The handle of a streamed answer, for asyncio."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Self

from headwater._answer_base import AnswerBase
from headwater._async_answer_calls import AsyncAnswerCalls
from headwater._async_reader import AsyncReader
from headwater._exceptions import AnswerBusy, AnswerNotFinished, HeadwaterError, NotFound
from headwater._resuming import Resumption, leaves_it_running
from headwater._retrieval import RetrievalResult
from headwater.v1 import answer_pb2, answer_service_pb2

_BUSY = "another task is reading this answer: read it in one place, or let both await .content()"

# A cancelled call ends at once; its task is waited for so that it does not outlive a loop that ends next.
_CLOSING_LIMIT = 1.0


class AsyncAnswer(AnswerBase):
    """A streamed answer with its sources, in two states: being read, and finished. For one event loop.

    The question is sent at the first await, iteration or `async with`. `await answer` reads to the end and returns the
    answer itself. Apart from that it is as `Answer` is: one cursor; a `break` cancels nothing; `close()`, leaving
    `async with`, and garbage collection (with a ResourceWarning) do; after a failure `partial`, `name`, `repr()` and
    the retrieved sources work, and everything else raises that same exception again. A waiter that is cancelled loses
    nothing, and stops nothing.

    Example:
        >>> async for piece in client.answer("What does the handbook say about leave?"):  # doctest: +SKIP
        ...     print(piece, end="", flush=True)
    """

    def __init__(self, calls: AsyncAnswerCalls, *, resume: bool, name: str = "") -> None:
        super().__init__(calls.request_id, name=name)
        self._calls = calls
        self._resume = resume
        self._reader: AsyncReader | None = None
        self._read_task: asyncio.Task[answer_pb2.AnswerChunk | HeadwaterError] | None = None
        self._iterating = False  # an iterator waits for a chunk
        self._sharing = 0  # how many calls of content() and retrieved() are under way

    def __await__(self) -> Generator[Any, None, Self]:
        return self._finish().__await__()

    def __aiter__(self) -> AsyncIterator[str]:
        """Iterates over the pieces of text as they come, from where the last read stopped.

        Raises:
            StreamConsumed: The answer was read to its end.
            AnswerClosed: The answer was closed.
            AnswerBusy: From `anext()`: another task is reading the answer.
            CallError: From `anext()`: the answer failed.
            ProtocolError: From `anext()`: the server broke the protocol.
        """
        self._check_iterable()
        return _Pieces(self._next_chunk)

    def chunks(self) -> AsyncIterator[answer_pb2.AnswerChunk]:
        """Iterates over the `AnswerChunk` messages themselves, heartbeats included; raises as iteration does."""
        self._check_iterable()
        return _Chunks(self._next_chunk)

    async def content(self) -> str:
        """The whole text: reads what is left, and keeps it.

        Raises:
            AnswerBusy: Another task is waiting for a piece of the answer.
            AnswerClosed: The answer was closed before its end.
            CallError: The answer failed.
            ProtocolError: The server broke the protocol.
        """
        await self._read_until(self._ended, hold=False)
        self._held.clear()
        return self.message.text

    async def retrieved(self) -> RetrievalResult:
        """The sources found, known before the first text: reads as far as them.

        What it reads is not lost to `chunks()`.

        Raises:
            AnswerBusy: They are not known, and another task is waiting for a piece of the answer.
            AnswerClosed: The answer was closed before they were known.
            CallError: The answer failed before they were known.
            ProtocolError: The server broke the protocol before they were known.
        """
        await self._read_until(self._sources_known, hold=True)
        return self._retrieved()

    async def cancel(self) -> None:
        """Stops the answer. Iteration and `content()` then end normally, with the finish reason CANCELLED.

        An answer that has ended already, or was closed, is left as it is; one that was not begun is closed.

        Raises:
            CallError: The server could not stop it, or the answer had failed before.
        """
        if self._error is not None:
            raise self._error
        if self._reader is None:
            await self.close()
        if self._closed or self._message is not None:
            return
        if not self._transcript.name:
            try:
                await self._calls.cancel(answer_service_pb2.CancelAnswerRequest(request_id=self.request_id))
            except NotFound:
                # The question may not have reached the server before this did.
                await self._wait_for_name()
            else:
                return
        await self._calls.cancel(answer_service_pb2.CancelAnswerRequest(name=self.name))

    async def close(self) -> None:
        """Cancels what is still running. Later reads raise `AnswerClosed`; a finished answer keeps all it has."""
        if not self._closed:
            self._closed = True
            if self._reader is not None and self._message is None:
                self._reader.cancel()
                self._calls.stop()
                if self._read_task is not None:
                    await asyncio.wait([self._read_task], timeout=_CLOSING_LIMIT)

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __str__(self) -> str:
        if self._message is None:
            self._check_open()
            raise AnswerNotFinished("the answer has not been read to its end: `await answer.content()` gives its text")
        return self._message.text

    def __del__(self) -> None:
        reader: AsyncReader | None = getattr(self, "_reader", None)
        if reader is None or self._closed or self._error or self._message is not None:
            return
        reader.cancel()
        self._calls.stop()
        warnings.warn(
            f"{self!r} was dropped before its end: read it with `await answer.content()`, or close it",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )

    async def _finish(self) -> Self:
        await self.content()
        return self

    def _start(self) -> AsyncReader:
        self._check_open()
        if self._reader is None:
            self._reader = AsyncReader(
                self._calls.open,
                self._transcript,
                resumption=Resumption(enabled=self._resume, deadline=self._calls.deadline),
                target=self._calls.target,
            )
        return self._reader

    async def _next_chunk(self) -> answer_pb2.AnswerChunk | None:
        if self._iterating or self._sharing:
            raise AnswerBusy(_BUSY)
        self._iterating = True
        try:
            self._check_open()
            if self._held:
                return self._held.popleft()
            while self._message is None:
                if (chunk := await self._read()) is not None:
                    return chunk
            return None
        finally:
            self._iterating = False

    async def _read_until(self, reached: Callable[[], bool], *, hold: bool) -> None:
        if reached():
            return
        if self._iterating:
            raise AnswerBusy(_BUSY)
        self._sharing += 1
        try:
            while not reached():
                chunk = await self._read()
                if hold and chunk is not None:
                    self._held.append(chunk)
        finally:
            self._sharing -= 1

    async def _wait_for_name(self) -> None:
        while not self._transcript.name:
            if self._iterating and self._read_task is not None:
                await asyncio.wait([self._read_task])
                await asyncio.sleep(0)
            else:
                await self._read_until(lambda: bool(self._transcript.name), hold=True)

    async def _read(self) -> answer_pb2.AnswerChunk | None:
        """Waits for the read under way, or for a new one; returns None where another waiter has taken its chunk."""
        reader = self._start()
        if self._read_task is None:
            self._read_task = asyncio.create_task(reader.read(), name=f"headwater answer {self.request_id}")
        task = self._read_task
        await _done(task)
        if self._read_task is not task:
            self._check_open()
            return None
        self._read_task = None
        outcome = task.result()
        self._store(outcome)
        if isinstance(outcome, HeadwaterError):
            if leaves_it_running(outcome):
                self._calls.stop()
            raise outcome
        return outcome


async def _done(task: asyncio.Task[Any]) -> None:
    """Waits for a task and leaves it alone if the waiter is cancelled, as asyncio.shield does.

    But it leaves nothing behind with the task: what shield leaves holds the waiter's frames, and with them the answer.
    """
    if task.done():
        return
    waiter: asyncio.Future[None] = task.get_loop().create_future()

    def wake(_: asyncio.Task[Any]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        task.remove_done_callback(wake)


class _Chunks:
    """An iterator over an answer's chunks. It owns nothing: dropping it leaves the answer as it is."""

    def __init__(self, next_chunk: Callable[[], Awaitable[answer_pb2.AnswerChunk | None]]) -> None:
        self._next_chunk = next_chunk

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> answer_pb2.AnswerChunk:
        chunk = await self._next_chunk()
        if chunk is None:
            raise StopAsyncIteration
        return chunk


class _Pieces:
    """An iterator over an answer's pieces of text. It owns nothing: dropping it leaves the answer as it is."""

    def __init__(self, next_chunk: Callable[[], Awaitable[answer_pb2.AnswerChunk | None]]) -> None:
        self._next_chunk = next_chunk

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while (chunk := await self._next_chunk()) is not None:
            if chunk.HasField("text"):
                return chunk.text.text
        raise StopAsyncIteration
