"""Assistants behind Ollama's `/api/chat`.

https://docs.ollama.com/api/chat: one JSON object a line, the last with `"done": true`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

import anyio

from headwater_server.assistant.protocol import (
    Event,
    Finished,
    FinishReason,
    GenerateRequest,
    Model,
    Provider,
    ProviderSettings,
    Reasoning,
    Text,
    Usage,
)
from headwater_server.assistant.provider_options import ProviderOptions
from headwater_server.assistant.provider_stream import answered, client_of
from headwater_server.assistant.request_fields import present, with_nested, with_options
from headwater_server.assistant.wire_json import Table, count, is_model_id, label, string, table, table_of, tables
from headwater_server.errors import ServiceError
from headwater_server.outgoing.http import HttpClient
from headwater_server.outgoing.ndjson import LineParser
from headwater_server.outgoing.provider_errors import ErrorBody, ProviderErrors

OLLAMA_URL = "http://127.0.0.1:11434"
_LOOKS_AT_ONCE = 4
_MOST_LOOKS = 64
_RESERVED = frozenset({"prompt", "system", "template", "raw", "context"})
_ANSWERING = frozenset({"done", "message", "response"})
"""A line of an answer has at least one of these."""
_FINISH = {"stop": FinishReason.STOP, "length": FinishReason.MAX_TOKENS}


class LineStream:
    """Reads the lines of one answer, of `/api/chat` or of `/api/generate`, whose text stands elsewhere.

    Attributes:
        done: Whether the line with `"done": true` has come.
    """

    def __init__(self, errors: ProviderErrors) -> None:
        self.done = False
        self._errors = errors
        self._last: Table = {}
        self._read_past = False

    def feed(self, line: bytes) -> list[Event]:
        """Reads one line.

        Raises:
            ServiceError: It is an error, a tool call, or nothing that the protocol allows.
        """
        document = table_of(line, self._errors)
        if document.get("error"):
            raise self._errors.in_stream(ErrorBody.of(document))
        if _ANSWERING.isdisjoint(document):
            self._read_past = True
            return []
        message = table(document.get("message")) or document
        if message.get("tool_calls"):
            raise self._errors.tool_called()
        self._last = document
        self.done = document.get("done") is True
        thought = string(message.get("thinking"))
        text = string(message.get("content")) or string(message.get("response"))
        return [*([Reasoning(thought)] if thought else []), *([Text(text)] if text else [])]

    def finish(self) -> list[Event]:
        """Ends the answer.

        Ollama closes the connection without a word when it is stopped or fails, so that an end between two lines says
        nothing about the text: it may be whole.

        Raises:
            ServiceError: There was not even a line (PROVIDER_TRUNCATED), or none was of an answer (PROVIDER_PROTOCOL).
        """
        if not self._last:
            raise self._errors.protocol("no answer") if self._read_past else self._errors.truncated()
        reason = _FINISH.get(string(self._last.get("done_reason")), FinishReason.UPSTREAM_UNKNOWN)
        model = label(self._last.get("model"))
        return [Finished(reason if self.done else FinishReason.UPSTREAM_UNKNOWN, _usage(self._last), model)]


class OllamaAssistant:
    """One model."""

    def __init__(self, model: Model, http: HttpClient, *, num_ctx: int | None) -> None:
        self.model = model
        self._http = http
        self._num_ctx = num_ctx

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`."""
        document = chat_document(request, model=self.model.id, num_ctx=self._num_ctx)
        reader = LineStream(self._http.errors)
        accept = "application/x-ndjson"
        return answered(self._http, "/api/chat", document, parser=LineParser(), reader=reader, accept=accept)


