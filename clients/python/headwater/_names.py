"""Resource names: full ones go through, bare ids get what stands before them."""

from __future__ import annotations

from headwater._checks import required_text
from headwater._exceptions import ArgumentError
from headwater.v1 import chat_pb2

ChatInput = str | chat_pb2.Chat
"""A chat: its name, `chats/{chat}`, its bare id, or the `Chat` itself."""

_ARTICLES = {"corpus": "a", "answer": "an", "chat": "a"}


def corpus_name(corpus: str) -> str:
    """`corpora/{corpus}`, of that or of the bare id.

    Raises:
        ArgumentError: It is empty, or the name of something else.
    """
    return _name(corpus, "corpora/", "corpus")


def answer_name(answer: str) -> str:
    """`answers/{answer}`, of that or of the bare id.

    Raises:
        ArgumentError: It is empty, or the name of something else.
    """
    return _name(answer, "answers/", "answer")


def chat_name(chat: ChatInput) -> str:
    """`chats/{chat}`, of that, of the bare id, or of the `Chat` itself.

    Raises:
        ArgumentError: It is empty, or the name of something else.
    """
    return _name(chat.name if isinstance(chat, chat_pb2.Chat) else chat, "chats/", "chat")


def turn_name(turn: str, chat: ChatInput | None) -> str:
    """`chats/{chat}/turns/{turn}`, of that, or of the bare id and its chat.

    Raises:
        ArgumentError: It is a bare id without a chat, or a full name with another.
    """
    required_text("turn", turn)
    if "/" not in turn:
        if not turn or chat is None:
            raise ArgumentError(f"a turn is named chats/…/turns/…, or by its id and chat=…: {turn!r}")
        return f"{chat_name(chat)}/turns/{turn}"
    if chat is not None and not turn.startswith(f"{chat_name(chat)}/turns/"):
        raise ArgumentError(f"{turn} is not in {chat_name(chat)}")
    return turn


def document_name(document: str, corpus: str | None) -> str:
    """`corpora/{corpus}/documents/{document}`, of that, or of the bare id and its corpus.

    Raises:
        ArgumentError: It is a bare id without a corpus, or a full name with another.
    """
    required_text("document", document)
    if "/" not in document:
        if not document or corpus is None:
            raise ArgumentError(f"a document is named corpora/…/documents/…, or by its id and corpus=…: {document!r}")
        return f"{corpus_name(corpus)}/documents/{document}"
    if corpus is not None and not document.startswith(f"{corpus_name(corpus)}/documents/"):
        raise ArgumentError(f"{document} is not in {corpus_name(corpus)}")
    return document


def _name(name: str, prefix: str, what: str) -> str:
    bare = required_text(what, name).removeprefix(prefix)
    if not bare or "/" in bare:
        raise ArgumentError(f"{_ARTICLES[what]} {what} is named {prefix}…, or by its bare id: {name!r}")
    return prefix + bare
