"""Reads the chunks of one answer from an asyncio call."""

from __future__ import annotations

import asyncio
import contextlib

import grpc.aio

from headwater._exceptions import AnswerClosed, HeadwaterError
from headwater._reading import STATUS_LIMIT, Arrival, Unreadable, status_is_late, take_chunk, take_end
from headwater._status import read_failure
from headwater._transcript import Transcript
from headwater.v1 import answer_pb2, answer_service_pb2

ChunkCall = grpc.aio.UnaryStreamCall[answer_service_pb2.StreamAnswerRequest, answer_pb2.AnswerChunk]


class AsyncReader:
    """Gives the verified chunks of one answer, one at a time.

    `read` is run in a task of its own, never in the task of whoever waits for the chunk: grpcio cancels a call whose
    reader is
    cancelled, and a cancelled waiter must lose nothing.
    """

    def __init__(self, call: ChunkCall, transcript: Transcript, *, target: str) -> None:
        self._call = call
        self._transcript = transcript
        self._target = target
        self._cancelled = False
        self._loop = asyncio.get_running_loop()

    async def read(self) -> answer_pb2.AnswerChunk | HeadwaterError:
        """Waits for the next chunk, and returns it or the exception to raise.

        Returns, because nobody may be there to retrieve a raised one. The terminal chunk is returned once the
        call has ended with OK after it.
        """
        try:
            chunk = take_chunk(await self._take(), self._transcript, target=self._target)
            if self._transcript.final is not None:
                await self._read_end()
        except HeadwaterError as error:
            self._call.cancel()
            return error
        return chunk

    def cancel(self) -> None:
        """Cancels the call. Also works from another thread, or with no loop running, as garbage collection needs it."""
        self._cancelled = True
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the call with it
            if _running_loop() is self._loop:
                self._call.cancel()
            else:
                self._loop.call_soon_threadsafe(self._call.cancel)

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
