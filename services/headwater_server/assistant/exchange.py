"""A request as one assistant is sent it, and its answer as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace

import anyio.to_thread
import structlog

from headwater.v1 import answer_pb2, assistant_service_pb2
from headwater_server.assistant import messages
from headwater_server.assistant.budget import FittedPrompt, fit
from headwater_server.assistant.grounding import CheckedCitation, GroundedAnswer, TextPiece
from headwater_server.assistant.metering import Ending, Meter
from headwater_server.assistant.prefix import Prefix
from headwater_server.assistant.prompts import Prompt, PromptTemplate
from headwater_server.assistant.protocol import (
    AbstainReason,
    Assistant,
    CitationStyle,
    Cite,
    Event,
    Finished,
    FinishReason,
    GenerateRequest,
    Message,
    Reasoning,
    Role,
    Source,
    Text,
    Usage,
)
from headwater_server.errors import ServiceError
from headwater_server.text import SurrogateJoiner

log = structlog.get_logger("headwater.assistants")

_IN_LOOP_CHARACTERS = 32_000
_NO_SOURCES = Finished(FinishReason.ABSTAINED, abstain_reason=AbstainReason.NO_SOURCES)


class Exchange:
    """One assistant and one request.

    Args:
        request: What is asked.
        name: The assistant's whole name.
        assistant: The assistant.
        template: Makes the prompt.

    Raises:
        ServiceError: The prompt does not fit the model's context (CONTEXT_TOO_LARGE).
    """

    def __init__(
        self,
        request: assistant_service_pb2.StreamGenerateRequest,
        name: str,
        assistant: Assistant,
        template: PromptTemplate,
    ) -> None:
        self.assistant = name
        self._request = request
        self._model = assistant
        self._fitted = _fitted(request, name, assistant, template)
        self._answer = GroundedAnswer(self._fitted.sources, style=assistant.model.citations)
        self._generate = _generate_request(request, self._fitted)
        self._thoughts = SurrogateJoiner()
        self._dropped = 0

    async def go_on(self, prefix: Prefix) -> None:
        """Takes in what the assistant has said already; a long one in a thread, so that the event loop goes on."""
        if len(prefix.text) <= _IN_LOOP_CHARACTERS:
            said = self._answer.go_on(prefix)
        else:
            said = await anyio.to_thread.run_sync(self._answer.go_on, prefix)
        self._generate = replace(self._generate, prefix=said)

    def start(self) -> AsyncGenerator[Event]:
        """Asks the assistant; again, where nothing came of it."""
        return self._model.generate(self._generate)

    async def chunks(self, events: AsyncGenerator[Event]) -> AsyncGenerator[answer_pb2.AnswerChunk]:
        """What becomes of an assistant's events, to the terminal message.

        Args:
            events: The events; the caller closes them.
        """
        meter = Meter(self._generate)
        finished: Finished | None = None
        try:
            async for event in events:
                meter.see(event)
                if isinstance(event, Text):
                    for piece in self._answer.add(event.text):
                        yield _chunk(piece)
                elif isinstance(event, Finished):
                    finished = event
                else:
                    for chunk in self._chunks(event):
                        yield chunk
                if finished or self._answer.full:
                    break
        except ServiceError:
            for chunk in self._rest():  # what was held back belongs to the part that is kept
                yield chunk
            raise
        for chunk in self._rest():
            yield chunk
        ending = meter.ending(self.assistant, finished, cut=self._answer.full)
        yield _terminal(self._request, ending, cited=self._answer.cited, fitted=self._fitted)

    def _chunks(self, event: Event) -> Iterator[answer_pb2.AnswerChunk]:
        answer = self._answer
        if isinstance(event, Reasoning):
            if thought := self._thoughts.feed(event.text):
                yield messages.reasoning_chunk(thought)
        elif isinstance(event, Cite):
            yield from map(_chunk, answer.settle(event.end_byte))
            if answer.repeats(event):
                return
            citation = answer.cite(event)
            if citation:
                yield messages.citation_chunk(citation)
            else:
                self._dropped += 1

    def _rest(self) -> Iterator[answer_pb2.AnswerChunk]:
        if self._dropped:
            log.warning(
                "citations_dropped", assistant=self.assistant, count=self._dropped, text_bytes=self._answer.size
            )
        if thought := self._thoughts.finish():
            yield messages.reasoning_chunk(thought)
        yield from map(_chunk, self._answer.finish())


def abstention(request: assistant_service_pb2.StreamGenerateRequest, assistant: str) -> answer_pb2.AnswerChunk:
    """The terminal message of an answer for which there was nothing to ask an assistant about."""
    return _terminal(request, Ending(assistant, _NO_SOURCES, Usage(0, 0), reported=True), cited=set(), fitted=None)


def _fitted(
    request: assistant_service_pb2.StreamGenerateRequest, name: str, assistant: Assistant, template: PromptTemplate
) -> FittedPrompt:
    generation = request.generation
    sources = messages.sources_of(request)

    def render(shown: Sequence[Source], *, native: bool = False) -> Prompt:
        return template.render(
            question=request.prompt,
            sources=shown,
            grounded=request.grounded or bool(sources),
            instructions=generation.instructions,
            native=native,
        )

    fitted = fit(
        render,
        sources=sources,
        history=messages.history_of(request),
        model=assistant.model,
        max_output_tokens=generation.max_output_tokens if generation.HasField("max_output_tokens") else None,
        assistant=name,
    )
    if assistant.model.citations is CitationStyle.NATIVE:  # it is measured with its sources, and sent without
        return replace(fitted, prompt=render(fitted.sources, native=True))
    return fitted


def _generate_request(request: assistant_service_pb2.StreamGenerateRequest, fitted: FittedPrompt) -> GenerateRequest:
    return GenerateRequest(
        question=request.prompt,
        instructions=fitted.prompt.instructions,
        messages=[*fitted.history, Message(Role.USER, fitted.prompt.message)],
        sources=fitted.sources,
        grounded=request.grounded,
        sampling=messages.sampling_of(request.generation),
    )


def _terminal(
    request: assistant_service_pb2.StreamGenerateRequest,
    ending: Ending,
    *,
    cited: set[str],
    fitted: FittedPrompt | None,
) -> answer_pb2.AnswerChunk:
    finished = ending.finished
    dropped = len(request.history) - len(fitted.history) if fitted else 0
    return answer_pb2.AnswerChunk(
        answer=answer_pb2.Answer(
            name=request.answer,
            assistant=ending.assistant,
            model_version=finished.model_version,
            finish_reason=messages.finish_value(finished.reason),
            abstain_reason=messages.abstain_value(finished.abstain_reason),
            usage=messages.usage_message(ending.usage, reported=ending.reported, partial=ending.partial),
            sources=messages.disposed(request, presented=fitted.sources if fitted else (), cited=cited),
            timings=answer_pb2.Timings(dropped_history_messages=dropped) if dropped else None,
        )
    )


def _chunk(piece: TextPiece | CheckedCitation) -> answer_pb2.AnswerChunk:
    return messages.text_chunk(piece) if isinstance(piece, TextPiece) else messages.citation_chunk(piece)
