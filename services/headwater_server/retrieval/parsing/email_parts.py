"""Which parts of an e-mail message a reader reads."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message

from headwater_server.retrieval.parsing.email_headers import decode_words
from headwater_server.retrieval.parsing.errors import DocumentTooLargeError

MAX_PARTS = 2000
_TEXT_TYPES = {"text/plain", "text/html", "text/markdown", "text/enriched"}


def readable_parts(message: Message) -> Iterator[Message]:
    """Yield the parts to read or to name, in order; of alternatives the best one.

    Raises:
        DocumentTooLargeError: There are too many parts.
    """
    waiting = [message]
    for _ in range(MAX_PARTS):
        if not waiting:
            return
        part = waiting.pop()
        children = part.get_payload() if part.is_multipart() else None
        if part.get_content_maintype() != "multipart" or not isinstance(children, list):
            yield part
            continue
        chosen = [child for child in children if isinstance(child, Message)]
        if part.get_content_subtype() == "alternative":
            chosen = _best(chosen)
        waiting += reversed(chosen)
    raise DocumentTooLargeError(f"the message has more than {MAX_PARTS:,} parts")


def _best(alternatives: list[Message]) -> list[Message]:
    """Return the plain alternative, if it has text, or else the one that its sender likes best: the last."""
    for part in alternatives:
        if part.get_content_type() == "text/plain" and payload(part).strip():
            return [part]
    return alternatives[-1:]


def attachment_name(part: Message) -> str:
    """Return the name of a part that is attached; empty if it is text to read."""
    # What is of no type at all, or of several parts that cannot be told apart, is taken for text.
    is_text = part.get_content_type() in _TEXT_TYPES or part.get_content_maintype() in {"", "multipart"}
    if is_text and part.get_content_disposition() != "attachment":
        return ""
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload()
        subject = inner[0].get("subject") if isinstance(inner, list) and isinstance(inner[0], Message) else ""
        return f"message {decode_words(subject)}".strip()
    return decode_words(part.get_filename()) or part.get_content_type()


def payload(part: Message) -> bytes:
    """Return a part's bytes, without the encoding they were sent in; nothing if it has none."""
    try:
        content = part.get_payload(decode=True)
    except (ValueError, LookupError):
        return b""
    return content if isinstance(content, bytes) else b""


def charset_of(part: Message) -> str:
    """Return the charset that a part declares, unchecked; empty if none."""
    try:
        return part.get_content_charset() or ""
    except (ValueError, LookupError):
        return ""
