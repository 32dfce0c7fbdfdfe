"""Makes the requests of the wire out of Python arguments. Nothing here does I/O."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from google.protobuf import duration_pb2, struct_pb2

from headwater import _checks
from headwater._checks import items, making, real, required_text, text, texts, whole, wrong_type
from headwater._enums import AbstainPolicyName, RetrievalModeName
from headwater._exceptions import ArgumentError
from headwater._filters import FilterInput, to_filter
from headwater._names import ChatInput, answer_name, chat_name, corpus_name
from headwater._resuming import WINDOW
from headwater.v1 import answer_service_pb2, chat_pb2, generation_pb2, source_pb2

HistoryMessage = chat_pb2.ChatMessage | tuple[str, str]
"""One message of a conversation: a `ChatMessage`, or a pair of `"user"` or `"assistant"` and what was said."""

SourceInput = source_pb2.Source | str
"""A source that the caller provides: a `Source`, or just its text."""

_ROLES = {"user": chat_pb2.CHAT_ROLE_USER, "assistant": chat_pb2.CHAT_ROLE_ASSISTANT}
_MODES = {
    "hybrid": source_pb2.RETRIEVAL_MODE_HYBRID,
    "dense": source_pb2.RETRIEVAL_MODE_DENSE,
    "lexical": source_pb2.RETRIEVAL_MODE_LEXICAL,
}
_UNSET_MODE = source_pb2.RETRIEVAL_MODE_UNSPECIFIED
_UNSET_POLICY = generation_pb2.ABSTAIN_POLICY_UNSPECIFIED
_ABSTAIN_POLICIES = {
    "without_sources": generation_pb2.ABSTAIN_POLICY_WITHOUT_SOURCES,
    "never": generation_pb2.ABSTAIN_POLICY_NEVER,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the server waits for an answer, in seconds. All clocks start when the request arrives."""

    first_token: float | None = None
    """Until the first text or reasoning; over it, `FirstTokenTimeout` is raised. None: the server's setting."""
    between_tokens: float | None = None
    """Between two pieces; over it, `StreamStalled` is raised. None: the server's setting."""
    total: float | None = None
    """Until the end; over it the answer ends with what it has, and TIME_LIMIT. None: the server's setting."""


def retrieval_options(
    *,
    query: str | None,
    corpus: str | None,
    corpora: Sequence[str] | None,
    filter: FilterInput | None,  # noqa: A002  # the word of the contract
    mode: RetrievalModeName | None,
    top_k: int | None,
    min_score: float | None,
    token_budget: int | None,
) -> source_pb2.RetrievalOptions:
    """Makes the options of a search; what is None stays unset.

    Raises:
        ArgumentError: Two arguments contradict each other, or one is out of its range.
    """
    with making("a search"):
        options = source_pb2.RetrievalOptions(
            corpora=_corpora(corpus, corpora),
            query=text("query", query),
            mode=_MODES[_choice("mode", mode, get_args(RetrievalModeName))] if mode is not None else _UNSET_MODE,
            top_k=whole("top_k", top_k, 1, 100) or 0,
            min_score=real("min_score", min_score),
            token_budget=whole("token_budget", token_budget, 1, 2**31 - 1) or 0,
        )
        if filter is not None:
            options.filter.CopyFrom(to_filter(filter))
        return options


def answer_request(
    prompt: str,
    *,
    corpus: str | None,
    corpora: Sequence[str] | None,
    chat: ChatInput | None,
    history: Iterable[HistoryMessage] | None,
    assistant: str | None,
    sources: Iterable[SourceInput] | None,
    grounded: bool,
    query: str | None,
    filter: FilterInput | None,  # noqa: A002  # the word of the contract
    mode: RetrievalModeName | None,
    top_k: int | None,
    min_score: float | None,
    token_budget: int | None,
    instructions: str | None,
    max_output_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    stop_sequences: Sequence[str] | None,
    seed: int | None,
    provider_options: Mapping[str, Any] | None,
    limits: Limits | None,
    abstain: AbstainPolicyName | None,
    labels: Mapping[str, str] | None,
    request_id: str | uuid.UUID | None,
    resume: bool,
) -> answer_service_pb2.StreamAnswerRequest:
    """Makes the request for an answer; what is None stays unset, but for the request_id, which is always there.

    Raises:
        ArgumentError: Two arguments contradict each other, or one is not as it must be.
    """
    with making("a request for an answer"):
        if not required_text("prompt", prompt).strip():
            raise ArgumentError("a prompt is more than white space")
        request = answer_service_pb2.StreamAnswerRequest(
            request_id=to_request_id(request_id),
            prompt=prompt,
            chat=chat_name(chat) if chat is not None else "",
            history=[_history_message(message) for message in items("history", history)],
            assistant=text("assistant", assistant),
            limits=_limits(limits),
            abstain_policy=(
                _ABSTAIN_POLICIES[_choice("abstain", abstain, get_args(AbstainPolicyName))]
                if abstain is not None
                else _UNSET_POLICY
            ),
            labels=_checks.labels(labels),
            resume_window=_duration("resume_window", WINDOW) if resume else None,
        )
        if request.chat and request.history:
            raise ArgumentError(
                "history is for callers that keep the conversation themselves: leave out history or chat"
            )
        retrieval = retrieval_options(
            query=query,
            corpus=corpus,
            corpora=corpora,
            filter=filter,
            mode=mode,
            top_k=top_k,
            min_score=min_score,
            token_budget=token_budget,
        )
        _ground(request, retrieval, sources, grounded=grounded)
        generation = generation_pb2.GenerationOptions(
            instructions=text("instructions", instructions),
            max_output_tokens=whole("max_output_tokens", max_output_tokens, 1, 2**31 - 1),
            temperature=real("temperature", temperature),
            top_p=real("top_p", top_p),
            stop_sequences=texts("stop_sequences", stop_sequences),
            seed=whole("seed", seed, -(2**31), 2**31 - 1),
            provider_options=_struct(provider_options),
        )
        if generation != generation_pb2.GenerationOptions():
            request.generation.CopyFrom(generation)
        return request


