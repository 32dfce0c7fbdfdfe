"""What an answer's handle knows without reading; shared by `Answer` and `AsyncAnswer`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from headwater._enums import AbstainReason, FinishReason
from headwater._exceptions import AnswerClosed, AnswerNotFinished, HeadwaterError, StreamConsumed
from headwater._retrieval import RetrievalResult
from headwater._transcript import Transcript
from headwater.v1 import answer_pb2, source_pb2


class AnswerBase:
    """The attributes of an answer's handle. None of them reads: too early they raise `AnswerNotFinished`.

    Attributes:
        request_id: The UUID that the answer was asked with. Empty where it was found by its name.
    """

    def __init__(self, request_id: str, *, name: str) -> None:
        self.request_id = request_id
        self._transcript = Transcript(request_id, name=name)
        self._held: deque[answer_pb2.AnswerChunk] = deque()  # read by retrieved(), not yet given by the cursor
        self._message: answer_pb2.Answer | None = None
        self._error: HeadwaterError | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """The answer's name, `answers/{answer}`, known from the first chunk on."""
        if self._transcript.name:
            return self._transcript.name
        self._check_open()
        raise AnswerNotFinished("the server has not named the answer yet: read its first piece, or .content()")

    @property
    def partial(self) -> str:
        """The text read so far. Always there."""
        return self._transcript.text

    @property
    def message(self) -> answer_pb2.Answer:
        """The terminal message of the stream: the whole answer as protobuf."""
        if self._message is None:
            self._check_open()
            raise AnswerNotFinished("the answer has not been read to its end: read on, or call .content()")
        return self._message

    @property
    def sources(self) -> Sequence[source_pb2.Source]:
        """All sources, in order of rank, each with what became of it."""
        return self.message.sources

    @property
    def citations(self) -> Sequence[answer_pb2.Citation]:
        """The citations. Their offsets are bytes; `citation_span` makes indices into the text of them."""
        return self.message.citations

    @property
    def usage(self) -> answer_pb2.Usage | None:
        """What the answer cost in tokens. None if nothing is known."""
        return self.message.usage if self.message.HasField("usage") else None

    @property
    def timings(self) -> answer_pb2.Timings:
        """How long the parts of the answer took, and how often it had to be gone on with (`continuations`)."""
        return self.message.timings

    @property
    def finish_reason(self) -> FinishReason:
        """Why the text ends where it ends."""
        return FinishReason(self.message.finish_reason)

    @property
    def abstain_reason(self) -> AbstainReason | None:
        """Why the assistant abstained. None if it did not."""
        return AbstainReason(self.message.abstain_reason) if self.message.abstain_reason else None

    @property
    def assistant(self) -> str:
        """The assistant that answered, `assistants/{provider}/{model}`."""
        return self.message.assistant

    @property
    def model_version(self) -> str:
        """What the provider calls the model that answered. Empty if it does not say."""
        return self.message.model_version

    @property
    def unlogged(self) -> bool:
        """Whether the server had no room to keep the answer, which can then be neither resumed nor fetched later.

        Known from the first chunk on; until the end, False can still become True.
        """
        if self._message is None:
            self._check_open()
            if not self._transcript.begun:
                raise AnswerNotFinished("the server has not begun the answer yet: read its first piece, or .content()")
        return self._transcript.unlogged

    @property
    def unknown_events(self) -> int:
        """How many events have come that this version of the client does not know."""
        return self._transcript.unknown_events

    def __repr__(self) -> str:
        name = self._transcript.name or self.request_id
        return f"<{type(self).__name__} {name} [{self._phase()}] {len(self._transcript.text)} characters>"

    def _phase(self) -> str:
        if self._error is not None:
            return f"failed: {type(self._error).__name__}"
        if self._message is not None:
            return FinishReason(self._message.finish_reason).name
        if self._closed:
            return "closed"
        return "running" if self._transcript.begun else "not begun"

    def _check_open(self) -> None:
        """Raises what every use of a failed or closed answer raises."""
        if self._error is not None:
            raise self._error
        if self._closed and self._message is None:
            raise AnswerClosed(
                f"{self._transcript.name or 'the answer'} was closed before its end; .partial has what had come"
            )

    def _check_iterable(self) -> None:
        self._check_open()
        if self._message is not None and not self._held:
            raise StreamConsumed("the answer was read to its end: .content() has the whole text, again and again")

    def _sources_known(self) -> bool:
        return self._transcript.statistics is not None or self._message is not None

    def _retrieved(self) -> RetrievalResult:
        statistics = self._transcript.statistics or source_pb2.RetrievalStatistics()
        return RetrievalResult(self._transcript.sources, statistics)

    def _ended(self) -> bool:
        return self._message is not None

    def _store(self, outcome: answer_pb2.AnswerChunk | HeadwaterError) -> None:
        """Keeps what a read has brought, if it is the end."""
        if isinstance(outcome, HeadwaterError):
            if not isinstance(outcome, AnswerClosed):
                self._error = outcome
        elif outcome.HasField("answer"):
            self._message = outcome.answer
