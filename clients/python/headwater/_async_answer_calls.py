"""The asyncio calls of one answer."""

from __future__ import annotations

from headwater._async_reader import ChunkCall
from headwater._async_transport import AsyncTransport
from headwater._resuming import Deadline, resume_request
from headwater._transcript import Transcript
from headwater.v1 import answer_pb2, answer_service_pb2


class AsyncAnswerCalls:
    """The calls of one answer, in a running loop.

    Args:
        transport: The connection.
        request: What asks for it. None: it was asked for earlier, and does not stop with this handle, which may be one
            of many.
        timeout: Seconds that reading all of it may take, from the first call on. None: without limit.
    """

    def __init__(
        self,
        transport: AsyncTransport,
        request: answer_service_pb2.StreamAnswerRequest | None,
        *,
        timeout: float | None,
    ) -> None:
        self._transport = transport
        self._request = request
        self.deadline = Deadline(timeout)
        """When all of it must have ended."""
        self.request_id = "" if request is None else request.request_id
        """The UUID that the answer is asked with; empty where it is found by its name."""
        self.target = transport.target
        """The address of the server."""

    def open(self, transcript: Transcript) -> ChunkCall:
        """Starts a call that gives what the transcript lacks."""
        answers, left = self._transport.answers, self.deadline.left()
        if self._request is None or transcript.begun:
            return self._transport.open_stream(answers.ResumeAnswer, resume_request(transcript), timeout=left)
        return self._transport.open_stream(answers.StreamAnswer, self._request, timeout=left)

    async def cancel(self, request: answer_service_pb2.CancelAnswerRequest) -> answer_pb2.Answer:
        """Sends a CancelAnswer and waits for it."""
        return await self._transport.unary(self._transport.answers.CancelAnswer, request)

    def stop(self) -> None:
        """Sees to it that the server does not wait for a reader who comes back, without waiting itself.

        Also works from another thread, or with no loop running.
        """
        if self._request is not None and self._request.HasField("resume_window"):
            self._transport.stop_answer(answer_service_pb2.CancelAnswerRequest(request_id=self.request_id))
