"""The assistant service's core: from a request to a stream of chunks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from headwater.v1 import answer_pb2, assistant_service_pb2, generation_pb2
from headwater_server.assistant import messages
from headwater_server.assistant.budget import FittedPrompt, estimated_tokens, fit
from headwater_server.assistant.config import AssistantConfig
from headwater_server.assistant.grounding import CheckedCitation, GroundedAnswer, TextPiece
from headwater_server.assistant.listing import AssistantList
from headwater_server.assistant.prompts import PromptTemplate
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
from headwater_server.assistant.registry import ProviderRegistry
from headwater_server.errors import ServiceError
from headwater_server.interfaces import Caller
from headwater_server.names import assistant_id, assistant_name
from headwater_server.paging import PageTokens, page_of, page_size
from headwater_server.text import SurrogateJoiner

log = structlog.get_logger("headwater.assistants")

_NO_SOURCES = Finished(FinishReason.ABSTAINED, abstain_reason=AbstainReason.NO_SOURCES)


class AssistantCore:
    """The assistant service, in the process of whoever calls it; implements `interfaces.Assistants`.

    Any number of answers run at once, and none waits for another.
    """

    def __init__(self, registry: ProviderRegistry, config: AssistantConfig) -> None:
        """Makes the service.

        Raises:
            AssistantConfigError: The prompt template is not as it must be.
        """
        self._registry = registry
        self._list = AssistantList(registry, config)
        self._tokens = PageTokens()
        self._template = PromptTemplate(config.prompt_template)

    async def list_assistants(
        self, request: assistant_service_pb2.ListAssistantsRequest, caller: Caller
    ) -> assistant_service_pb2.ListAssistantsResponse:
        """Lists assistants; see `AssistantService.ListAssistants`."""
        del caller  # every caller may use every assistant
        everything = await self._list.all()
        # A token stands for a name: a page begins behind the last one's end, even where the list has changed.
        last = self._tokens.read(request.page_token, "assistants")
        following = everything[bisect_right(everything, last, key=lambda item: item[0]) :]
        default = assistant_name(self._registry.default)
        page, more = page_of(
            (messages.assistant_message(name, model, is_default=name == default) for name, model in following),
            limit=page_size(request.page_size),
        )
        return assistant_service_pb2.ListAssistantsResponse(
            assistants=page, next_page_token=self._tokens.make("assistants", last=page[-1].name) if more else ""
        )

    async def get_assistant(
        self, request: assistant_service_pb2.GetAssistantRequest, caller: Caller
    ) -> assistant_service_pb2.Assistant:
        """Returns one assistant; see `AssistantService.GetAssistant`."""
        del caller
        name, assistant = self._registry.assistant(request.name)
        is_default = assistant_id(name) == self._registry.default
        return messages.assistant_message(name, assistant.model, is_default=is_default)

    async def stream_generate(
        self, request: assistant_service_pb2.StreamGenerateRequest, caller: Caller
    ) -> AsyncGenerator[answer_pb2.AnswerChunk]:
        """Streams what an assistant says; see `AssistantService.StreamGenerate`."""
        del caller
        name, assistant = self._registry.assistant(request.assistant)
        sources = messages.sources_of(request)
        if _must_abstain(request):
            answer = GroundedAnswer((), style=CitationStyle.NATIVE)
            yield self._terminal(request, _Ending(name, _NO_SOURCES, Usage(0, 0), reported=True), answer, fitted=None)
            return
        fitted = self._fitted(request, name, assistant, sources)
        generate = _generate_request(request, fitted)
        answer = GroundedAnswer(fitted.sources, style=assistant.model.citations)
        meter = _Meter(generate)
        thoughts = SurrogateJoiner()
        finished: Finished | None = None
        try:
            async with aclosing(assistant.generate(generate)) as events:
                async for event in events:
                    meter.see(event)
                    for chunk in _chunks(event, answer, thoughts):
                        yield chunk
                    if isinstance(event, Finished):
                        finished = event
                    if finished or answer.full:
                        break
        except ServiceError:
            for chunk in _rest(answer, thoughts):  # what was held back belongs to the part that is kept
                yield chunk
            raise
        for chunk in _rest(answer, thoughts):
            yield chunk
        yield self._terminal(request, meter.ending(name, finished, cut=answer.full), answer, fitted=fitted)

    def _fitted(
        self,
        request: assistant_service_pb2.StreamGenerateRequest,
        name: str,
        assistant: Assistant,
        sources: Sequence[Source],
    ) -> FittedPrompt:
        generation = request.generation
        return fit(
            lambda shown: self._template.render(
                question=request.prompt,
                sources=shown,
                grounded=request.grounded or bool(sources),
                instructions=generation.instructions,
            ),
            sources=sources,
            history=messages.history_of(request),
            model=assistant.model,
            max_output_tokens=generation.max_output_tokens if generation.HasField("max_output_tokens") else None,
            assistant=name,
        )

    @staticmethod
    def _terminal(
        request: assistant_service_pb2.StreamGenerateRequest,
        ending: _Ending,
        answer: GroundedAnswer,
        *,
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
                sources=messages.disposed(request, presented=fitted.sources if fitted else (), cited=answer.cited),
                timings=answer_pb2.Timings(dropped_history_messages=dropped) if dropped else None,
            )
        )


@asynccontextmanager
async def open_assistants(config: AssistantConfig | None = None) -> AsyncGenerator[AssistantCore]:
    """Opens the assistant service, and closes its connections at the end.

    Args:
        config: The settings; the defaults if not given.

    Raises:
        AssistantConfigError: A setting is not as it must be. Nothing was opened.
    """
    config = config or AssistantConfig()
    registry = ProviderRegistry(config)
    try:
        yield AssistantCore(registry, config)
    finally:
        await registry.aclose()


@dataclass(frozen=True, slots=True)
class _Ending:
    """How an answer ended."""

    assistant: str
    finished: Finished
    usage: Usage
    reported: bool
    partial: bool = False


class _Meter:
    """Counts what goes in and comes out, for providers that do not say what it cost."""

    def __init__(self, request: GenerateRequest) -> None:
        self._input = estimated_tokens(request.instructions) + sum(
            estimated_tokens(message.text) for message in request.messages
        )
        self._text_bytes = 0
        self._reasoning_bytes = 0

    def see(self, event: Event) -> None:
        if isinstance(event, Text):
            self._text_bytes += _size(event.text)
        elif isinstance(event, Reasoning):
            self._reasoning_bytes += _size(event.text)

    def ending(self, assistant: str, finished: Finished | None, *, cut: bool) -> _Ending:
        """The ending, whether the assistant has said so or the text was cut at its limit."""
        if finished is None:
            if not cut:
                raise RuntimeError(f"{assistant} ended its stream without Finished")
            return _Ending(assistant, Finished(FinishReason.MAX_TOKENS), self._estimate(), reported=False, partial=True)
        if cut:
            finished = replace(finished, reason=FinishReason.MAX_TOKENS, abstain_reason=None)
        if finished.usage is None:
            return _Ending(assistant, finished, self._estimate(), reported=False)
        return _Ending(assistant, finished, finished.usage, reported=True)

    def _estimate(self) -> Usage:
        reasoning = -(-self._reasoning_bytes // 4)
        written = -(-self._text_bytes // 4) + reasoning
        return Usage(self._input, written, reasoning_tokens=reasoning or None)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _must_abstain(request: assistant_service_pb2.StreamGenerateRequest) -> bool:
    never = request.abstain_policy == generation_pb2.ABSTAIN_POLICY_NEVER
    return request.grounded and not never and not any(source.content.strip() for source in request.sources)


def _generate_request(request: assistant_service_pb2.StreamGenerateRequest, fitted: FittedPrompt) -> GenerateRequest:
    return GenerateRequest(
        question=request.prompt,
        instructions=fitted.prompt.instructions,
        messages=[*fitted.history, Message(Role.USER, fitted.prompt.message)],
        sources=fitted.sources,
        grounded=request.grounded,
        sampling=messages.sampling_of(request.generation),
    )


def _chunks(event: Event, answer: GroundedAnswer, thoughts: SurrogateJoiner) -> Iterator[answer_pb2.AnswerChunk]:
    if isinstance(event, Text):
        yield from map(_chunk, answer.add(event.text))
    elif isinstance(event, Reasoning):
        if thought := thoughts.feed(event.text):
            yield messages.reasoning_chunk(thought)
    elif isinstance(event, Cite):
        citation = answer.cite(event)
        if citation:
            yield messages.citation_chunk(citation)
        else:
            log.warning(
                "citation_dropped", start_byte=event.start_byte, end_byte=event.end_byte, text_bytes=answer.size
            )


def _rest(answer: GroundedAnswer, thoughts: SurrogateJoiner) -> Iterator[answer_pb2.AnswerChunk]:
    if thought := thoughts.finish():
        yield messages.reasoning_chunk(thought)
    yield from map(_chunk, answer.finish())


def _chunk(piece: TextPiece | CheckedCitation) -> answer_pb2.AnswerChunk:
    return messages.text_chunk(piece) if isinstance(piece, TextPiece) else messages.citation_chunk(piece)
