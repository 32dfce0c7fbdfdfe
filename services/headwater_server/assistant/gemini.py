"""Assistants behind Gemini's `streamGenerateContent`, as server-sent events or as the JSON array it is by default.

https://ai.google.dev/api/generate-content. The API takes no documents to cite, so that our sources are cited by
markers; what the provider's own search says it rests on is converted where a presented source is the same.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence

from headwater_server.assistant.presented import PresentedSources
from headwater_server.assistant.protocol import (
    CitationStyle,
    Cite,
    Event,
    Evidence,
    Finished,
    FinishReason,
    GenerateRequest,
    Model,
    Provider,
    ProviderSettings,
    Reasoning,
    Role,
    Source,
    Text,
    Usage,
)
from headwater_server.assistant.provider_options import ProviderOptions
from headwater_server.assistant.provider_stream import answered, client_of
from headwater_server.assistant.request_fields import present, with_nested, with_options
from headwater_server.assistant.spans import AnswerText
from headwater_server.assistant.wire_json import (
    Table,
    count,
    index,
    is_model_id,
    label,
    string,
    table,
    table_of,
    tables,
)
from headwater_server.errors import InvalidRequest
from headwater_server.outgoing.endpoints import model_path, with_version
from headwater_server.outgoing.framing import BodyParser, BomRemover, FramingError
from headwater_server.outgoing.http import HttpClient
from headwater_server.outgoing.json_array import ArrayParser
from headwater_server.outgoing.provider_errors import ErrorBody, ProviderErrors
from headwater_server.outgoing.sse import EventParser, ServerSentEvent

GEMINI_URL = "https://generativelanguage.googleapis.com"
_RESERVED = frozenset({"system_instruction", "systemInstruction", "tool_config", "generation_config"})
_MAX_MODELS = 1000
_BLANKS = b" \t\r\n"
_MAX_BLANKS = 16 << 10
_FINISH = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.MAX_TOKENS,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
}
_NO_FINISH = "FINISH_REASON_UNSPECIFIED"
_TOOL_FINISH = frozenset({"MALFORMED_FUNCTION_CALL", "TOO_MANY_TOOL_CALLS", "UNEXPECTED_TOOL_CALL"})


class ResponseParser:
    """Takes a body apart that is server-sent events or a JSON array, which its first character tells.

    Proxies that lose `alt=sse` from the URL turn the one into the other.
    """

    def __init__(self) -> None:
        self._bom = BomRemover()
        self._begun = False
        self._blanks = 0
        self._array: ArrayParser | None = None
        self._events = EventParser()

    def feed(self, piece: bytes) -> list[bytes]:
        """Takes the next bytes of the body; see `BodyParser.feed`."""
        if not self._begun:
            piece = self._after_blanks(piece)
            if not piece:
                return []
            self._begun = True
            self._array = ArrayParser() if piece.startswith(b"[") else None
        if self._array is not None:
            return self._array.feed(piece)
        return [_data(event) for event in self._events.feed(piece)]

    def finish(self) -> list[bytes]:
        """What the end of the body completed; see `BodyParser.finish`."""
        if self._array is not None:
            return self._array.finish()
        return [_data(event) for event in self._events.finish()]

    def _after_blanks(self, piece: bytes) -> bytes:
        """The piece without the mark and the blanks at the body's beginning, which mean nothing to either format."""
        piece = self._bom.feed(piece)
        rest = piece.lstrip(_BLANKS)
        self._blanks += len(piece) - len(rest)
        if self._blanks > _MAX_BLANKS:
            raise FramingError(f"more than {_MAX_BLANKS} blanks before an answer")
        return rest


def _data(event: ServerSentEvent) -> bytes:
    """The JSON of an event. Of one that is an error it says so, whatever its data are."""
    if event.event != "error" or ErrorBody.told_in(event.data):
        return event.data
    return json.dumps({"error": {"message": ErrorBody.plain(event.data).message}}).encode()


