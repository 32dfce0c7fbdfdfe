"""Resource names, and the ids the server makes."""

from __future__ import annotations

import secrets

DEFAULT_CORPUS = "default"
CORPUS_PREFIX = "corpora/"
ASSISTANT_PREFIX = "assistants/"


def new_id() -> str:
    """Makes an id that cannot be guessed: 128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def corpus_name(corpus_id: str) -> str:
    """`corpora/{corpus}`."""
    return CORPUS_PREFIX + corpus_id


def document_name(corpus_id: str, document_id: str) -> str:
    """`corpora/{corpus}/documents/{document}`."""
    return f"corpora/{corpus_id}/documents/{document_id}"


def passage_name(corpus_id: str, document_id: str, passage_id: str) -> str:
    """`corpora/{corpus}/documents/{document}/passages/{passage}`."""
    return f"corpora/{corpus_id}/documents/{document_id}/passages/{passage_id}"


def corpus_id(name: str) -> str:
    """The id in a corpus name, or the bare id itself."""
    return name.removeprefix(CORPUS_PREFIX)


def document_ids(name: str) -> tuple[str, str]:
    """The corpus id and the document id in a document name that has been validated."""
    _, corpus, _, document = name.split("/")
    return corpus, document


def assistant_id(name: str) -> str:
    """`provider/model`, of an assistant's name with or without its prefix `assistants/`."""
    return name.removeprefix(ASSISTANT_PREFIX)


def assistant_name(assistant: str) -> str:
    """`assistants/{provider}/{model}`."""
    return ASSISTANT_PREFIX + assistant
