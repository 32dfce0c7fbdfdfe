"""How an answer ended and what it cost, as its provider says, or estimated where it does not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headwater_server.assistant.budget import BYTES_A_TOKEN, estimated_tokens
from headwater_server.assistant.protocol import (
    Event,
    Finished,
    FinishReason,
    GenerateRequest,
    Reasoning,
    Text,
    Usage,
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended."""

    assistant: str
    """The whole name of the assistant that gave it."""
    finished: Finished
    usage: Usage
    """The tokens, reported or estimated."""
    reported: bool
    """Whether the provider counted them."""
    partial: bool = False
    """Whether the answer was left before its provider had ended it, so that it may have cost more."""


class Meter:
    """Counts what goes in and comes out, for providers that do not say what it cost."""

    def __init__(self, request: GenerateRequest) -> None:
        """Makes a meter of one answer.

        Args:
            request: What is asked. A prefix counts as written.
        """
        self._input = estimated_tokens(request.instructions) + sum(
            estimated_tokens(message.text) for message in request.messages
        )
        self._text_bytes = _size(request.prefix)
        self._reasoning_bytes = 0

    def see(self, event: Event) -> None:
        """Counts what the assistant has sent."""
        if isinstance(event, Text):
            self._text_bytes += _size(event.text)
        elif isinstance(event, Reasoning):
            self._reasoning_bytes += _size(event.text)

    def ending(self, assistant: str, finished: Finished | None, *, cut: bool) -> Ending:
        """The ending, whether the assistant has said so or the text was cut at its limit.

        Args:
            assistant: The assistant's whole name.
            finished: Its last event. None: it has sent none.
            cut: Whether the text has reached its limit.

        Raises:
            RuntimeError: The assistant has a defect: it ended without saying so, and was not cut.
        """
        if finished is None:
            if not cut:
                raise RuntimeError(f"{assistant} ended its stream without Finished")
            return Ending(assistant, Finished(FinishReason.MAX_TOKENS), self._estimate(), reported=False, partial=True)
        if cut:
            finished = replace(finished, reason=FinishReason.MAX_TOKENS, abstain_reason=None)
        if finished.usage is None or (finished.usage.input_tokens is None and finished.usage.output_tokens is None):
            return Ending(assistant, finished, self._estimate(), reported=False)
        return Ending(assistant, finished, finished.usage, reported=True)

    def _estimate(self) -> Usage:
        reasoning = -(-self._reasoning_bytes // BYTES_A_TOKEN)
        written = -(-self._text_bytes // BYTES_A_TOKEN) + reasoning
        return Usage(self._input, written, reasoning_tokens=reasoning or None)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