class ContentStream:
    """Reads the responses of one answer.

    Attributes:
        done: Never true, as the protocol has no end of its own: it is the body's, after a finish reason.
    """

    done = False

    def __init__(self, errors: ProviderErrors, sources: Sequence[Source] = ()) -> None:
        """Makes a reader.

        Args:
            errors: Makes the provider's errors.
            sources: The sources of the request.
        """
        self._errors = errors
        self._sources = PresentedSources(sources)
        self._text = AnswerText()
        self._part_number = 0  # of the part that was read last; a piece of the same kind goes on with it
        self._was_thought: bool | None = None
        self._groundings: list[Table] = []
        self._finish = ""
        self._blocked = False
        self._usage: Table = {}
        self._model = ""

    def feed(self, data: bytes) -> list[Event]:
        """Reads one response.

        Raises:
            ServiceError: It is an error, a tool call, or nothing that the protocol allows.
        """
        document = table_of(data, self._errors)
        if document.get("error"):
            raise self._errors.in_stream(ErrorBody.of(document))
        self._usage = table(document.get("usageMetadata")) or self._usage
        self._model = label(document.get("modelVersion")) or self._model
        self._blocked = self._blocked or bool(table(document.get("promptFeedback")).get("blockReason"))
        events: list[Event] = []
        for candidate in tables(document.get("candidates")):
            if candidate.get("index") in (0, None):  # no other was asked for
                events += self._candidate(candidate)
        return events

    def finish(self) -> list[Event]:
        """Ends the answer: `Finished`, after the citations.

        Raises:
            ServiceError: The stream was cut off (PROVIDER_TRUNCATED).
        """
        if not self._finish and not self._blocked:
            raise self._errors.truncated()
        rest = self._text.finish()
        reason = _FINISH.get(self._finish, FinishReason.UPSTREAM_UNKNOWN)
        if self._blocked and not self._finish:
            reason = FinishReason.CONTENT_FILTER
        return [*([Text(rest)] if rest else []), *self._cites(), Finished(reason, _usage(self._usage), self._model)]

    def _candidate(self, candidate: Table) -> list[Event]:
        parts = tables(table(candidate.get("content")).get("parts"))
        events = [event for place, part in enumerate(parts) for event in self._part(part, is_next=place > 0)]
        grounding = table(candidate.get("groundingMetadata"))
        if grounding and grounding not in self._groundings[-1:]:
            self._groundings.append(grounding)
        finish = string(candidate.get("finishReason"))
        self._finish = finish if finish not in {"", _NO_FINISH} else self._finish
        if self._finish in _TOOL_FINISH:
            raise self._errors.tool_called()
        return events

    def _part(self, part: Table, *, is_next: bool) -> list[Event]:
        if "functionCall" in part:
            raise self._errors.tool_called()
        text, is_thought = string(part.get("text")), part.get("thought") is True
        self._part_number += is_next or self._was_thought is (not is_thought)
        self._was_thought = is_thought
        if is_thought:
            return [Reasoning(text)] if text else []
        self._text.begin(self._part_number)
        text = self._text.add(text)
        return [Text(text)] if text else []

    def _cites(self) -> list[Event]:
        """The spans that the provider's search says it found, where what it found is a presented source."""
        chunks: list[list[Evidence]] = []
        cites: dict[tuple[int, int, tuple[Evidence, ...]], Event] = {}  # once each, though they come again
        for grounding in self._groundings:
            chunks = [self._evidence(chunk) for chunk in tables(grounding.get("groundingChunks"))] or chunks
            for support in tables(grounding.get("groundingSupports")):
                places = support.get("groundingChunkIndices")
                found = [index(place) for place in places] if isinstance(places, list) else []
                evidence = [item for place in found if 0 <= place < len(chunks) for item in chunks[place]]
                span = self._span(table(support.get("segment"))) if evidence else None
                if span:
                    cites.setdefault((*span, tuple(evidence)), Cite(*span, evidence))
        return list(cites.values())

    def _span(self, segment: Table) -> tuple[int, int] | None:
        """Where a segment is, in its part: in bytes, says the documentation; some versions of the API count characters.

        Some versions count from the beginning of the text, whatever the part: where the segment's words are.
        """
        start, end, part = (index(segment.get(name, 0)) for name in ("startIndex", "endIndex", "partIndex"))
        words = segment.get("text")
        if not isinstance(words, str):
            is_known = part == 0 or self._text.block_span(part) is not None
            return self._text.in_bytes(start, end, words="", block=part) if is_known else None
        for block in (part, None):
            found = self._text.in_bytes(start, end, words=words, block=block)
            found = found or self._text.in_characters(start, end, words=words, block=block)
            if found:
                return found
        return None

    def _evidence(self, chunk: Table) -> list[Evidence]:
        found = table(chunk.get("retrievedContext")) or table(chunk.get("web"))
        return self._sources.of_page(uri=string(found.get("uri")), quote=string(found.get("text")))