def cancel_request(name: str | None, request_id: str | uuid.UUID | None) -> answer_service_pb2.CancelAnswerRequest:
    """Makes the request that stops an answer, by its name or its request_id.

    Raises:
        ArgumentError: Both are given, or none, or one is malformed.
    """
    with making("a cancellation"):
        if (name is None) == (request_id is None):
            raise ArgumentError("an answer is cancelled by its name or by its request_id: give one of them")
        if name is not None:
            return answer_service_pb2.CancelAnswerRequest(name=answer_name(name))
        return answer_service_pb2.CancelAnswerRequest(request_id=to_request_id(request_id))


def _ground(
    request: answer_service_pb2.StreamAnswerRequest,
    retrieval: source_pb2.RetrievalOptions,
    sources: Iterable[SourceInput] | None,
    *,
    grounded: bool,
) -> None:
    retrieves = retrieval != source_pb2.RetrievalOptions()
    if sources is not None:
        if retrieves or not grounded:
            raise ArgumentError("an answer rests on given sources, on retrieval, or on neither: give one of them")
        request.provided.SetInParent()
        request.provided.sources.extend(_source(source) for source in items("sources", sources))
    elif not grounded:
        if retrieves:
            raise ArgumentError(
                "grounded=False asks for an answer without sources: leave out corpus, filter and the like"
            )
        request.ungrounded.SetInParent()
    elif retrieves:
        request.retrieval.CopyFrom(retrieval)


def _corpora(corpus: str | None, corpora: Sequence[str] | None) -> list[str]:
    if corpus is not None and corpora is not None:
        raise ArgumentError("corpus and corpora say the same: leave one of them out")
    if isinstance(corpora, str):
        raise ArgumentError("corpora is a list of names; corpus takes one name")
    if corpus is not None and not isinstance(corpus, str):
        raise wrong_type("corpus", "one name (for several, use corpora=)", corpus)
    names = [corpus] if corpus is not None else items("corpora", corpora)
    return [corpus_name(name) for name in names]


def _history_message(message: object) -> chat_pb2.ChatMessage:
    if isinstance(message, chat_pb2.ChatMessage):
        return message
    if not isinstance(message, tuple | list) or len(message) != 2:
        raise wrong_type("a message of history", "a ChatMessage or a pair of role and text", message)
    role, said = message
    return chat_pb2.ChatMessage(
        role=_ROLES[_choice("a role in history", role, tuple(_ROLES))], text=required_text("a text in history", said)
    )


def _source(source: SourceInput) -> source_pb2.Source:
    if isinstance(source, source_pb2.Source):
        return source
    if not isinstance(source, str):
        raise wrong_type("each of sources", "a Source or a string", source)
    return source_pb2.Source(content=required_text("a text in sources", source))


def to_request_id(request_id: str | uuid.UUID | None) -> str:
    """The caller's UUID, or a new one.

    Raises:
        ArgumentError: It is no UUID.
    """
    if request_id is None:
        return str(uuid.uuid4())
    try:
        return str(uuid.UUID(str(request_id)))
    except ValueError:
        raise ArgumentError(f"a request_id is a UUID: {request_id!r}") from None


def _limits(limits: Limits | None) -> answer_service_pb2.AnswerLimits | None:
    if limits is None:
        return None
    if not isinstance(limits, Limits):
        raise wrong_type("limits", "a Limits", limits)
    return answer_service_pb2.AnswerLimits(
        first_token=_duration("first_token", limits.first_token),
        between_tokens=_duration("between_tokens", limits.between_tokens),
        total=_duration("total", limits.total),
    )


def _duration(name: str, seconds: float | None) -> duration_pb2.Duration | None:
    seconds = real(name, seconds)
    if seconds is None:
        return None
    if not (math.isfinite(seconds) and seconds > 0):
        raise ArgumentError(f"{name} is a number of seconds above 0: {seconds}")
    duration = duration_pb2.Duration()
    duration.FromNanoseconds(max(1, round(seconds * 1e9)))
    return duration


def _struct(options: Mapping[str, Any] | None) -> struct_pb2.Struct | None:
    if options is None:
        return None
    if not isinstance(options, Mapping):
        raise wrong_type("provider_options", "a mapping", options)
    struct = struct_pb2.Struct()
    try:
        struct.update(dict(options))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"provider_options holds what JSON can hold: {error}") from error
    return struct


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ArgumentError(f"{name} is one of {', '.join(choices)}: {value!r}")
    return value
