"""Showing sources: where each stands, and the numbered list under an answer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.text import Text

from headwater._cli.terminal import safe
from headwater.v1 import source_pb2

_SNIPPET = 300
_UNITS = {
    "page_range": ("p.", "pp."),
    "line_range": ("line", "lines"),
    "paragraph_range": ("paragraph", "paragraphs"),
    "row_range": ("row", "rows"),
}


def location(position: source_pb2.Location) -> str:
    """Where in a document something stands, as `p. 12` or `lines 3–9`. Empty if that is unknown."""
    kind = position.WhichOneof("position")
    if kind == "slide":
        return f"slide {position.slide}"
    if kind == "byte_range":
        return f"bytes {position.byte_range.start} to {position.byte_range.end}"
    if kind not in _UNITS:
        return ""
    span = getattr(position, kind)
    one, several = _UNITS[kind]
    text = f"{one} {span.first}" if span.last <= span.first else f"{several} {span.first}–{span.last}"
    return f"{safe(span.sheet)}, {text}" if kind == "row_range" and span.sheet else text


def place(uri: str) -> str:
    """A uri for people: a path below the working folder is shown relative to it."""
    if not uri.startswith("/"):
        return uri
    try:
        return str(Path(uri).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return uri


def source_line(source: source_pb2.Source, number: str) -> Text:
    """A source in one line: its number, title, place and location."""
    cited = source.disposition == source_pb2.SOURCE_DISPOSITION_CITED
    title, where = safe(source.title).strip(), safe(place(source.uri)).strip()
    text = Text(f"[{number}] ", style="bold" if cited else "dim")
    text.append(title or where or safe(source.document) or "untitled", style="bold" if cited else "")
    details = [location(source.location)]
    if title and where and title != where:
        details.append(where)
    for detail in filter(None, details):
        text.append(" · ", style="dim")
        text.append(detail, style="not bold" if cited else "dim")
    return text


def by_use(sources: Iterable[source_pb2.Source]) -> tuple[list[source_pb2.Source], list[source_pb2.Source]]:
    """The cited sources, and the others, each in order of rank."""
    cited: list[source_pb2.Source] = []
    others: list[source_pb2.Source] = []
    for source in sources:
        (cited if source.disposition == source_pb2.SOURCE_DISPOSITION_CITED else others).append(source)
    return cited, others


def snippet(source: source_pb2.Source) -> str:
    """The beginning of a source's text, on one line."""
    words = " ".join(safe(source.content).split())
    return words if len(words) <= _SNIPPET else words[:_SNIPPET].rsplit(" ", 1)[0] + " …"
