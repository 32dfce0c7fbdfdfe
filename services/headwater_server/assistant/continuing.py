"""Going on from a part of an answer, at providers that take one as the last message of the conversation.

Every such provider is asked in its own way; what it is asked, and that a part is not taken for a turn that has ended,
is all that differs. Anything else in its stream is as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic

from headwater_server.assistant.budget import estimated_tokens
from headwater_server.assistant.protocol import Event, Text
from headwater_server.assistant.provider_stream import AnswerReader, ItemT_contra
from headwater_server.outgoing.provider_errors import ProviderErrors

CONTINUES = ("llama.cpp", "mistral", "prefix-flag", "vllm")
"""How a server of chat completions goes on. `llama.cpp` does wherever the last message is the assistant's; `vllm` where
the fields `continue_final_message` and `add_generation_prompt` say so, as SGLang and newer llama.cpp do too;
`prefix-flag` where that message has `prefix: true`, as at DeepSeek's beta; `mistral` the same, and the part comes back
at the beginning of its answer."""


def ask_to_go_on(messages: list[dict[str, object]], prefix: str, *, way: str) -> dict[str, object]:
    """Makes of the messages of a chat completion ones to go on from.

    Args:
        messages: The conversation; what the assistant has said is added to it.
        prefix: That.
        way: One of `CONTINUES`.

    Returns:
        The fields of the request that have to say so.
    """
    said: dict[str, object] = {"role": "assistant", "content": prefix}
    if way in {"prefix-flag", "mistral"}:
        said["prefix"] = True
    messages.append(said)
    if way == "vllm":
        return {"add_generation_prompt": False, "continue_final_message": True}
    if way == "llama.cpp":
        return {"echo": False}  # as it is by default
    return {}


def tokens_left(limit: int | None, prefix: str) -> int | None:
    """What is left of a limit of tokens for the whole answer: at least one, or the answer would have ended.

    The tokens of the prefix are estimated, because nobody has counted them.
    """
    if limit is None or not prefix:
        return limit
    return max(limit - estimated_tokens(prefix), 1)


class WithoutEcho(Generic[ItemT_contra]):
    """A reader that takes out of an answer what was said before, where the provider says it again."""

    def __init__(self, reader: AnswerReader[ItemT_contra], *, prefix: str, errors: ProviderErrors) -> None:
        """Makes a reader of another's events.

        Args:
            reader: Reads the answer.
            prefix: What was said.
            errors: Makes the provider's errors.
        """
        self._reader = reader
        self._left = prefix
        self._errors = errors

    @property
    def done(self) -> bool:
        """See `AnswerReader.done`."""
        return self._reader.done

    def feed(self, item: ItemT_contra, /) -> Iterator[Event]:
        """Reads one item.

        Raises:
            ServiceError: As the other reader raises it; or the provider says something else than before
                (PROVIDER_PROTOCOL).
        """
        return self._new(self._reader.feed(item))

    def finish(self) -> Iterator[Event]:
        """Ends the answer; raises as `feed` does."""
        return self._new(self._reader.finish())

    def _new(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            if not self._left:
                yield event
                continue
            said = event.text if isinstance(event, Text) else ""
            size = min(len(said), len(self._left))
            if not size or said[:size] != self._left[:size]:
                raise self._errors.protocol("an answer that does not begin with the part that it was to go on from")
            self._left = self._left[size:]
            if len(said) > size:
                yield Text(said[size:])