class GeminiAssistant:
    """One model."""

    def __init__(self, model: Model, http: HttpClient) -> None:
        self.model = model
        self._http = http

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`."""
        path = f"/{_model_path(self.model.id)}:streamGenerateContent?alt=sse"
        reader = ContentStream(self._http.errors, request.sources)
        parser: BodyParser[bytes] = ResponseParser()
        return answered(self._http, path, content_document(request), parser=parser, reader=reader)


class GeminiProvider:
    """One account, and the models it may use."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Makes the provider; connects to nothing yet.

        Raises:
            ValueError: A setting is not as it must be.
        """
        ProviderOptions("gemini", settings).refuse_others()
        self._settings = settings
        self._listed: Mapping[str, Model] = {}  # what the provider said of its models when it was last asked
        self._http = client_of(
            settings, with_version(settings.base_url or GEMINI_URL, "v1beta"), key_header="x-goog-api-key"
        )

    def assistant(self, model: str) -> GeminiAssistant:
        """The assistant of a model, whether the account may use it or not."""
        return GeminiAssistant(self._listed.get(model) or self._model(model, {}), self._http)

    async def models(self) -> Sequence[Model]:
        """The models that the account may use to write text.

        Raises:
            ServiceError: The provider cannot be reached, or does not list them.
        """
        document = table(await self._http.get_json(f"/models?pageSize={_MAX_MODELS}"))
        models = [
            self._model(str(entry["name"]).removeprefix("models/"), entry)
            for entry in tables(document.get("models"))
            if is_model_id(entry.get("name")) and _writes(entry)
        ]
        self._listed = {model.id: model for model in models}
        return models

    async def warm(self) -> None:
        """Opens a connection for the next request; sends nothing."""
        await self._http.warm()

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    def _model(self, model: str, entry: Table) -> Model:
        return Model(
            id=model,
            display_name=label(entry.get("displayName")),
            description=label(entry.get("description")),
            context_tokens=self._settings.context_tokens or count(entry.get("inputTokenLimit")),
            max_output_tokens=self._settings.max_output_tokens or count(entry.get("outputTokenLimit")),
            citations=CitationStyle.BOTH,
        )


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind Gemini: the entry point `gemini`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    return GeminiProvider(settings)


def content_document(request: GenerateRequest) -> dict[str, object]:
    """The JSON document of a request.

    Raises:
        InvalidRequest: `provider_options` has a field that is not the caller's to set.
    """
    sampling = request.sampling
    settings = present(
        {
            "maxOutputTokens": sampling.max_output_tokens,
            "temperature": sampling.temperature,
            "topP": sampling.top_p,
            "stopSequences": list(sampling.stop_sequences) or None,
            "seed": sampling.seed,
        }
    )
    more = dict(sampling.provider_options)
    settings = with_nested(
        settings, more.pop("generationConfig", {}), field="generationConfig", reserved=frozenset({"candidateCount"})
    )
    contents = [
        {"role": "user" if message.role is Role.USER else "model", "parts": [{"text": message.text}]}
        for message in request.messages
    ]
    document: dict[str, object] = {"contents": contents}
    if request.instructions:
        document["systemInstruction"] = {"parts": [{"text": request.instructions}]}
    document = with_options(document, more, reserved=_RESERVED)
    return {**document, "generationConfig": settings} if settings else document


def _model_path(model: str) -> str:
    try:
        return model_path(model)
    except ValueError as error:
        raise InvalidRequest("assistant", "is not the name of a model") from error


def _writes(entry: Table) -> bool:
    methods = entry.get("supportedGenerationMethods")
    return not isinstance(methods, list) or "generateContent" in methods


def _usage(usage: Table) -> Usage | None:
    """What the provider counted; unlike others it counts reasoning beside the output and not in it."""
    if not usage:
        return None
    return Usage(
        input_tokens=count(usage.get("promptTokenCount")),
        output_tokens=count(usage.get("candidatesTokenCount")),
        cached_input_tokens=count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=count(usage.get("thoughtsTokenCount")),
    )
