"""What fits into a model's context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headwater_server.assistant.prompts import Prompt
from headwater_server.assistant.protocol import Message, Model, Role, Source
from headwater_server.errors import Reason, ServiceError

BYTES_A_TOKEN = 4
_MESSAGE_TOKENS = 4
_DEFAULT_OUTPUT_SHARE = 4
"""Where nobody says how much is to be written, a quarter of the context is kept for it."""
_MAX_DEFAULT_OUTPUT = 4096


def estimated_tokens(text: str) -> int:
    """Tokens of a text, estimated at 4 bytes of UTF-8 each, rounded up."""
    return -(-len(text.encode()) // BYTES_A_TOKEN)


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """A prompt, and what is in it."""

    prompt: Prompt
    sources: Sequence[Source]
    history: Sequence[Message]


def fit(
    render: Callable[[Sequence[Source]], Prompt],
    *,
    sources: Sequence[Source],
    history: Sequence[Message],
    model: Model,
    max_output_tokens: int | None,
    assistant: str,
) -> FittedPrompt:
    """Renders a prompt with as many sources as the model's context has room for, the best ones.

    Where not all fits, the conversation before the prompt keeps at least half of what the prompt and its best source
    leave; its oldest messages go first.

    Args:
        render: Renders the prompt with these sources.
        sources: The sources, best first; the last ones are left out first.
        history: The conversation before the prompt.
        model: What is known of the model. Without `context_tokens` everything is presented.
        max_output_tokens: What the caller wants written at most, for which room is kept.
        assistant: The assistant's name, for errors.

    Raises:
        ServiceError: CONTEXT_TOO_LARGE: not even the prompt without sources fits, or it does and no source does.
    """
    if model.context_tokens is None:
        return FittedPrompt(render(sources), sources, history)
    room = model.context_tokens - kept_for_output(model, max_output_tokens)
    everything, least = _cost(render(sources)), _cost(render(sources[:1]))
    if least > room:
        has_prompt = bool(sources) and _cost(render(())) <= room
        raise _too_large(assistant, model.context_tokens, has_prompt=has_prompt)
    kept = _newest(history, max(room - everything, (room - least) // 2))
    room -= sum(map(_message_cost, kept))
    few, many = min(len(sources), 1), len(sources)  # `few` fit; more than `many` do not
    while few < many:
        middle = (few + many + 1) // 2
        if _cost(render(sources[:middle])) <= room:
            few = middle
        else:
            many = middle - 1
    return FittedPrompt(render(sources[:few]), sources[:few], kept)


def _cost(prompt: Prompt) -> int:
    return estimated_tokens(prompt.instructions) + estimated_tokens(prompt.message) + 2 * _MESSAGE_TOKENS


def _message_cost(message: Message) -> int:
    return estimated_tokens(message.text) + _MESSAGE_TOKENS


def _newest(history: Sequence[Message], room: int) -> Sequence[Message]:
    """The newest messages that fit. They begin with one of the user's, as many models' templates require."""
    first = len(history)
    while first > 0 and (room := room - _message_cost(history[first - 1])) >= 0:
        first -= 1
    while 0 < first < len(history) and history[first].role is not Role.USER:
        first += 1
    return history[first:]


def kept_for_output(model: Model, wanted: int | None = None) -> int:
    """How many tokens of a model's context the prompt leaves to the answer; an API that has to be told says no more.

    Args:
        model: A model whose `context_tokens` are known.
        wanted: What the caller wants written at most; None where nobody says.
    """
    context = model.context_tokens or 0
    return wanted or min(context // _DEFAULT_OUTPUT_SHARE, model.max_output_tokens or _MAX_DEFAULT_OUTPUT)


def _too_large(assistant: str, context_tokens: int, *, has_prompt: bool) -> ServiceError:
    what = "not even the best source fits" if has_prompt else "the prompt does not fit"
    return ServiceError(
        Reason.CONTEXT_TOO_LARGE,
        f"{what} into the {context_tokens} tokens of {assistant}: ask for less, or lower max_output_tokens",
        metadata={
            "assistant": assistant,
            "provider": assistant.split("/")[1],
            "context_tokens": str(context_tokens),
        },
    )
