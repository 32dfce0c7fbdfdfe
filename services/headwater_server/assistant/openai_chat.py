"""Assistants behind OpenAI's chat completions.

Many servers speak the same: vLLM, llama.cpp, LM Studio, Groq, DeepSeek, OpenRouter and more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, fields
from urllib.parse import urlsplit

from headwater_server.assistant.openai_stream import ChatStream
from headwater_server.assistant.protocol import (
    Event,
    Finished,
    FinishReason,
    GenerateRequest,
    Model,
    Provider,
    ProviderSettings,
    Sampling,
)
from headwater_server.errors import InvalidRequest
from headwater_server.outgoing.http import HttpClient
from headwater_server.outgoing.provider_errors import ContentWithheld
from headwater_server.text import shortened, without_surrogates

OPENAI_URL = "https://api.openai.com/v1"

_MAX_MODELS = 10_000
_RESERVED = frozenset({"functions", "function_call", "messages", "model", "n", "stream", "stream_options"})
_TOOLS = frozenset({"parallel_tool_calls", "tool_choice", "tools"})
_CONTEXT_FIELDS = ("context_length", "max_model_len", "context_window", "max_context_length")


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How one server differs from another: the keys of its table in the settings beyond those every provider has."""

    think_tags: bool = False
    """Whether `<think>` at the start of the text is reasoning. See `think_tags`."""
    ends_without_done: bool = False
    """Whether the server closes the stream after its finish reason without `data: [DONE]`. Without this a stream that
    ends so is PROVIDER_TRUNCATED."""
    include_usage: bool = True
    """Whether to ask for usage by `stream_options`, which a few servers refuse."""
    max_tokens_field: str = ""
    """What the server calls the limit of tokens to write. Empty: `max_completion_tokens` for OpenAI itself, which
    refuses the older `max_tokens` for its newer models, and `max_tokens` for everyone else."""

    @classmethod
    def of(cls, options: Mapping[str, object], *, provider: str) -> ChatOptions:
        """Reads a table of the settings.

        Raises:
            ValueError: A key is not known, or its value is of another type.
        """
        kinds: dict[str, type] = {option.name: type(option.default) for option in fields(cls)}
        for key, value in options.items():
            if key not in kinds:
                known = ", ".join(sorted(kinds))
                raise ValueError(f"assistants.{provider}.{key}: not a setting of openai-chat; those are {known}")
            if type(value) is not kinds[key]:
                raise ValueError(f"assistants.{provider}.{key}: must be of type {kinds[key].__name__}")
        return cls(**options)  # type: ignore[arg-type]  # each value's type was checked above


class ChatAssistant:
    """One model at one server."""

    def __init__(self, model: Model, http: HttpClient, options: ChatOptions) -> None:
        self.model = model
        self._http = http
        self._options = options

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`."""
        options = self._options
        chat = ChatStream(self._http.errors, think_tags=options.think_tags, ends_without_done=options.ends_without_done)
        document = chat_document(request, model=self.model.id, options=options)
        try:
            async with (
                self._http.post_stream("/chat/completions", document) as stream,
                aclosing(stream.events()) as events,
            ):
                async for server_event in events:
                    for event in chat.feed(server_event):
                        yield event
                    if chat.done:
                        await stream.finish()
                        break
            for event in chat.finish():
                yield event
        except ContentWithheld:
            yield Finished(FinishReason.CONTENT_FILTER)


class ChatProvider:
    """One server, and the models behind it."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Makes the provider; connects to nothing yet.

        Raises:
            ValueError: A setting is not as it must be.
        """
        base_url = settings.base_url or OPENAI_URL
        chosen = ChatOptions.of(settings.options, provider=settings.name)
        field = chosen.max_tokens_field or _max_tokens_field(base_url)
        self._options = ChatOptions(chosen.think_tags, chosen.ends_without_done, chosen.include_usage, field)
        self._settings = settings
        self._http = HttpClient(
            base_url,
            provider=settings.name,
            api_key=settings.api_key,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
        )

    def assistant(self, model: str) -> ChatAssistant:
        """The assistant of a model, whether the server knows it or not."""
        return ChatAssistant(self._model(model), self._http, self._options)

    async def models(self) -> Sequence[Model]:
        """The models the server lists at `GET /models`.

        Raises:
            ServiceError: It cannot be reached, or does not list them.
        """
        document = await self._http.get_json("/models")
        listed = document.get("data") if isinstance(document, dict) else document
        if not isinstance(listed, list):
            raise self._http.errors.protocol("a list of models that is none")
        entries = [entry for entry in listed[:_MAX_MODELS] if isinstance(entry, dict)]
        return [self._model(str(entry["id"]), entry) for entry in entries if _is_model_id(entry.get("id"))]

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    def _model(self, model: str, entry: Mapping[str, object] | None = None) -> Model:
        entry = entry or {}
        context = self._settings.context_tokens
        for field in _CONTEXT_FIELDS:
            value = entry.get(field)
            if context is None and isinstance(value, int) and 0 < value < 2**31:
                context = value
        name = entry.get("name")
        return Model(
            id=model,
            display_name=shortened(without_surrogates(name), 256) if isinstance(name, str) else "",
            context_tokens=context,
            max_output_tokens=self._settings.max_output_tokens,
        )


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind an OpenAI-compatible server: the entry point `openai-chat`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    return ChatProvider(settings)


def chat_document(request: GenerateRequest, *, model: str, options: ChatOptions) -> dict[str, object]:
    """The JSON document of a request.

    Raises:
        InvalidRequest: `provider_options` has a field that is not the caller's to set.
    """
    messages = [{"role": message.role.value, "content": message.text} for message in request.messages]
    if request.instructions:
        messages.insert(0, {"role": "system", "content": request.instructions})
    document: dict[str, object] = {"model": model, "messages": messages, "stream": True}
    if options.include_usage:
        document["stream_options"] = {"include_usage": True}
    document |= _sampling_fields(request.sampling, max_tokens_field=options.max_tokens_field or "max_tokens")
    for name, value in request.sampling.provider_options.items():
        where = f"generation.provider_options.{name}"
        if name in _TOOLS:
            raise InvalidRequest(where, "tools are not supported")
        if name in _RESERVED or name in document:
            raise InvalidRequest(where, "is set by Headwater or by a field of its own; leave it out")
        document[name] = value
    return document


def _sampling_fields(sampling: Sampling, *, max_tokens_field: str) -> dict[str, object]:
    document: dict[str, object] = {
        max_tokens_field: sampling.max_output_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop": list(sampling.stop_sequences) or None,
        "seed": sampling.seed,
    }
    return {name: value for name, value in document.items() if value is not None}


def _max_tokens_field(base_url: str) -> str:
    return "max_completion_tokens" if urlsplit(base_url).hostname == "api.openai.com" else "max_tokens"


def _is_model_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()
