"""Assistants behind Cohere's chat, version 2, with its own citations.

https://docs.cohere.com/reference/chat-stream and .../docs/rag-citations: each source is sent as a document whose id is
the source's, and a citation names characters of one block of the answer and the documents they rest on.
"""

from __future__ import annotations

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
    Source,
    Text,
    Usage,
)
from headwater_server.assistant.provider_options import ProviderOptions
from headwater_server.assistant.provider_stream import answered, client_of
from headwater_server.assistant.request_fields import present, refuse_above, with_options
from headwater_server.assistant.spans import AnswerText
from headwater_server.assistant.wire_json import Table, count, index, is_model_id, string, table, table_of_event, tables
from headwater_server.outgoing.endpoints import without_version
from headwater_server.outgoing.http import HttpClient
from headwater_server.outgoing.provider_errors import ErrorBody, ProviderErrors
from headwater_server.outgoing.sse import EventParser, ServerSentEvent

COHERE_URL = "https://api.cohere.com"
_MAX_MODELS = 1000
_MAX_STOP_SEQUENCES = 5
_DONE = b"[DONE]"
_FINISH = {
    "COMPLETE": FinishReason.STOP,
    "STOP_SEQUENCE": FinishReason.STOP_SEQUENCE,
    "MAX_TOKENS": FinishReason.MAX_TOKENS,
}
_BROKEN_FINISH = frozenset({"ERROR", "TIMEOUT"})
"""Reasons by which the provider says that it, not the model, ended the text."""


class ChatStream:
    """Reads the events of one answer.

    Attributes:
        done: Whether `message-end` has come.
    """

    def __init__(self, errors: ProviderErrors, sources: Sequence[Source] = ()) -> None:
        """Makes a reader.

        Args:
            errors: Makes the provider's errors.
            sources: The documents of the request.
        """
        self.done = False
        self._errors = errors
        self._sources = PresentedSources(sources)
        self._text = AnswerText()
        self._finish = ""
        self._usage: Table = {}

    def feed(self, event: ServerSentEvent) -> list[Event]:
        """Reads one event of the stream.

        Raises:
            ServiceError: It is an error, a tool call, or nothing that the protocol allows.
        """
        if event.data.strip() == _DONE:
            return []
        document = table_of_event(event, self._errors)
        delta = table(document.get("delta"))
        message = table(delta.get("message"))
        match document.get("type") or event.event:
            case "content-start" | "content-delta":
                return self._content(index(document.get("index")), table(message.get("content")))
            case "citation-start":
                return self._cited(table(message.get("citations")))
            case "message-end":
                self._end(delta)
            case "tool-call-start":
                raise self._errors.tool_called()
            case "error":
                raise self._errors.in_stream(ErrorBody.of(document))
        return []

    def finish(self) -> list[Event]:
        """Ends the answer: `Finished`, after what was held back.

        Raises:
            ServiceError: The stream was cut off (PROVIDER_TRUNCATED).
        """
        if not self.done:
            raise self._errors.truncated()
        rest = self._text.finish()
        reason = _FINISH.get(self._finish, FinishReason.UPSTREAM_UNKNOWN)
        return [*([Text(rest)] if rest else []), Finished(reason, _usage(self._usage))]

    def _content(self, block: int, content: Table) -> list[Event]:
        thought = string(content.get("thinking"))
        self._text.begin(block)
        text = self._text.add(string(content.get("text")))
        return [*([Reasoning(thought)] if thought else []), *([Text(text)] if text else [])]

    def _cited(self, citation: Table) -> list[Event]:
        if citation.get("type", "TEXT_CONTENT") != "TEXT_CONTENT":
            return []  # of a thought or a plan, which are not the text
        evidence = [item for source in tables(citation.get("sources")) for item in self._evidence(source)]
        block = index(citation.get("content_index", 0))
        words = string(citation.get("text"))
        span = self._text.in_characters(
            index(citation.get("start")), index(citation.get("end")), words=words, block=block
        )
        return [Cite(*span, evidence)] if span and evidence else []

    def _evidence(self, source: Table) -> list[Evidence]:
        document = table(source.get("document"))
        return self._sources.of_id(string(source.get("id"))) or self._sources.of_page(
            uri=string(document.get("url")), quote=string(document.get("snippet") or document.get("text"))
        )

    def _end(self, delta: Table) -> None:
        self._finish = string(delta.get("finish_reason"))
        if self._finish == "TOOL_CALL":
            raise self._errors.tool_called()
        if self._finish in _BROKEN_FINISH or delta.get("error"):
            raise self._errors.in_stream(ErrorBody.of({"message": delta.get("error") or self._finish}))
        self._usage = table(delta.get("usage"))
        self.done = True


