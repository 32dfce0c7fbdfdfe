"""From a document's bytes to blocks of text that know where they came from."""

from __future__ import annotations

from headwater_server.retrieval.parsing.errors import (
    DocumentError,
    DocumentTooLargeError,
    DocumentUnreadableError,
    DocumentUnsupportedError,
)
from headwater_server.retrieval.parsing.formats import readable_suffixes, supported_media_types
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.registry import parse

__all__ = [
    "DocumentError",
    "DocumentTooLargeError",
    "DocumentUnreadableError",
    "DocumentUnsupportedError",
    "ParseLimits",
    "parse",
    "readable_suffixes",
    "supported_media_types",
]
