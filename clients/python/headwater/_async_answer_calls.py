"""The asyncio calls of one answer."""

from __future__ import annotations

from headwater._async_reader import ChunkCall
from headwater._async_transport import AsyncTransport
from headwater._resuming import Deadline, resume_request
from headwater._transcript import Transcript
from headwater.v1 import answer_pb2, answer_service_pb2


class AsyncAsking:
    """The calls of an answer that this client asks for: it stops with its handle.

    Args:
        transport: The connection.
        request: The request.
        timeout: Seconds that reading the whole answer may take, from the first call on. None: without limit.
    """

    def __init__(
        self, transport: AsyncTransport, request: answer_service_pb2.StreamAnswerRequest, *, timeout: float | None
    ) -> None:
        self._transport = transport
        self._request = request
        self._timeout = timeout
        self._deadline: Deadline | None = None
        self.request_id = request.request_id
        self.target = transport.target

    def open(self, transcript: Transcript) -> ChunkCall:
        """See `AsyncAnswerCalls`."""
        self._deadline = self._deadline or Deadline(self._timeout)
        answers, left = self._transport.answers, self._deadline.left()
        if transcript.begun:
            return self._transport.open_stream(answers.ResumeAnswer, resume_request(transcript), timeout=left)
        return self._transport.open_stream(answers.StreamAnswer, self._request, timeout=left)

    async def cancel(self, request: answer_service_pb2.CancelAnswerRequest) -> answer_pb2.Answer:
        """See `AsyncAnswerCalls`."""
        return await self._transport.unary(self._transport.answers.CancelAnswer, request)

    def stop(self) -> None:
        """See `AsyncAnswerCalls`."""
        if self._request.HasField("resume_window"):
            self._transport.stop_answer(answer_service_pb2.CancelAnswerRequest(request_id=self.request_id))


class AsyncReturning:
    """The calls of an answer that was asked for earlier: it does not stop with this handle, which may be one of many.

    Args:
        transport: The connection.
        timeout: Seconds that reading the rest may take, from the first call on. None: without limit.
    """

    request_id = ""

    def __init__(self, transport: AsyncTransport, *, timeout: float | None) -> None:
        self._transport = transport
        self._timeout = timeout
        self._deadline: Deadline | None = None
        self.target = transport.target

    def open(self, transcript: Transcript) -> ChunkCall:
        """See `AsyncAnswerCalls`."""
        self._deadline = self._deadline or Deadline(self._timeout)
        return self._transport.open_stream(
            self._transport.answers.ResumeAnswer, resume_request(transcript), timeout=self._deadline.left()
        )

    async def cancel(self, request: answer_service_pb2.CancelAnswerRequest) -> answer_pb2.Answer:
        """See `AsyncAnswerCalls`."""
        return await self._transport.unary(self._transport.answers.CancelAnswer, request)

    def stop(self) -> None:
        """See `AsyncAnswerCalls`."""
