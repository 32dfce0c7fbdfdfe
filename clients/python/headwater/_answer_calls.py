"""The blocking calls of one answer."""

from __future__ import annotations

from headwater._resuming import Deadline, resume_request
from headwater._transcript import Transcript
from headwater._transport import SyncCall, Transport
from headwater.v1 import answer_pb2, answer_service_pb2


class AnswerCalls:
    """The calls of one answer.

    Args:
        transport: The connection.
        request: What asks for it. None: it was asked for earlier, and does not stop with this handle, which may be one
            of many.
        timeout: Seconds that reading all of it may take. None: without limit.
    """

    def __init__(
        self, transport: Transport, request: answer_service_pb2.StreamAnswerRequest | None, *, timeout: float | None
    ) -> None:
        self._transport = transport
        self._request = request
        self.deadline = Deadline(timeout)
        """When all of it must have ended."""
        self.request_id = "" if request is None else request.request_id
        """The UUID that the answer is asked with; empty where it is found by its name."""
        self.target = transport.target
        """The address of the server."""

    def open(self, transcript: Transcript) -> SyncCall[answer_pb2.AnswerChunk]:
        """Starts a call that gives what the transcript lacks."""
        answers, left = self._transport.answers, self.deadline.left()
        if self._request is None or transcript.begun:
            return self._transport.open_stream(answers.ResumeAnswer, resume_request(transcript), timeout=left)
        return self._transport.open_stream(answers.StreamAnswer, self._request, timeout=left)

    def cancel(self, request: answer_service_pb2.CancelAnswerRequest) -> answer_pb2.Answer:
        """Sends a CancelAnswer and waits for it."""
        return self._transport.unary(self._transport.answers.CancelAnswer, request)

    def stop(self) -> None:
        """Sees to it that the server does not wait for a reader who comes back, without waiting itself."""
        if self._request is not None and self._request.HasField("resume_window"):
            request = answer_service_pb2.CancelAnswerRequest(request_id=self.request_id)
            self._transport.send(self._transport.answers.CancelAnswer, request)
