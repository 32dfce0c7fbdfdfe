"""Assistants behind OpenAI's Responses API, which other servers speak too.

https://platform.openai.com/docs/api-reference/responses-streaming. Nothing is stored there. The API takes no documents
to cite, so that our sources are cited by markers; a page that the provider's own search cites is converted where a
presented source is the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence

from headwater_server.assistant.openai_chat import OPENAI_URL, listed_context
from headwater_server.assistant.presented import PresentedSources
from headwater_server.assistant.protocol import (
    AbstainReason,
    CitationStyle,
    Cite,
    Event,
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
from headwater_server.assistant.request_fields import present, refuse_seed, with_options
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
from headwater_server.outgoing.http import HttpClient
from headwater_server.outgoing.provider_errors import ErrorBody, ProviderErrors
from headwater_server.outgoing.sse import EventParser, ServerSentEvent

_RESERVED = frozenset(
    {"background", "conversation", "instructions", "previous_response_id", "prompt", "stream_options"}
)
_TOOL_CALLS = frozenset(
    {"apply_patch_call", "computer_call", "custom_tool_call", "function_call", "local_shell_call", "shell_call"}
)
"""Kinds of output that wait for the caller; what the provider's own tools do is none of them."""
_DONE = b"[DONE]"
_MAX_EVENT_BYTES = 8 << 20
"""The last event repeats all of the answer, with what the provider's own tools have found."""
_INCOMPLETE = {"max_output_tokens": FinishReason.MAX_TOKENS, "content_filter": FinishReason.CONTENT_FILTER}


class ResponseStream:
    """Reads the events of one answer.

    Attributes:
        done: Whether the response is completed, or incomplete for a reason of its own.
    """

    def __init__(
        self, errors: ProviderErrors, sources: Sequence[Source] = (), *, max_output_tokens: int | None = None
    ) -> None:
        """Makes a reader.

        Args:
            errors: Makes the provider's errors.
            sources: The sources of the request.
            max_output_tokens: The limit of the request. An answer that has used it up was ended by it, also where the
                server calls it completed, as llama.cpp does.
        """
        self.done = False
        self._errors = errors
        self._limit = max_output_tokens
        self._sources = PresentedSources(sources)
        self._text = AnswerText()
        self._open: set[int] = set()  # the blocks that have begun and not ended
        self._refused = False
        self._response: Table = {}

    def feed(self, event: ServerSentEvent) -> list[Event]:
        """Reads one event of the stream.

        Raises:
            ServiceError: It is an error, a tool call, or nothing that the protocol allows.
        """
        document = {} if event.data.strip() == _DONE else table_of_event(event, self._errors)
        kind = string(document.get("type")) or event.event
        if kind.endswith(".delta"):
            return self._delta(kind, document)
        match kind:
            case "response.output_text.done" | "response.refusal.done" | "response.content_part.done":
                return self._part(document, _part_of(document, kind))
            case "response.output_text.annotation.added":
                return self._cited(document, table(document.get("annotation")))
            case "response.output_item.added" | "response.output_item.done":
                return self._item(kind, document, table(document.get("item")))
            case "response.completed" | "response.incomplete" | "response.failed":
                return self._end(kind, table(document.get("response")))
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
        return [*([Text(rest)] if rest else []), self._finished()]

    def _end(self, kind: str, response: Table) -> list[Event]:
        """Ends the response, unless it says of itself that it is none: some servers call that completed, too."""
        error, status = response.get("error"), response.get("status")
        if error or kind == "response.failed" or status in ("cancelled", "failed"):
            raise self._errors.in_stream(ErrorBody.of({"error": error or "the response failed"}))
        self._response = response
        self.done = True
        return self._rest(response)

    def _finished(self) -> Finished:
        response = self._response
        why = string(table(response.get("incomplete_details")).get("reason"))
        reason = FinishReason.STOP if response.get("status") == "completed" else FinishReason.UPSTREAM_UNKNOWN
        reason = _INCOMPLETE.get(why, FinishReason.UPSTREAM_UNKNOWN) if why else reason
        usage, model = _usage(table(response.get("usage"))), label(response.get("model"))
        if reason is FinishReason.STOP and self._limit and usage and (usage.output_tokens or 0) >= self._limit:
            reason = FinishReason.MAX_TOKENS
        if reason is FinishReason.STOP and self._refused:
            return Finished(FinishReason.ABSTAINED, usage, model, abstain_reason=AbstainReason.ASSISTANT_DECLINED)
        return Finished(reason, usage, model)

    def _delta(self, kind: str, document: Table) -> list[Event]:
        delta = string(document.get("delta"))
        if kind in {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}:
            return [Reasoning(delta)] if delta else []
        if kind not in {"response.output_text.delta", "response.refusal.delta"}:
            return []  # what the provider's own tools are asked and say
        self._refused = self._refused or kind == "response.refusal.delta"
        return self._piece(document, delta)

    def _item(self, kind: str, document: Table, item: Table) -> list[Event]:
        """An item of the output. One that has ended repeats all of its text."""
        if string(item.get("type")) in _TOOL_CALLS:
            raise self._errors.tool_called()
        if not kind.endswith(".done") or item.get("type") != "message":
            return []
        output = document.get("output_index")
        return [
            event
            for place, part in enumerate(tables(item.get("content")))
            for event in self._part({"output_index": output, "content_index": place}, part)
        ]

    def _part(self, document: Table, part: Table) -> list[Event]:
        """A part of an output's content that has ended."""
        whole = _words(part)
        self._refused = self._refused or (bool(whole) and part.get("type") == "refusal")
        return self._whole(document, whole)

    def _whole(self, document: Table, whole: str) -> list[Event]:
        """A block of the text that has ended: what of it was not sent before. Some servers send no pieces at all.

        Raises:
            ServiceError: It is not what was sent of it, which cannot be taken back (PROVIDER_PROTOCOL).
        """
        block = _block(document)
        said = self._text.since(block)
        if not said and len(self._open) == 1 and self._text.since(next(iter(self._open))) == whole:
            self._open.clear()  # its pieces were numbered otherwise
            return []
        self._open.discard(block)
        if whole.startswith(said):
            return self._piece(document, whole[len(said) :])
        if whole.strip() not in said:
            raise self._errors.protocol("a text that is not the one it had sent in pieces")
        return []

    def _rest(self, response: Table) -> list[Event]:
        """What the whole response has and was not sent before: all, where a server sends it at the end alone.

        Raises:
            ServiceError: It is not what was sent (PROVIDER_PROTOCOL).
        """
        items = [item for item in tables(response.get("output")) if item.get("type") == "message"]
        parts = [part for item in items for part in tables(item.get("content"))]
        words = [_words(part) for part in parts]
        self._refused = self._refused or any(_words(part) for part in parts if part.get("type") == "refusal")
        said, whole = self._text.whole(), "".join(words)
        if whole.startswith(said):
            text = self._text.add(whole[len(said) :])
            return [Text(text)] if text else []
        if not all(each.strip() in said for each in words):
            raise self._errors.protocol("an answer that is not the one it had sent in pieces")
        return []

    def _piece(self, document: Table, text: str) -> list[Event]:
        block = _block(document)
        if self._text.begin(block):
            self._open.add(block)
        text = self._text.add(text)
        return [Text(text)] if text else []

    def _cited(self, document: Table, annotation: Table) -> list[Event]:
        start, end = index(annotation.get("start_index")), index(annotation.get("end_index"))
        evidence = self._sources.of_page(uri=string(annotation.get("url")))
        span = self._text.in_characters(start, end, words="", block=_block(document)) if evidence else None
        return [Cite(*span, evidence)] if span else []


