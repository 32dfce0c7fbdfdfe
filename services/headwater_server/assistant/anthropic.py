"""Assistants behind Anthropic's Messages API, with its own citations.

https://docs.anthropic.com/en/api/messages and .../build-with-claude/citations: each source is sent as a document of
plain text, and a block of the answer that rests on documents comes with their numbers and words.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence

from headwater_server.assistant.budget import kept_for_output
from headwater_server.assistant.continuing import tokens_left
from headwater_server.assistant.presented import PresentedSources
from headwater_server.assistant.protocol import (
    CitationStyle,
    Cite,
    Event,
    Evidence,
    Finished,
    FinishReason,
    GenerateRequest,
    Message,
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
from headwater_server.assistant.request_fields import present, refuse_above, refuse_seed, with_options
from headwater_server.assistant.spans import AnswerText
from headwater_server.assistant.wire_json import (
    Table,
    count,
    index,
    is_model_id,
    label,
    string,
    table,
    table_of_event,
    tables,
)
from headwater_server.errors import InvalidRequest
from headwater_server.outgoing.endpoints import with_version
from headwater_server.outgoing.http import HttpClient
from headwater_server.outgoing.provider_errors import ErrorBody, ProviderErrors
from headwater_server.outgoing.sse import EventParser, ServerSentEvent

ANTHROPIC_URL = "https://api.anthropic.com"
_API_VERSION = "2023-06-01"
_DEFAULT_MAX_TOKENS = 8192
"""The API has no default of its own, and refuses more than the model can write."""
_OLD_DEFAULT_MAX_TOKENS = 4096
_OLD = re.compile(r"claude-(?:2|instant|3-(?:haiku|opus|sonnet))")
"""The models that write no more than 4096 tokens."""
_RESERVED = frozenset({"container", "mcp_servers", "system"})
_CONTINUES = re.compile(r"claude-(?:2|instant|3|(?:haiku|opus|sonnet)-4-(?:[015]|2025\d{4})(?!\d))")
"""The models that go on from a part of their answer; all since version 4.6 refuse to."""
_MAX_TITLE = 200
_MAX_MODELS = 1000
_FINISH = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "max_tokens": FinishReason.MAX_TOKENS,
    "model_context_window_exceeded": FinishReason.CONTEXT_LIMIT,
    "refusal": FinishReason.CONTENT_FILTER,
}
"""`pause_turn` is not here: the provider stopped for its own reasons, so that nobody knows whether there is more."""


class MessageStream:
    """Reads the events of one answer.

    Attributes:
        done: Whether `message_stop` has come.
    """

    def __init__(self, errors: ProviderErrors, sources: Sequence[Source] = (), *, prefix: str = "") -> None:
        """Makes a reader.

        Args:
            errors: Makes the provider's errors.
            sources: The documents of the request, in their order.
            prefix: What the answer goes on from.
        """
        self.done = False
        self._errors = errors
        self._sources = PresentedSources(sources)
        self._text = AnswerText(prefix)
        self._says_blanks_again = prefix != prefix.rstrip()
        self._evidence: dict[int, list[Evidence]] = {}
        self._stop_reason = ""
        self._usage: Table = {}
        self._model = ""

    def feed(self, event: ServerSentEvent) -> list[Event]:
        """Reads one event of the stream.

        Raises:
            ServiceError: It is an error, a tool call, or nothing that the protocol allows.
        """
        document = table_of_event(event, self._errors)
        match document.get("type"):
            case "content_block_delta":
                return self._delta(index(document.get("index")), table(document.get("delta")))
            case "content_block_start":
                return self._start(index(document.get("index")), table(document.get("content_block")))
            case "content_block_stop":
                return self._cited(index(document.get("index")))
            case "message_start":
                self._note(table(document.get("message")))
            case "message_delta":
                self._note(document)
                self._stop_reason = string(table(document.get("delta")).get("stop_reason")) or self._stop_reason
            case "message_stop":
                self.done = True
            case "error":
                raise self._errors.in_stream(ErrorBody.of(document))
        return []  # `ping`, and what later versions of the API may add

    def finish(self) -> list[Event]:
        """Ends the answer: `Finished`, after what was held back.

        Raises:
            ServiceError: The stream was cut off (PROVIDER_TRUNCATED).
        """
        if not self.done:
            raise self._errors.truncated()
        rest = self._text.finish()
        reason = _FINISH.get(self._stop_reason, FinishReason.UPSTREAM_UNKNOWN)
        return [*([Text(rest)] if rest else []), Finished(reason, _usage(self._usage), self._model)]

    def _start(self, block: int, content: Table) -> list[Event]:
        if content.get("type") == "tool_use":
            raise self._errors.tool_called()
        self._text.begin(block)
        return self._piece(string(content.get("text"))) + _thought(string(content.get("thinking")))

    def _delta(self, block: int, delta: Table) -> list[Event]:
        match delta.get("type"):
            case "text_delta":
                return self._piece(string(delta.get("text")))
            case "thinking_delta":
                return _thought(string(delta.get("thinking")))
            case "citations_delta":
                self._evidence.setdefault(block, []).extend(self._evidence_of(table(delta.get("citation"))))
        return []  # signatures of thoughts, and what the provider's own tools are asked

    def _piece(self, text: str) -> list[Event]:
        if self._says_blanks_again:
            text = text.lstrip()
            self._says_blanks_again = not text
        text = self._text.add(text)
        return [Text(text)] if text else []

    def _evidence_of(self, citation: Table) -> list[Evidence]:
        quote = string(citation.get("cited_text")).strip()
        if "document_index" in citation:
            return self._sources.at(index(citation["document_index"]), quote=quote)
        return self._sources.of_page(uri=string(citation.get("url") or citation.get("source")), quote=quote)

    def _cited(self, block: int) -> list[Event]:
        """The citation of a block that has ended: all of its text rests on all of its evidence."""
        evidence = self._evidence.pop(block, [])
        span = self._text.block_span(block) if evidence else None
        return [Cite(*span, evidence)] if span else []

    def _note(self, message: Table) -> None:
        """Keeps what the end will tell. Counts of a later event take the place of earlier ones."""
        self._usage |= {name: value for name, value in table(message.get("usage")).items() if value is not None}
        self._model = label(message.get("model")) or self._model


class AnthropicAssistant:
    """One model."""

    def __init__(self, model: Model, http: HttpClient) -> None:
        self.model = model
        self._http = http

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`."""
        native = self.model.citations is CitationStyle.NATIVE
        sources = [source for source in request.sources if source.text.strip()] if native else []
        document = message_document(request, model=self.model, sources=sources)
        reader = MessageStream(self._http.errors, sources, prefix=request.prefix)
        return answered(self._http, "/messages", document, parser=EventParser(), reader=reader)


