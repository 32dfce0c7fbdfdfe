"""Resource names: full ones go through, bare ids get what stands before them."""

from __future__ import annotations

from headwater._exceptions import ArgumentError


def corpus_name(corpus: str) -> str:
    """`corpora/{corpus}`, of that or of the bare id.

    Raises:
        ArgumentError: It is empty, or the name of something else.
    """
    return _name(corpus, "corpora/", "a corpus")


def answer_name(answer: str) -> str:
    """`answers/{answer}`, of that or of the bare id.

    Raises:
        ArgumentError: It is empty, or the name of something else.
    """
    return _name(answer, "answers/", "an answer")


def chat_name(chat: str) -> str:
    """`chats/{chat}`, of that or of the bare id.

    Raises:
        ArgumentError: It is empty, or the name of something else.
    """
    return _name(chat, "chats/", "a chat")


def document_name(document: str, corpus: str | None) -> str:
    """`corpora/{corpus}/documents/{document}`, of that, or of the bare id and its corpus.

    Raises:
        ArgumentError: It is a bare id without a corpus, or a full name with another.
    """
    if "/" not in document:
        if not document or corpus is None:
            raise ArgumentError(f"a document is named corpora/…/documents/…, or by its id and corpus=…: {document!r}")
        return f"{corpus_name(corpus)}/documents/{document}"
    if corpus is not None and not document.startswith(f"{corpus_name(corpus)}/documents/"):
        raise ArgumentError(f"{document} is not in {corpus_name(corpus)}")
    return document


def _name(name: str, prefix: str, what: str) -> str:
    bare = name.removeprefix(prefix)
    if not bare or "/" in bare:
        raise ArgumentError(f"{what} is named {prefix}…, or by its bare id: {name!r}")
    return prefix + bare
