"""Requests about chats and about what is kept of answers, shared by the sync and the async client. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import get_args

from headwater import _checks
from headwater._checks import making, page, text
from headwater._enums import AnswerStateName, RetrievalModeName
from headwater._exceptions import ArgumentError
from headwater._filters import FilterInput
from headwater._names import ChatInput, chat_name
from headwater._requests import retrieval_options, to_request_id
from headwater._updates import mask
from headwater.v1 import answer_pb2, answer_service_pb2, chat_pb2, source_pb2

_STATES = {
    "running": answer_pb2.ANSWER_STATE_RUNNING,
    "succeeded": answer_pb2.ANSWER_STATE_SUCCEEDED,
    "failed": answer_pb2.ANSWER_STATE_FAILED,
    "cancelled": answer_pb2.ANSWER_STATE_CANCELLED,
}


def create_chat_request(
    *,
    display_name: str,
    assistant: str,
    corpus: str | None,
    corpora: Sequence[str] | None,
    filter: FilterInput | None,  # noqa: A002  # the word of the contract
    mode: RetrievalModeName | None,
    top_k: int | None,
    min_score: float | None,
    token_budget: int | None,
    labels: Mapping[str, str] | None,
    request_id: str | uuid.UUID | None,
) -> answer_service_pb2.CreateChatRequest:
    """Makes the request that creates a chat; what is None stays unset, but for the request_id, which is always there.

    Raises:
        ArgumentError: An argument is not as it must be.
    """
    with making("a new chat"):
        retrieval = _retrieval(
            corpus=corpus,
            corpora=corpora,
            filter=filter,
            mode=mode,
            top_k=top_k,
            min_score=min_score,
            token_budget=token_budget,
        )
        return answer_service_pb2.CreateChatRequest(
            chat=chat_pb2.Chat(
                display_name=text("display_name", display_name),
                assistant=text("assistant", assistant),
                retrieval=retrieval,
                labels=_checks.labels(labels),
            ),
            request_id=to_request_id(request_id),
        )


def update_chat_request(
    chat: ChatInput,
    *,
    display_name: str | None,
    assistant: str | None,
    corpus: str | None,
    corpora: Sequence[str] | None,
    filter: FilterInput | None,  # noqa: A002  # the word of the contract
    mode: RetrievalModeName | None,
    top_k: int | None,
    min_score: float | None,
    token_budget: int | None,
    labels: Mapping[str, str] | None,
) -> answer_service_pb2.UpdateChatRequest:
    """Makes the request that changes what is given, and nothing else; what belongs to retrieval goes together.

    Raises:
        ArgumentError: Nothing is given, or an argument is not as it must be.
    """
    with making("a chat's update"):
        retrieval = _retrieval(
            corpus=corpus,
            corpora=corpora,
            filter=filter,
            mode=mode,
            top_k=top_k,
            min_score=min_score,
            token_budget=token_budget,
        )
        return answer_service_pb2.UpdateChatRequest(
            chat=chat_pb2.Chat(
                name=chat_name(chat),
                display_name=text("display_name", display_name),
                assistant=text("assistant", assistant),
                retrieval=retrieval,
                labels=_checks.labels(labels),
            ),
            update_mask=mask(display_name=display_name, assistant=assistant, retrieval=retrieval, labels=labels),
        )


def list_answers_request(state: AnswerStateName | None, page_size: int) -> answer_service_pb2.ListAnswersRequest:
    """Makes the request for the first page of answers.

    Raises:
        ArgumentError: The state is none, or the size is no size.
    """
    if state is not None and state not in _STATES:
        raise ArgumentError(f"state is one of {', '.join(get_args(AnswerStateName))}: {state!r}")
    return answer_service_pb2.ListAnswersRequest(
        state=answer_pb2.ANSWER_STATE_UNSPECIFIED if state is None else _STATES[state], page_size=page(page_size)
    )


def _retrieval(
    *,
    corpus: str | None,
    corpora: Sequence[str] | None,
    filter: FilterInput | None,  # noqa: A002  # the word of the contract
    mode: RetrievalModeName | None,
    top_k: int | None,
    min_score: float | None,
    token_budget: int | None,
) -> source_pb2.RetrievalOptions | None:
    """The options of retrieval; None where nothing is given of them."""
    if all(given is None for given in (corpus, corpora, filter, mode, top_k, min_score, token_budget)):
        return None
    return retrieval_options(
        query=None,
        corpus=corpus,
        corpora=corpora,
        filter=filter,
        mode=mode,
        top_k=top_k,
        min_score=min_score,
        token_budget=token_budget,
    )
