"""How what is asked of chats fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from headwater_server.errors import Reason, ResourceNotFound, ServiceError
from headwater_server.orchestrator.answer_log.protocol import AnswerLogError
from headwater_server.orchestrator.chats.protocol import ChatsFull, ChatsUnavailable

log = structlog.get_logger("headwater.chats")


@contextmanager
def translated() -> Iterator[None]:
    """Makes of the store's own failures what callers get.

    Raises:
        ServiceError: The disk is full (QUOTA_EXCEEDED), or the database cannot be used (PROVIDER_UNAVAILABLE).
    """
    try:
        yield
    except ChatsFull as error:
        log.warning("chats.full", error=str(error))
        raise ServiceError(
            Reason.QUOTA_EXCEEDED,
            "there is no room on the disk for chats: free some",
            metadata={"quota": "disk"},
        ) from error
    except (ChatsUnavailable, AnswerLogError) as error:
        log.warning("chats.unavailable", error=str(error))
        raise ServiceError(
            Reason.PROVIDER_UNAVAILABLE,
            "the database of chats cannot be used now; try again soon",
            metadata={"service": "chats"},
            retry_after=1.0,
        ) from error


def busy(chat: str, answer: str) -> ServiceError:
    """An answer runs in the chat."""
    return ServiceError(
        Reason.CHAT_BUSY,
        f"{answer} runs in {chat}: wait for it, or cancel it",
        metadata={"chat": chat, "answer": answer},
    )


def lost(answer: str) -> ServiceError:
    """The server that made the answer is gone, and nobody has what it had said."""
    return ServiceError(
        Reason.OWNER_LOST, "the server that was making the answer has gone: ask again", metadata={"answer": answer}
    )


def unknown(name: str) -> ResourceNotFound:
    """There is no such chat or turn, or it is another's."""
    return ResourceNotFound(name)


def too_many(quota: str, maximum: int) -> ServiceError:
    """There are as many chats, or turns in one, as may be."""
    what, instead = {
        "chats": ("chats", "delete some"),
        "turns": ("turns in this chat", "begin a new one"),
    }[quota]
    return ServiceError(
        Reason.QUOTA_EXCEEDED,
        f"there are {maximum} {what}, which is all there may be: {instead}",
        metadata={"quota": quota, "maximum": str(maximum)},
    )
