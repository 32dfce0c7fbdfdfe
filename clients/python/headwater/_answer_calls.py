"""The blocking calls of one answer."""

from __future__ import annotations

from headwater._resuming import Deadline, resume_request
from headwater._transcript import Transcript
from headwater._transport import SyncCall, Transport
from headwater.v1 import answer_pb2, answer_service_pb2


class Asking:
    """The calls of an answer that this client asks for: it stops with its handle.

    Args:
        transport: The connection.
        request: The request.
        timeout: Seconds that reading the whole answer may take. None: without limit.
    """

    def __init__(
        self, transport: Transport, request: answer_service_pb2.StreamAnswerRequest, *, timeout: float | None
    ) -> None:
        self._transport = transport
        self._request = request
        self._deadline = Deadline(timeout)
        self.request_id = request.request_id
        self.target = transport.target

    def open(self, transcript: Transcript) -> SyncCall[answer_pb2.AnswerChunk]:
        """See `AnswerCalls`."""
        answers, left = self._transport.answers, self._deadline.left()
        if transcript.begun:
            return self._transport.open_stream(answers.ResumeAnswer, resume_request(transcript), timeout=left)
        return self._transport.open_stream(answers.StreamAnswer, self._request, timeout=left)

    def cancel(self, request: answer_service_pb2.CancelAnswerRequest) -> answer_pb2.Answer:
        """See `AnswerCalls`."""
        return self._transport.unary(self._transport.answers.CancelAnswer, request)

    def stop(self) -> None:
        """See `AnswerCalls`."""
        if self._request.HasField("resume_window"):
            request = answer_service_pb2.CancelAnswerRequest(request_id=self.request_id)
            self._transport.send(self._transport.answers.CancelAnswer, request)


class Returning:
    """The calls of an answer that was asked for earlier: it does not stop with this handle, which may be one of many.

    Args:
        transport: The connection.
        timeout: Seconds that reading the rest may take. None: without limit.
    """

    request_id = ""

    def __init__(self, transport: Transport, *, timeout: float | None) -> None:
        self._transport = transport
        self._deadline = Deadline(timeout)
        self.target = transport.target

    def open(self, transcript: Transcript) -> SyncCall[answer_pb2.AnswerChunk]:
        """See `AnswerCalls`."""
        return self._transport.open_stream(
            self._transport.answers.ResumeAnswer, resume_request(transcript), timeout=self._deadline.left()
        )

    def cancel(self, request: answer_service_pb2.CancelAnswerRequest) -> answer_pb2.Answer:
        """See `AnswerCalls`."""
        return self._transport.unary(self._transport.answers.CancelAnswer, request)

    def stop(self) -> None:
        """See `AnswerCalls`."""