class AnthropicProvider:
    """One account, and the models it may use."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Makes the provider; connects to nothing yet.

        Raises:
            ValueError: A setting is not as it must be.
        """
        options = ProviderOptions("anthropic", settings)
        native = options.boolean("native_citations", default=True)
        options.refuse_others()
        self._settings = settings
        self._listed: Mapping[str, Model] = {}  # what the provider said of its models when it was last asked
        self._citations = CitationStyle.NATIVE if native else CitationStyle.MARKERS
        self._http = client_of(
            settings,
            with_version(settings.base_url or ANTHROPIC_URL, "v1"),
            key_header="x-api-key",
            headers={"anthropic-version": _API_VERSION},
        )

    def assistant(self, model: str) -> AnthropicAssistant:
        """The assistant of a model, whether the account may use it or not."""
        return AnthropicAssistant(self._listed.get(model) or self._model(model, {}), self._http)

    async def models(self) -> Sequence[Model]:
        """The models that the account may use.

        Raises:
            ServiceError: The provider cannot be reached, or does not list them.
        """
        document = table(await self._http.get_json(f"/models?limit={_MAX_MODELS}"))
        entries = [entry for entry in tables(document.get("data")) if is_model_id(entry.get("id"))]
        models = [self._model(str(entry["id"]), entry) for entry in entries]
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
            display_name=label(entry.get("display_name")),
            context_tokens=self._settings.context_tokens or count(entry.get("max_input_tokens")),
            max_output_tokens=self._settings.max_output_tokens or count(entry.get("max_tokens")),
            citations=self._citations,
            continues_prefix=_CONTINUES.match(model) is not None,
        )


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind Anthropic's Messages API: the entry point `anthropic`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    return AnthropicProvider(settings)


def message_document(request: GenerateRequest, *, model: Model, sources: Sequence[Source]) -> dict[str, object]:
    """The JSON document of a request.

    Args:
        request: The request.
        model: The model.
        sources: What to send as documents.

    Raises:
        InvalidRequest: A sampling setting is one that the API has not, or a field is not the caller's to set.
    """
    sampling = request.sampling
    refuse_seed(sampling.seed, provider="Anthropic")
    refuse_above(sampling.temperature, 1.0, field="temperature", provider="Anthropic")
    messages = [_message(message) for message in request.messages if message.text.strip()]
    if sources and messages:
        question = {"type": "text", "text": messages[-1]["content"]}
        messages[-1]["content"] = [*(_document(source) for source in sources), question]
    if request.prefix.strip():
        messages.append(_to_go_on_from(request))
    document = {
        "model": model.id,
        "messages": messages,
        "stream": True,
        "max_tokens": tokens_left(sampling.max_output_tokens, request.prefix) or _most_tokens(model, request.prefix),
        **present(
            {
                "system": request.instructions or None,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "stop_sequences": list(sampling.stop_sequences) or None,
            }
        ),
    }
    return with_options(document, sampling.provider_options, reserved=_RESERVED)


def _most_tokens(model: Model, prefix: str) -> int:
    """How much is to be written at most where the caller does not say.

    No more than what was kept for it where the context is known: newer models refuse a request whose prompt and limit
    do not fit together.
    """
    most = model.max_output_tokens or (_OLD_DEFAULT_MAX_TOKENS if _OLD.match(model.id) else _DEFAULT_MAX_TOKENS)
    if model.context_tokens is None:
        return most
    return min(most, tokens_left(kept_for_output(model), prefix) or 1)


def _to_go_on_from(request: GenerateRequest) -> dict[str, object]:
    """The part of the answer that is there, as the last message. White space at its end is refused by the API.

    Raises:
        InvalidRequest: The model was asked to think first, which it would do again.
    """
    thinking = request.sampling.provider_options.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") != "disabled":
        raise InvalidRequest("prefix", "a model that was asked to think does not go on from a part of its answer")
    return {"role": "assistant", "content": request.prefix.rstrip()}


def _message(message: Message) -> dict[str, object]:
    return {"role": "user" if message.role is Role.USER else "assistant", "content": message.text}


def _document(source: Source) -> dict[str, object]:
    context = "\n".join(line for line in (source.heading, source.location) if line)
    return {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": source.text},
        "citations": {"enabled": True},
        **({"title": source.title[:_MAX_TITLE]} if source.title.strip() else {}),
        **({"context": context} if context else {}),
    }


def _thought(text: str) -> list[Event]:
    return [Reasoning(text)] if text else []


def _usage(usage: Table) -> Usage | None:
    if not usage:
        return None
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cached_input_tokens=count(usage.get("cache_read_input_tokens")),
        reasoning_tokens=count(table(usage.get("output_tokens_details")).get("thinking_tokens")),
    )
