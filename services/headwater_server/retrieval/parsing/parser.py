"""The interface that every format's parser has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing.limits import ParseLimits


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A document as it was given: its bytes and what is known of it."""

    content: bytes = field(repr=False)
    name: str
    """The file's name, perhaps with folders; may be empty. Only its stem ever becomes a title."""
    media_type: str
    """The detected type, one of the registry's."""
    charset: str = ""
    """The charset that the caller declared with the type, unchecked; may be empty."""
    declared_type: str = ""
    """The type that the caller declared, unchecked and without parameters; may be empty."""


class Parser(Protocol):
    """Reads documents of one media type.

    A parser is a plain function, so that it can be named in the registry and called in any process. It holds no state,
    uses no network, leaves no file behind, and releases what a native library gave it, also when it raises.

    The blocks it returns are in reading order, none empty, and their source maps count the format's unit from 1. Text
    that a reader of the document would see is in them once; scripts, styles and navigation are not. Markup is not
    either. A document without any text is refused.

    It keeps to the limits as it goes, before memory is spent, not after.
    """

    def __call__(self, file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
        """Read one document.

        Raises:
            DocumentUnreadableError: The bytes are damaged, encrypted or hold no text.
            DocumentUnsupportedError: The bytes turn out to be of a type that cannot be read.
            DocumentTooLargeError: A limit was reached.
        """
        ...
