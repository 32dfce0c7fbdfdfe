"""A turn's answer as it is kept, and as callers get it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from headwater.v1 import answer_pb2, chat_pb2
from headwater.v1.answer_pb2 import ANSWER_STATE_RUNNING, ANSWER_STATE_UNSPECIFIED
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.orchestrator.answer_log.protocol import AnswerRecord
from headwater_server.orchestrator.chats.protocol import TurnEnding, TurnRecord


def chat_name(chat: str) -> str:
    """`chats/{chat}`."""
    return f"chats/{chat}"


def chat_id(name: str) -> str:
    """The id in a chat's name that has been validated."""
    return name.removeprefix("chats/")


def turn_ids(name: str) -> tuple[str, str]:
    """The ids of the chat and of the turn in a turn's name that has been validated."""
    _, chat, _, turn = name.split("/")
    return chat, turn


def ending_of(answer: answer_pb2.Answer) -> TurnEnding:
    """How a turn ends whose answer has ended so.

    Its answer is kept for as long as the chat is, so that it has no time to be forgotten.
    """
    outline, contents = answer_pb2.Answer(), answer_pb2.Answer()
    outline.CopyFrom(answer)
    for source in outline.sources:
        contents.sources.add(content=source.content)
        source.ClearField("content")
    for field in ("prompt", "text", "expire_time", "unlogged"):
        outline.ClearField(field)
    return TurnEnding(
        state=answer.state,
        text=answer.text,
        outline=outline.SerializeToString(),
        contents=contents.SerializeToString(),
    )


def answer_of(turn: TurnRecord) -> answer_pb2.Answer | None:
    """The answer of a turn; without its sources' contents where the record lacks them. None: it was forgotten."""
    if turn.state == ANSWER_STATE_UNSPECIFIED:
        return None
    answer = answer_pb2.Answer.FromString(turn.outline)
    answer.prompt = turn.prompt
    answer.text = turn.text
    for source, content in zip(answer.sources, _contents(turn), strict=False):
        source.content = content
    return answer


@dataclass(frozen=True, slots=True)
class TurnAnswer(AnswerRecord):
    """An answer of which nothing but its turn is kept: there are no events."""

    digest: bytes
    """Of the request."""


def record_of(turn: TurnRecord) -> TurnAnswer | None:
    """The answer of a turn, as if the log had it; None: it was forgotten."""
    answer = answer_of(turn)
    if answer is None:
        return None
    request = StreamAnswerRequest(
        request_id=turn.request_id, prompt=turn.prompt, chat=chat_name(turn.chat), labels=answer.labels
    )
    return TurnAnswer(
        name=turn.answer,
        tenant=turn.tenant,
        request=request.SerializeToString(),
        created=turn.created / 1_000_000,
        request_id=turn.request_id,
        chat=request.chat,
        epoch=1,
        ending=b"" if turn.state == ANSWER_STATE_RUNNING else answer.SerializeToString(),
        state=turn.state,
        last_sequence=answer.last_sequence,
        expires=None,
        digest=turn.digest,
    )


def digest_of(request: StreamAnswerRequest) -> bytes:
    """Tells a request from another."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def turn_message(turn: TurnRecord, running: answer_pb2.Answer | None) -> chat_pb2.Turn:
    """A turn as callers get it.

    Args:
        turn: The turn.
        running: Its answer, where that still runs and can be had.
    """
    message = chat_pb2.Turn(
        name=f"{chat_name(turn.chat)}/turns/{turn.id}",
        prompt=turn.prompt,
        answer=running if running is not None and turn.state == ANSWER_STATE_RUNNING else answer_of(turn),
    )
    message.create_time.FromMicroseconds(turn.created)
    return message


def _contents(turn: TurnRecord) -> Iterator[str]:
    return (source.content for source in answer_pb2.Answer.FromString(turn.contents).sources)