class ResponsesAssistant:
    """One model at one server."""

    def __init__(self, model: Model, http: HttpClient) -> None:
        self.model = model
        self._http = http

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`."""
        document = response_document(request, model=self.model.id)
        limit = request.sampling.max_output_tokens
        reader = ResponseStream(self._http.errors, request.sources, max_output_tokens=limit)
        parser = EventParser(max_event_bytes=_MAX_EVENT_BYTES)
        return answered(self._http, "/responses", document, parser=parser, reader=reader)


class ResponsesProvider:
    """One server, and the models behind it."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Makes the provider; connects to nothing yet.

        Raises:
            ValueError: A setting is not as it must be.
        """
        ProviderOptions("openai-responses", settings).refuse_others()
        self._settings = settings
        self._listed: Mapping[str, Model] = {}  # what the server said of its models when it was last asked
        self._http = client_of(settings, settings.base_url or OPENAI_URL)

    def assistant(self, model: str) -> ResponsesAssistant:
        """The assistant of a model, whether the server knows it or not."""
        return ResponsesAssistant(self._listed.get(model) or self._model(model, {}), self._http)

    async def models(self) -> Sequence[Model]:
        """The models that the server lists.

        Raises:
            ServiceError: It cannot be reached, or does not list them.
        """
        document = table(await self._http.get_json("/models"))
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
        settings = self._settings
        return Model(
            model,
            context_tokens=settings.context_tokens or listed_context(entry),
            max_output_tokens=settings.max_output_tokens,
            citations=CitationStyle.BOTH,
        )


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind a Responses API: the entry point `openai-responses`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    return ResponsesProvider(settings)


def response_document(request: GenerateRequest, *, model: str) -> Mapping[str, object]:
    """The JSON document of a request.

    Raises:
        InvalidRequest: A sampling setting is one that the API has not, or a field is not the caller's to set.
    """
    sampling = request.sampling
    refuse_seed(sampling.seed, provider="the Responses API")
    if sampling.stop_sequences:
        raise InvalidRequest("generation.stop_sequences", "the Responses API has none; leave them out")
    document = {
        "model": model,
        "input": [{"role": message.role.value, "content": message.text} for message in request.messages],
        "stream": True,
        "store": False,
        **present(
            {
                "instructions": request.instructions or None,
                "max_output_tokens": sampling.max_output_tokens,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
            }
        ),
    }
    return with_options(document, sampling.provider_options, reserved=_RESERVED)


def _block(document: Table) -> int:
    """One number for a part of an output's content."""
    return (max(index(document.get("output_index")), 0) << 16) + max(index(document.get("content_index")), 0)


def _part_of(document: Table, kind: str) -> Table:
    """The part of an output's content that an event repeats: it stands in the event, or is the event."""
    if kind == "response.refusal.done":
        return {**document, "type": "refusal"}
    return table(document.get("part")) or document


def _words(part: Table) -> str:
    """What a part of an output's content says."""
    return string(part.get("refusal") if part.get("type") == "refusal" else part.get("text"))


def _usage(usage: Table) -> Usage | None:
    if not usage:
        return None
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cached_input_tokens=count(table(usage.get("input_tokens_details")).get("cached_tokens")),
        reasoning_tokens=count(table(usage.get("output_tokens_details")).get("reasoning_tokens")),
    )
