"""Resource names: full ones go through, bare ids get what stands before them."""

from __future__ import annotations

from headwater._checks import required_text
from headwater._exceptions import ArgumentError

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


def chat_name(chat: str) -> str:
    """`chats/{chat}`, of that or of the bare id.

    Raises:
        ArgumentError: It is empty, or the name of something else.
    """
    return _name(chat, "chats/", "chat")


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
