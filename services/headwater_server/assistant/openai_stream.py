"""The stream of OpenAI's chat completions, and of all the servers that speak it, as events."""

from __future__ import annotations

import json
from collections.abc import Iterator

from headwater_server.assistant.protocol import (
    AbstainReason,
    Event,
    Finished,
    FinishReason,
    Reasoning,
    Text,
    Usage,
)
from headwater_server.assistant.think_tags import ThinkTags
from headwater_server.outgoing.provider_errors import ErrorBody, ProviderErrors
from headwater_server.outgoing.sse import ServerSentEvent
from headwater_server.text import shortened, without_surrogates

_DONE = b"[DONE]"
_MAX_INT = 2**31 - 1

_FINISH = {
    "stop": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "length": FinishReason.MAX_TOKENS,
    "max_tokens": FinishReason.MAX_TOKENS,
    "model_length": FinishReason.CONTEXT_LIMIT,
    "content_filter": FinishReason.CONTENT_FILTER,
}
_TOOL_FINISH = frozenset({"tool_calls", "function_call", "tool_use"})
_BROKEN_FINISH = frozenset({"error", "abort", "insufficient_system_resource"})
"""Reasons by which servers say that they, not the model, ended the text."""


class ChatStream:
    """Reads the events of one answer.

    Attributes:
        done: Whether the protocol's own end, `data: [DONE]`, has come. What comes after it is not looked at.
    """

    def __init__(self, errors: ProviderErrors, *, think_tags: bool = False, ends_without_done: bool = False) -> None:
        """Makes a reader.

        Args:
            errors: Makes the provider's errors.
            think_tags: Whether `<think>` at the start of the text is reasoning.
            ends_without_done: Whether this provider is known to close the stream after its finish reason.
        """
        self.done = False
        self._errors = errors
        self._think_tags = ThinkTags() if think_tags else None
        self._ends_without_done = ends_without_done
        self._finish = ""
        self._stopped_by_text = False
        self._refused = False
        self._usage: Usage | None = None
        self._model = ""

    def feed(self, event: ServerSentEvent) -> list[Event]:
        """Reads one event of the stream.

        Raises:
            ServiceError: It is an error, a tool call, or nothing that the protocol allows.
        """
        if self.done or event.data.strip() == _DONE:
            self.done = True
            return []
        document = self._document(event)
        self._note(document)
        events: list[Event] = []
        for choice in _objects(document.get("choices")):
            if choice.get("index", 0) == 0:  # no other was asked for
                events += self._choice(choice)
        return events

    def finish(self) -> list[Event]:
        """Ends the answer, when the stream is done or its body has ended: `Finished`, after what was held back.

        Raises:
            ServiceError: The stream was cut off (PROVIDER_TRUNCATED).
        """
        if not self.done and not (self._finish and self._ends_without_done):
            raise self._errors.truncated()
        if self._finish in _BROKEN_FINISH:
            raise self._errors.truncated(f"finish reason {self._finish}")
        held: list[Event] = [*self._think_tags.finish()] if self._think_tags else []
        return [*held, self._finished()]

    def _finished(self) -> Finished:
        reason = _FINISH.get(self._finish, FinishReason.UPSTREAM_UNKNOWN)
        if reason is FinishReason.STOP and self._stopped_by_text:
            reason = FinishReason.STOP_SEQUENCE
        if reason is FinishReason.STOP and self._refused:
            declined = AbstainReason.ASSISTANT_DECLINED
            return Finished(FinishReason.ABSTAINED, self._usage, self._model, abstain_reason=declined)
        return Finished(reason, self._usage, self._model)

    def _document(self, event: ServerSentEvent) -> dict[str, object]:
        try:
            document = json.loads(event.data.decode())
        except (ValueError, RecursionError):
            raise self._errors.protocol("an event that is not JSON") from None
        if not isinstance(document, dict):
            raise self._errors.protocol("an event that is not a JSON object")
        if document.get("error") or event.event == "error":
            raise self._errors.in_stream(ErrorBody.of(document))
        return document

    def _note(self, document: dict[str, object]) -> None:
        """Keeps what the end will tell."""
        extra = document.get("x_groq")
        usage = document.get("usage") or (extra.get("usage") if isinstance(extra, dict) else None)
        if isinstance(usage, dict):
            self._usage = _usage(usage)
        model = document.get("model")
        if isinstance(model, str) and model:
            self._model = shortened(without_surrogates(model), 256)

    def _choice(self, choice: dict[str, object]) -> Iterator[Event]:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            if delta.get("tool_calls") or delta.get("function_call"):
                raise self._tool_called()
            yield from self._delta(delta)
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish:
            if finish in _TOOL_FINISH:
                raise self._tool_called()
            self._finish = finish
            self._stopped_by_text = isinstance(choice.get("stop_reason"), str)  # vLLM: the stop sequence it met

    def _delta(self, delta: dict[str, object]) -> Iterator[Event]:
        for thought in (delta.get("reasoning_content"), delta.get("reasoning")):
            if isinstance(thought, str) and thought:
                yield Reasoning(thought)
                break  # servers that send both send the same twice
        content = delta.get("content")
        if isinstance(content, str):
            yield from self._text(content)
        for part in _objects(content):
            yield from self._part(part)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._refused = True
            yield Text(refusal)

    def _part(self, part: dict[str, object]) -> Iterator[Event]:
        """One part of a content that is a list, as Mistral's models send it when they think."""
        if part.get("type") == "thinking":
            for thought in _objects(part.get("thinking")):
                if isinstance(text := thought.get("text"), str) and text:
                    yield Reasoning(text)
        elif isinstance(text := part.get("text"), str):
            yield from self._text(text)

    def _text(self, text: str) -> Iterator[Event]:
        if self._think_tags:
            yield from self._think_tags.feed(text)
        elif text:
            yield Text(text)

    def _tool_called(self) -> Exception:
        return self._errors.protocol("a call of a tool, though it was offered none: tools are not supported")


def _objects(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _usage(usage: dict[str, object]) -> Usage:
    read = _details(usage, "prompt_tokens_details")
    written = _details(usage, "completion_tokens_details")
    cached = _count(read.get("cached_tokens"))
    return Usage(
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        cached_input_tokens=_count(usage.get("prompt_cache_hit_tokens")) if cached is None else cached,
        reasoning_tokens=_count(written.get("reasoning_tokens")),
    )


def _details(usage: dict[str, object], name: str) -> dict[str, object]:
    details = usage.get(name)
    return details if isinstance(details, dict) else {}


def _count(value: object) -> int | None:
    """A count of tokens, or None for whatever is not one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MAX_INT:
        return None
    return int(value)
