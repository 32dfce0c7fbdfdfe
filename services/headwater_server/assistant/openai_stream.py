"""The stream of OpenAI's chat completions, and of all the servers that speak it, as events."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

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
from headwater_server.assistant.wire_json import Table, count, label, table, table_of_event, tables
from headwater_server.outgoing.provider_errors import ErrorBody, ProviderErrors
from headwater_server.outgoing.sse import ServerSentEvent

_DONE = b"[DONE]"

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
        self._answered = False
        self._finish = ""
        self._stopped_by_text = False
        self._refused = False
        self._said = StringIO()
        self._is_whole = False  # whether the whole answer has come in one message
        self._thought = False
        self._usage: Usage | None = None
        self._model = ""
        self._named: object = None

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
        for choice in tables(document.get("choices")):
            if choice.get("index") in (0, None):  # no other was asked for, and some servers leave it out
                events += self._choice(choice)
        return events

    def finish(self) -> list[Event]:
        """Ends the answer, when the stream is done or its body has ended: `Finished`, after what was held back.

        Raises:
            ServiceError: The stream was cut off (PROVIDER_TRUNCATED), or had an end and was no answer
                (PROVIDER_PROTOCOL).
        """
        if not self.done and not (self._finish and self._ends_without_done):
            raise self._errors.truncated()
        if not self._answered:
            raise self._errors.protocol("the end of an answer without anything of an answer before it")
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

    def _document(self, event: ServerSentEvent) -> Table:
        document = table_of_event(event, self._errors)
        if document.get("error") or document.get("object") == "error":
            raise self._errors.in_stream(ErrorBody.of(document))
        return document

    def _note(self, document: Table) -> None:
        """Keeps what the end will tell."""
        usage = document.get("usage") or table(document.get("x_groq")).get("usage")
        if isinstance(usage, dict):
            self._usage = _usage(usage)
        named = document.get("model")
        if named != self._named:  # they say it with each token
            self._named = named
            self._model = label(named) or self._model
        self._answered = self._answered or "choices" in document

    def _choice(self, choice: Table) -> Iterator[Event]:
        if choice.get("error"):  # where a router's own provider fails, it says so in the choice
            raise self._errors.in_stream(ErrorBody.of(choice))
        delta, finish = choice.get("delta"), choice.get("finish_reason")
        if isinstance(delta, dict):
            yield from self._delta(delta)
        if not isinstance(delta, dict) or (finish and not self._said.tell()):
            yield from self._whole(choice)
        if isinstance(finish, str) and finish:
            if finish in _TOOL_FINISH:
                raise self._errors.tool_called()
            self._finish = finish
            self._stopped_by_text = isinstance(choice.get("stop_reason"), str)  # vLLM: the stop sequence it met

    def _delta(self, delta: Table) -> Iterator[Event]:
        """A piece of the answer."""
        if delta.get("tool_calls") or delta.get("function_call"):
            raise self._errors.tool_called()
        for thought in (delta.get("reasoning_content"), delta.get("reasoning")):
            if isinstance(thought, str) and thought:
                self._thought = True
                yield Reasoning(thought)
                break  # servers that send both send the same twice
        if isinstance(content := delta.get("content"), str):
            yield from self._text(content)
        elif content:
            yield from self._content(content)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._refused = True
            yield from self._content(refusal)

    def _whole(self, choice: Table) -> Iterator[Event]:
        """What stands in a choice in place of a piece: a message, or text as the older completions have it.

        A message is the whole answer, as servers send it that do not stream, or that repeat it at the end.

        Raises:
            ServiceError: It is not what came before it, which cannot be taken back (PROVIDER_PROTOCOL).
        """
        message = choice.get("message")
        if not isinstance(message, dict):
            yield from self._content(choice.get("text") or "")
            return
        said, content = self._said.getvalue(), message.get("content")
        if not said:
            again = {"reasoning_content": None, "reasoning": None} if self._thought else {}
            yield from self._delta({**message, **again})
            self._is_whole = bool(self._said.tell())
        elif isinstance(content, str) and content.startswith(said) and not self._is_whole:
            yield from self._content(content[len(said) :])
            self._is_whole = True
        elif content and not (isinstance(content, str) and content.strip() in said and not self._is_whole):
            raise self._errors.protocol("a message that is not the text before it")

    def _content(self, content: object) -> Iterator[Event]:
        """Text, or parts of it.

        Raises:
            ServiceError: It is neither, or comes after the whole of it (PROVIDER_PROTOCOL).
        """
        if isinstance(content, str):
            yield from self._text(content)
            return
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, dict):
                yield from self._part(part)
            elif isinstance(part, str):
                yield from self._text(part)
            else:
                raise self._errors.protocol("a text that is none")

    def _part(self, part: Table) -> Iterator[Event]:
        """One part of a content that is a list, as Mistral's models send it when they think."""
        if part.get("type") == "thinking":
            for thought in tables(part.get("thinking")):
                if isinstance(text := thought.get("text"), str) and text:
                    yield Reasoning(text)
        elif isinstance(text := part.get("text"), str):
            yield from self._text(text)

    def _text(self, text: str) -> Iterator[Event]:
        if self._is_whole and text:
            raise self._errors.protocol("more text after the whole of it")
        self._said.write(text)
        if self._think_tags:
            yield from self._think_tags.feed(text)
        elif text:
            yield Text(text)


def _usage(usage: Table) -> Usage:
    read = table(usage.get("prompt_tokens_details"))
    written = table(usage.get("completion_tokens_details"))
    cached = count(read.get("cached_tokens"))
    return Usage(
        input_tokens=count(usage.get("prompt_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
        cached_input_tokens=count(usage.get("prompt_cache_hit_tokens")) if cached is None else cached,
        reasoning_tokens=count(written.get("reasoning_tokens")),
    )
