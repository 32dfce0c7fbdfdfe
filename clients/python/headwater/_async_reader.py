"""Reads the chunks of one answer from an asyncio call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import grpc.aio

from headwater._exceptions import AnswerClosed, HeadwaterError
from headwater._reading import STATUS_LIMIT, Arrival, Unreadable, status_is_late, take_chunk, take_end
from headwater._resuming import Resumption
from headwater._status import read_failure
from headwater._transcript import Transcript
from headwater.v1 import answer_pb2

ChunkCall = grpc.aio.UnaryStreamCall[Any, answer_pb2.AnswerChunk]
"""A StreamAnswer, or a ResumeAnswer."""


class AsyncReader:
    """Gives the verified chunks of one answer, one at a time.

    `read` is run in a task of its own, never in the task of whoever waits for the chunk: grpcio cancels a call whose
    reader is cancelled, and a cancelled waiter must lose nothing. Where the connection breaks, it goes on over another
    call, as `resumption` says.

    Args:
        open_call: Starts a call that gives what the transcript lacks.
        transcript: What has come so far.
        resumption: When to go on after a failure.
        target: The address of the server.
    """

    def __init__(
        self,
        open_call: Callable[[Transcript], ChunkCall],
        transcript: Transcript,
        *,
        resumption: Resumption,
        target: str,
    ) -> None:
        self._open_call = open_call
        self._call = open_call(transcript)
        self._transcript = transcript
        self._resumption = resumption
        self._target = target
        self._cancelled = False
        self._pausing: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    async def read(self) -> answer_pb2.AnswerChunk | HeadwaterError:
        """Waits for the next chunk, and returns it or the exception to raise.

        Returns, because nobody may be there to retrieve a raised one. The terminal chunk is returned once the
        call has ended with OK after it.
        """
        while True:
            try:
                chunk = take_chunk(await self._take(), self._transcript, target=self._target)
                if self._transcript.final is not None:
                    await self._read_end()
            except HeadwaterError as error:
                self._call.cancel()
                if (final := await self._go_on_after(error)) is not None:
                    return final
            else:
                self._resumption.progressed()
                return chunk

    def cancel(self) -> None:
        """Cancels the call. Also works from another thread, or with no loop running, as garbage collection needs it."""
        self._cancelled = True
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the call with it
            if _running_loop() is self._loop:
                self._cancel_call()
            else:
                self._loop.call_soon_threadsafe(self._cancel_call)

    def _cancel_call(self) -> None:
        self._call.cancel()
        if self._pausing is not None:
            self._pausing.cancel()

    async def _go_on_after(self, error: HeadwaterError) -> HeadwaterError | None:
        """Opens another call, or returns what is final."""
        if self._cancelled:
            return error
        try:
            pause = self._resumption.pause_after(error, begun=self._transcript.begun)
        except HeadwaterError as final:
            return final
        if not await self._pause(pause):
            return AnswerClosed("the answer was closed while it was being read")
        try:
            self._resumption.require_time()
            self._call = self._open_call(self._transcript)
        except HeadwaterError as final:  # there is no time left, or the client was closed
            return final
        self._transcript.resumed()
        return None

    async def _pause(self, seconds: float) -> bool:
        """Waits, in a task of its own, so that `cancel` can end that and not its reader; returns whether to go on."""
        if seconds:
            self._pausing = asyncio.create_task(asyncio.sleep(seconds), name="headwater pause")
            await asyncio.wait([self._pausing])
            self._pausing = None
        return not self._cancelled

    async def _take(self) -> Arrival:
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            return read_failure(error)
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            raise AnswerClosed("the answer was closed while it was being read") from None
        if isinstance(message, answer_pb2.AnswerChunk):
            return message
        return None if message is grpc.aio.EOF else Unreadable()

    async def _read_end(self) -> None:
        try:
            async with asyncio.timeout(STATUS_LIMIT):
                arrival = await self._take()
        except TimeoutError:
            raise status_is_late(self._transcript) from None
        take_end(arrival, self._transcript)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