class OllamaProvider:
    """One server, and the models it has."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Makes the provider; connects to nothing yet.

        Raises:
            ValueError: A setting is not as it must be.
        """
        ProviderOptions("ollama", settings).refuse_others()
        self._settings = settings
        self._contexts: dict[str, int | None] = {}  # of models, by name
        self._shown: dict[tuple[str, str], int | None] = {}  # of what has been looked at, by name and digest
        self._http = client_of(settings, settings.base_url or OLLAMA_URL)

    def assistant(self, model: str) -> OllamaAssistant:
        """The assistant of a model, whether the server has it or not."""
        return OllamaAssistant(self._model(model), self._http, num_ctx=self._settings.context_tokens)

    async def models(self) -> Sequence[Model]:
        """The models that the server has, with their contexts.

        Raises:
            ServiceError: It cannot be reached, or does not list them.
        """
        document = table(await self._http.get_json("/api/tags"))
        entries = [entry for entry in tables(document.get("models")) if is_model_id(entry.get("name"))]
        found = [(str(entry["name"]), string(entry.get("digest"))) for entry in entries]
        if self._settings.context_tokens is None:
            await self._look_at(found)
        return [self._model(name) for name, _ in found]

    async def _look_at(self, found: Sequence[tuple[str, str]]) -> None:
        """Asks for the contexts of models that have not been looked at yet, a few at a time."""
        one_of_few = anyio.CapacityLimiter(_LOOKS_AT_ONCE)
        self._shown = {key: self._shown[key] for key in found if key in self._shown}

        async def look(key: tuple[str, str]) -> None:
            async with one_of_few:
                with suppress(ServiceError):  # without it its context is unknown, as before
                    self._shown[key] = _context(table(await self._http.post_json("/api/show", {"model": key[0]})))

        async with anyio.create_task_group() as tasks:
            for key in [key for key in found if key not in self._shown][:_MOST_LOOKS]:
                tasks.start_soon(look, key)
        self._contexts = {name: context for (name, _), context in self._shown.items()}

    async def warm(self) -> None:
        """Opens a connection for the next request; sends nothing."""
        await self._http.warm()

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    def _model(self, model: str) -> Model:
        settings = self._settings
        known = self._contexts.get(model, self._contexts.get(f"{model}:latest"))
        return Model(
            model, context_tokens=settings.context_tokens or known, max_output_tokens=settings.max_output_tokens
        )


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind Ollama: the entry point `ollama`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    return OllamaProvider(settings)


def chat_document(request: GenerateRequest, *, model: str, num_ctx: int | None) -> dict[str, object]:
    """The JSON document of a request.

    A context that the settings name is asked for, as Ollama would otherwise take a small one; one that the model could
    have is not, as it may be more than there is memory for. By default it drops the
    beginning of a prompt that does not fit, or of the answer when the two are too long together, without a word; it is
    told to refuse the one and to end the other.

    Raises:
        InvalidRequest: `provider_options` has a field that is not the caller's to set.
    """
    sampling = request.sampling
    messages = [{"role": message.role.value, "content": message.text} for message in request.messages]
    if request.instructions:
        messages.insert(0, {"role": "system", "content": request.instructions})
    options = present(
        {
            "num_predict": sampling.max_output_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stop": list(sampling.stop_sequences) or None,
            "seed": sampling.seed,
            "num_ctx": num_ctx,
        }
    )
    more = dict(sampling.provider_options)
    options = with_nested(options, more.pop("options", {}), field="options")
    document: dict[str, object] = {
        "model": model,
        "messages": messages,
        "stream": True,
        "truncate": False,
        "shift": False,
    }
    document = with_options(document, more, reserved=_RESERVED)
    return {**document, "options": options} if options else document


def _context(shown: Table) -> int | None:
    """How many tokens a model's context holds: what its file asks for, or else what it was made for at most."""
    asked = re.search(r"^num_ctx\s+(\d+)\s*$", string(shown.get("parameters")), re.MULTILINE)
    if asked:
        return count(int(asked[1]))
    made_for = (value for name, value in table(shown.get("model_info")).items() if name.endswith(".context_length"))
    return count(next(made_for, None))


def _usage(line: Table) -> Usage | None:
    """What the last line counts; a prompt that was in Ollama's cache is left out of it."""
    read, written = count(line.get("prompt_eval_count")), count(line.get("eval_count"))
    return None if written is None else Usage(read, written)
