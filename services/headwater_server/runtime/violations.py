"""Broken rules of the protos in words."""

from __future__ import annotations

from typing import Any

_ID = "letters, digits, `.`, `_`, `~` and `-`, beginning with a letter or digit"

_PATTERNS: tuple[tuple[str, str], ...] = (
    ("`\\S`", "must not be empty or only white space"),
    ("/documents/", "must be `corpora/{corpus}/documents/{document}`"),
    ("corpora/", f"must be `corpora/{{corpus}}`, the corpus 1 to 63 {_ID}"),
    ("assistants/", "must be `assistants/{provider}/{model}`"),
    ("/turns/", "must be `chats/{chat}/turns/{turn}`"),
    ("chats/", "must be `chats/{chat}`"),
    ("answers/", "must be `answers/{answer}`"),
    ("{64}", "must be a SHA-256: 64 hexadecimal digits"),
    ("{0,62}", f"must be 1 to 63 {_ID}"),
    ("{0,127}", f"must be 1 to 128 {_ID}"),
)
"""What a pattern has in it, and what it asks for; the first that fits counts."""


def field_path(field: Any) -> str:
    """A violation's field as a path, such as `retrieval.corpora[0]`."""
    path = ""
    for element in field.elements if field is not None else ():
        path += f".{element.field_name}" if path else element.field_name
        subscript = element.subscript
        if subscript is not None and subscript.field:
            path += f"[{subscript.value}]"
    return path


def description(violation: Any) -> str:
    """A violation in words: what its field may be, rather than the pattern it breaks."""
    message = str(violation.proto.message)
    if violation.proto.rule_id == "string.pattern":
        return next((words for part, words in _PATTERNS if part in message), message)
    return message
