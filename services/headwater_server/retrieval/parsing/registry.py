"""Which parser reads which media type. A parser's module, and the library behind it, is imported when first needed."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing.formats import BY_MEDIA_TYPE
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.media_types import bare_type, detect
from headwater_server.retrieval.parsing.parser import Parser, SourceFile


def find_parser(media_type: str) -> Parser:
    """Return the parser of a supported media type.

    Raises:
        KeyError: The type is not one of `supported_media_types()`.
    """
    module, _, function = BY_MEDIA_TYPE[media_type].parser.partition(":")
    return cast("Parser", getattr(import_module(f"headwater_server.retrieval.parsing.{module}"), function))


def parse(content: bytes, *, name: str = "", media_type: str = "", limits: ParseLimits | None = None) -> ParsedDocument:
    """Read a document of any supported type.

    Args:
        content: The file's bytes.
        name: The file's name; its extension helps to tell the type, its stem is the title of last resort.
        media_type: What the caller says it is, perhaps with a charset parameter. Empty: unknown. Bytes that are
            plainly of another type win over the name and over this.
        limits: What it may cost; the defaults of `ParseLimits` if not given.

    Raises:
        DocumentError: It cannot be read; the subclass and the message say why.
    """
    limits = limits or ParseLimits()
    limits.check_bytes(len(content))
    detected, charset = detect(content, name=name, declared=media_type)
    file = SourceFile(content, name=name, media_type=detected, charset=charset, declared_type=bare_type(media_type))
    return find_parser(detected)(file, limits=limits)