class CohereAssistant:
    """One model."""

    def __init__(self, model: Model, http: HttpClient) -> None:
        self.model = model
        self._http = http

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`."""
        document = chat_document(request, model=self.model.id)
        reader = ChatStream(self._http.errors, request.sources)
        return answered(self._http, "/v2/chat", document, parser=EventParser(), reader=reader)


class CohereProvider:
    """One account, and the models it may use."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Makes the provider; connects to nothing yet.

        Raises:
            ValueError: A setting is not as it must be.
        """
        ProviderOptions("cohere", settings).refuse_others()
        self._settings = settings
        self._listed: Mapping[str, Model] = {}  # what the provider said of its models when it was last asked
        self._http = client_of(settings, without_version(settings.base_url or COHERE_URL))

    def assistant(self, model: str) -> CohereAssistant:
        """The assistant of a model, whether the account may use it or not."""
        return CohereAssistant(self._listed.get(model) or self._model(model, {}), self._http)

    async def models(self) -> Sequence[Model]:
        """The models that the account may chat with.

        Raises:
            ServiceError: The provider cannot be reached, or does not list them.
        """
        # Of version 2 there is no list.
        document = table(await self._http.get_json(f"/v1/models?endpoint=chat&page_size={_MAX_MODELS}"))
        entries = [entry for entry in tables(document.get("models")) if is_model_id(entry.get("name"))]
        models = [self._model(str(entry["name"]), entry) for entry in entries]
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
            context_tokens=self._settings.context_tokens or count(entry.get("context_length")),
            max_output_tokens=self._settings.max_output_tokens,
            citations=CitationStyle.NATIVE,
        )


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind Cohere: the entry point `cohere`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    return CohereProvider(settings)


def chat_document(request: GenerateRequest, *, model: str) -> dict[str, object]:
    """The JSON document of a request.

    Raises:
        InvalidRequest: A sampling setting is one that the API has not, or a field is not the caller's to set.
    """
    sampling = request.sampling
    refuse_above(len(sampling.stop_sequences), _MAX_STOP_SEQUENCES, field="stop_sequences", provider="Cohere")
    refuse_above(sampling.top_p, 0.99, field="top_p", provider="Cohere")
    messages = [{"role": message.role.value, "content": message.text} for message in request.messages]
    if request.instructions:
        messages.insert(0, {"role": "system", "content": request.instructions})
    document = {
        "model": model,
        "messages": messages,
        "stream": True,
        **present(
            {
                "documents": [_document(source) for source in request.sources] or None,
                "max_tokens": sampling.max_output_tokens,
                "temperature": sampling.temperature,
                "p": sampling.top_p,
                "stop_sequences": list(sampling.stop_sequences) or None,
                "seed": sampling.seed,
            }
        ),
    }
    return with_options(document, sampling.provider_options, reserved=frozenset({"documents"}))


def _document(source: Source) -> dict[str, object]:
    fields = {"title": source.title, "section": source.heading, "place": source.location, "snippet": source.text}
    return {"id": source.id, "data": {name: value for name, value in fields.items() if value}}


def _usage(usage: Table) -> Usage | None:
    """The tokens that the model read and wrote; those that are billed are other counts."""
    tokens = table(usage.get("tokens"))
    if not tokens:
        return None
    return Usage(
        input_tokens=count(tokens.get("input_tokens")),
        output_tokens=count(tokens.get("output_tokens")),
        cached_input_tokens=count(usage.get("cached_tokens")),
    )
