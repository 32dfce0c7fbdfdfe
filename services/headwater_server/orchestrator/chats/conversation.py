"""What one answer has of the conversation it belongs to: all that the making of answers knows of chats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from headwater.v1 import answer_pb2
from headwater.v1.answer_service_pb2 import StreamAnswerRequest

Ended = Callable[[answer_pb2.Answer], Awaitable[None]]
"""Is told how an answer has ended, once that is logged and before any reader gets it."""


async def nobody(_: answer_pb2.Answer) -> None:
    """Nobody wants to know how an answer has ended."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What one answer has of the conversation it belongs to."""

    request: StreamAnswerRequest
    """What is asked, with what a chat adds: what was said before, and its settings where the caller says nothing."""
    earlier_messages: int = 0
    """How many messages there are before those, which were too many, or too large."""
    ended: Ended = nobody
    """Has to be called with the answer's ending."""
