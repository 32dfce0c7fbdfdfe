"""Asking an assistant, and asking it to go on from what it has said, where that was broken off."""

from __future__ import annotations

from contextlib import aclosing

from headwater.v1 import answer_pb2
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.assistant_service_pb2 import AnswerPrefix, StreamGenerateRequest
from headwater_server.errors import Reason, ServiceError
from headwater_server.interfaces import Assistants, Caller
from headwater_server.orchestrator.failures import owner_lost
from headwater_server.orchestrator.feed import Feed
from headwater_server.orchestrator.relay import Relay
from headwater_server.orchestrator.transcript import Transcript
from headwater_server.orchestrator.trying import Tries, is_passing

_REFUSALS = frozenset(
    {
        Reason.CONTEXT_TOO_LARGE,
        Reason.INVALID_FIELD,
        Reason.PROVIDER_PROTOCOL,
        Reason.PROVIDER_REJECTED,
        Reason.RESOURCE_NOT_FOUND,
    }
)
"""How an assistant refuses to go on, if it has said nothing more: by the field `prefix`, or because its provider, or
what is left of its settings, knows no way."""


class Asking:
    """Asks an assistant for one answer.

    A connection that breaks without an error of the assistant's own is no end. Where nothing was said yet, the
    assistant is asked anew; where there is text, it is asked to go on from there, and says whether it can. Where there
    is reasoning it is not asked again: a model that goes on from its text would think once more, and differently, and
    nothing in a request could stop that. The same holds for an answer whose owner died.

    Args:
        request: What was asked of us.
        caller: Who asked.
        assistant: The name of the assistant.
        transcript: The answer up to here; it has its sources.
        feed: Where what was said waits to be numbered.
        relay: Hands on what is said.
        assistants: The assistant service.
        taken_over: Whether an earlier owner may have asked already.
    """

    def __init__(
        self,
        request: StreamAnswerRequest,
        caller: Caller,
        *,
        assistant: str,
        transcript: Transcript,
        feed: Feed,
        relay: Relay,
        assistants: Assistants,
        taken_over: bool,
    ) -> None:
        self._request = request
        self._caller = caller
        self._assistant = assistant
        self._transcript = transcript
        self._feed = feed
        self._relay = relay
        self._assistants = assistants
        self._asked_before = taken_over
        self._broken: ServiceError | None = None

    async def ending(self) -> answer_pb2.Answer | None:
        """Relays what the assistant says; returns how that ended, or None where the text has no more room.

        Raises:
            ServiceError: The assistant failed; where an earlier owner had died and the assistant does not go on,
                OWNER_LOST.
        """
        tries = Tries()
        while True:
            heard = self._transcript.last_sequence
            try:
                return self._honest(await self._ask())
            except ServiceError as error:
                self._feed.number_pending()
                came_forward = self._transcript.last_sequence > heard
                if came_forward:
                    tries.start_again()
                elif self._transcript.spoken and error.reason in _REFUSALS:
                    raise (self._broken or owner_lost(self._transcript.name)) from error
                if not is_passing(error, begun=self._asked_before) or self._transcript.reasoned:
                    raise
                self._broken = error
                self._asked_before = True
                await tries.another(error)

    async def _ask(self) -> answer_pb2.Answer | None:
        prefix = self._prefix()
        request = StreamGenerateRequest(
            answer=self._transcript.name,
            assistant=self._assistant,
            prompt=self._request.prompt,
            history=self._request.history,
            sources=self._transcript.sources,
            grounded=self._request.WhichOneof("grounding") != "ungrounded",
            generation=self._request.generation if self._request.HasField("generation") else None,
            abstain_policy=self._request.abstain_policy,
            prefix=prefix,
        )
        async with aclosing(self._assistants.stream_generate(request, self._caller)) as events:
            begins_at = None if prefix is None else self._transcript.text_bytes
            ending = await self._relay.hand_on(events, room=self._transcript.room, begins_at=begins_at)
        if ending is None and not self._relay.over_long:
            raise ServiceError(
                Reason.PROVIDER_TRUNCATED,
                "the assistant service ended without its last message; the text may be incomplete",
                metadata={
                    "answer": self._transcript.name,
                    "provider": self._assistant.removeprefix("assistants/").partition("/")[0],
                },
            )
        return ending

    def _prefix(self) -> AnswerPrefix | None:
        """What the assistant has said already."""
        if not self._transcript.spoken:
            return None
        so_far = self._transcript.answer_so_far()
        return AnswerPrefix(text=so_far.text, citations=so_far.citations, assistant=self._transcript.speaker)

    def _honest(self, ending: answer_pb2.Answer | None) -> answer_pb2.Answer | None:
        """Marks the usage as partial where the assistant was asked before: what that cost, nobody has told."""
        if ending is not None and self._asked_before and _costs(ending.usage):
            ending.usage.partial = True
        return ending


def _costs(usage: answer_pb2.Usage) -> bool:
    return bool(usage.input_tokens or usage.output_tokens)
