"""The headers of an e-mail message as a reader sees them."""

from __future__ import annotations

from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import Header, decode_header
from email.message import Message

from headwater_server.retrieval.parsing.errors import DocumentError
from headwater_server.retrieval.parsing.text import clean, decode

_SHOWN = ("From", "To", "Cc", "Date")
# A message to a whole company lists all of it; and the library takes a time that grows with the square of a header.
_LONGEST = 2000
_LONGEST_RAW = 10_000


def heading_lines(message: Message) -> Iterator[str]:
    """Yield the headers that mail programs show above a message, without the subject."""
    for name in _SHOWN:
        value = header(message, name)
        if value:
            yield f"{name}: {value}"


def header(message: Message, name: str) -> str:
    """Return what a header says, on one line, its encoded words (RFC 2047) decoded; empty if there is none."""
    text = " ".join(decode_words(message.get(name)).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()}…"


def decode_words(raw: str | Header | None) -> str:
    """Return a header's value with its encoded words (RFC 2047) decoded, as far as they make sense."""
    if not raw:
        return ""
    if len(str(raw)) > _LONGEST_RAW:
        raw = str(raw)[:_LONGEST_RAW]
    try:
        pieces = decode_header(raw)
    except (HeaderParseError, ValueError):  # such as base64 that is none
        return clean(str(raw))
    return clean("".join(_piece(text, charset) for text, charset in pieces))


def _piece(text: bytes | str, charset: str | None) -> str:
    if isinstance(text, str):
        return text
    known = "" if charset in {None, "unknown-8bit"} else charset
    try:
        return decode(text.replace(b"\x00", b""), charset=known or "")
    except DocumentError:
        return text.decode("latin-1")
