"""The one thing a worker does with a document."""

from __future__ import annotations

from pathlib import Path

from headwater_server.retrieval.model import SplitDocument
from headwater_server.retrieval.parsing import DocumentUnreadableError, ParseLimits, parse
from headwater_server.retrieval.splitting.settings import SplitSettings
from headwater_server.retrieval.splitting.splitter import split as split_document


def parse_and_split(
    content: bytes | Path,
    *,
    name: str = "",
    media_type: str = "",
    limits: ParseLimits | None = None,
    split: SplitSettings | None = None,
) -> SplitDocument:
    """Read a document and split it into passages.

    Arguments, result and errors are picklable, so that this may run in a worker process, as it should: the libraries
    that read documents are not made for hostile ones.

    Args:
        content: The document's bytes, or the file that has them.
        name: The document's file name; by default that of the file.
        media_type: What the caller says the document is; empty if unknown.
        limits: What it may cost; the defaults of `ParseLimits` if not given.
        split: How long the passages are; the defaults of `SplitSettings` if not given.

    Raises:
        DocumentError: The document cannot be read; its `reason` and message say why.
        FileNotFoundError: There is no such file (or another OSError: it cannot be opened).
    """
    limits = limits or ParseLimits()
    if isinstance(content, Path):
        name = name or content.name
        limits.check_bytes(content.stat().st_size)
        content = content.read_bytes()
    document = parse(content, name=name, media_type=media_type, limits=limits)
    passages = split_document(document, settings=split)
    if not passages:
        raise DocumentUnreadableError("the document has no text")
    return SplitDocument(document.title, document.media_type, passages)
