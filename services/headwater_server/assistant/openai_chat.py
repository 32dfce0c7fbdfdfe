"""Assistants behind OpenAI's chat completions.

Many servers speak the same: vLLM, llama.cpp, LM Studio, Groq, DeepSeek, OpenRouter and more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from urllib.parse import urlsplit

from headwater_server.assistant.continuing import CONTINUES, WithoutEcho, ask_to_go_on, tokens_left
from headwater_server.assistant.openai_stream import ChatStream
from headwater_server.assistant.protocol import (
    Event,
    GenerateRequest,
    Model,
    Provider,
    ProviderSettings,
    Sampling,
)
from headwater_server.assistant.provider_stream import AnswerReader, answered, client_of
from headwater_server.assistant.request_fields import (
    SAMPLING_FIELDS,
    present,
    refuse_lacking,
    with_nested,
    with_options,
)
from headwater_server.assistant.wire_json import count, is_model_id, label, table
from headwater_server.outgoing.http import HttpClient
from headwater_server.outgoing.sse import EventParser, ServerSentEvent

OPENAI_URL = "https://api.openai.com/v1"

_MAX_MODELS = 10_000
_RESERVED = frozenset({"n", "stream_options"})
_ONE_MODEL = "llamacpp"
"""Who owns the model of a llama.cpp server, which answers for it under every name."""
_META_FIELDS = ("n_ctx", "n_ctx_train")
"""Where llama.cpp says how large a request's context is, and older ones how large the model's could be."""
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
    seed_field: str = ""
    """What the server calls the seed. Empty: `seed`."""
    lacks: tuple[str, ...] = ()
    """The settings of a request that the server has not, or is known to ignore, of `SAMPLING_FIELDS`: refused."""
    require_parameters: bool = False
    """Whether a router is told to ask only providers that know the settings of a request; OpenRouter's would drop them
    otherwise, without a word."""
    continues: str = ""
    """How the server goes on from a part of an answer, one of `CONTINUES`. Empty: it does not."""

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
            if key == "lacks":
                if not isinstance(value, Sequence) or not all(field in SAMPLING_FIELDS for field in value):
                    raise ValueError(f"assistants.{provider}.lacks: must be a list of {', '.join(SAMPLING_FIELDS)}")
            elif type(value) is not kinds[key]:
                raise ValueError(f"assistants.{provider}.{key}: must be of type {kinds[key].__name__}")
        if options.get("continues", "") not in {"", *CONTINUES}:
            raise ValueError(f"assistants.{provider}.continues: must be one of {', '.join(CONTINUES)}")
        return cls(**{**options, "lacks": tuple(options.get("lacks", ()))})  # type: ignore[arg-type]  # each value's type was checked above


class ChatAssistant:
    """One model at one server."""

    def __init__(self, model: Model, http: HttpClient, options: ChatOptions, *, name: str) -> None:
        self.model = model
        self._name = name
        self._http = http
        self._options = options

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`."""
        options, errors = self._options, self._http.errors
        reader: AnswerReader[ServerSentEvent] = ChatStream(
            errors,
            think_tags=options.think_tags and not request.prefix,  # text has begun: the thinking is over
            ends_without_done=options.ends_without_done,
        )
        if options.continues == "mistral":
            reader = WithoutEcho(reader, prefix=request.prefix, errors=errors)
        refuse_lacking(request.sampling, options.lacks, provider=self._name)
        document = chat_document(request, model=self.model.id, options=options)
        return answered(self._http, "/chat/completions", document, parser=EventParser(), reader=reader)


class ChatProvider:
    """One server, and the models behind it."""

    def __init__(self, settings: ProviderSettings, *, lacks: Sequence[str] = ()) -> None:
        """Makes the provider; connects to nothing yet.

        Args:
            settings: The provider's settings.
            lacks: What the API has not, whatever the settings say; theirs is added to it.

        Raises:
            ValueError: A setting is not as it must be.
        """
        base_url = settings.base_url or OPENAI_URL
        chosen = ChatOptions.of(settings.options, provider=settings.name)
        field = chosen.max_tokens_field or _max_tokens_field(base_url)
        self._options = replace(chosen, max_tokens_field=field, lacks=(*lacks, *chosen.lacks))
        self._settings = settings
        self._listed: Mapping[str, Model] = {}  # what the server said of its models when it was last asked
        self._only: Mapping[str, object] = {}  # what a server says of its only model, by whatever name it is asked for
        self._http = client_of(settings, base_url)

    def assistant(self, model: str) -> ChatAssistant:
        """The assistant of a model, whether the server knows it or not."""
        return ChatAssistant(
            self._listed.get(model) or self._model(model, self._only),
            self._http,
            self._options,
            name=self._settings.name,
        )

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
        models = [self._model(str(entry["id"]), entry) for entry in entries if is_model_id(entry.get("id"))]
        self._listed = {model.id: model for model in models}
        self._only = entries[0] if len(entries) == 1 and entries[0].get("owned_by") == _ONE_MODEL else {}
        return models

    async def warm(self) -> None:
        """Opens a connection for the next request; sends nothing."""
        await self._http.warm()

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    def _model(self, model: str, entry: Mapping[str, object]) -> Model:
        return Model(
            id=model,
            display_name=label(entry.get("name")),
            context_tokens=self._settings.context_tokens or listed_context(entry),
            max_output_tokens=self._settings.max_output_tokens,
            continues_prefix=bool(self._options.continues),
        )


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind an OpenAI-compatible server: the entry point `openai-chat`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    return ChatProvider(settings)


def listed_context(entry: Mapping[str, object]) -> int | None:
    """How many tokens a model's context holds, as a list of models says it; None where it says nothing of it."""
    said = [*(entry.get(field) for field in _CONTEXT_FIELDS), *map(table(entry.get("meta")).get, _META_FIELDS)]
    return next((size for size in map(count, said) if size), None)


def chat_document(request: GenerateRequest, *, model: str, options: ChatOptions) -> dict[str, object]:
    """The JSON document of a request.

    Raises:
        InvalidRequest: `provider_options` has a field that is not the caller's to set.
    """
    messages: list[dict[str, object]] = [
        {"role": message.role.value, "content": message.text} for message in request.messages
    ]
    if request.instructions:
        messages.insert(0, {"role": "system", "content": request.instructions})
    document: dict[str, object] = {"model": model, "messages": messages, "stream": True}
    if options.include_usage:
        document["stream_options"] = {"include_usage": True}
    sampling = replace(
        request.sampling, max_output_tokens=tokens_left(request.sampling.max_output_tokens, request.prefix)
    )
    settings = _sampling_fields(sampling, options)
    document |= settings
    if request.prefix:
        document |= ask_to_go_on(messages, request.prefix, way=options.continues)
    more = dict(request.sampling.provider_options)
    if options.require_parameters and settings:
        document["provider"] = with_nested({"require_parameters": True}, more.pop("provider", {}), field="provider")
    return with_options(document, more, reserved=_RESERVED)


def _sampling_fields(sampling: Sampling, options: ChatOptions) -> dict[str, object]:
    document: dict[str, object] = {
        options.max_tokens_field or "max_tokens": sampling.max_output_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop": list(sampling.stop_sequences) or None,
        options.seed_field or "seed": sampling.seed,
    }
    return present(document)


def _max_tokens_field(base_url: str) -> str:
    return "max_completion_tokens" if urlsplit(base_url).hostname == "api.openai.com" else "max_tokens"
