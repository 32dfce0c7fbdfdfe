"""JSON and JSON Lines as text: a line for each value, with the path that leads to it."""

from __future__ import annotations

from collections.abc import Iterator

from headwater_server.retrieval.model import Block, ParsedDocument
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.json_events import Event, JsonSyntaxError, read_events
from headwater_server.retrieval.parsing.json_values import ValueWriter
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.positions import BytePositions, LinePositions, Positions
from headwater_server.retrieval.parsing.text import choose_title, clean, decode

# Where lines are longer on average, a line number says nothing about the place, and bytes are counted.
_LONG_LINE = 1000


def parse_json(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read a JSON file; a `Parser`. Locations are lines; in a file that was written without line ends, bytes.

    Each value has a line, `path.to[0].it: value`; short values of one array share a line. The items of the outermost
    array have no index: what they hold is what the document is about. Several values in one file are read like items.
    """
    text, positions = _text_and_positions(file)
    limits.check_characters(len(text))
    writer = ValueWriter(positions, limits=limits, written=text if positions.unit == "byte" else "")
    title = _Title()
    try:
        for event in read_events(text):
            title.look_at(event)
            writer.add(event)
    except JsonSyntaxError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentUnreadableError(f"the file is not valid JSON: line {line:,} makes no sense") from error
    writer.finish()
    if not writer.blocks:
        raise DocumentUnreadableError("the file has no text")
    title_text = choose_title(title.text, name=file.name)
    return ParsedDocument(title_text, file.media_type, positions.unit, tuple(writer.blocks))


def parse_json_lines(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read a file that has a JSON value in each line; a `Parser`. Locations are lines.

    Values are written as those of `parse_json`. A line that is no JSON, such as the last one of a log that was cut
    off, is read as the text it is; but one of them must be JSON.
    """
    text = clean(decode(file.content, charset=file.charset))
    limits.check_characters(len(text))
    blocks, understood = _read_lines(text, limits)
    if not understood:
        return parse_json(file, limits=limits)  # JSON by another name, or nothing at all
    if not blocks:
        raise DocumentUnreadableError("the file has no text")
    return ParsedDocument(choose_title(name=file.name), file.media_type, "line", tuple(blocks))


def _read_lines(text: str, limits: ParseLimits) -> tuple[list[Block], bool]:
    is_understood = False
    positions = LinePositions(text)
    writer = ValueWriter(positions, limits=limits)
    start = 0
    for line in text.split("\n"):
        events = _events_of_line(line, start)
        is_understood = is_understood or bool(events)
        for event in events or _as_text(line, start):
            writer.add(event)
        start += len(line) + 1
    writer.finish()
    return writer.blocks, is_understood


def _events_of_line(line: str, start: int) -> list[Event]:
    """Return the events of a line that begins at `start`; none if it is not JSON."""
    try:
        return [Event(event.kind, event.text, start + event.start, start + event.end) for event in read_events(line)]
    except JsonSyntaxError:
        return []


def _as_text(line: str, start: int) -> Iterator[Event]:
    if line.strip():
        yield Event("value", line.strip(), start, start + len(line))


def _text_and_positions(file: SourceFile) -> tuple[str, Positions]:
    text = decode(file.content, charset=file.charset)
    if len(text) > _LONG_LINE * (text.count("\n") + 1) and (utf_8 := _as_utf_8(file.content)).endswith(text):
        return utf_8, BytePositions(utf_8)
    text = clean(text)
    return text, LinePositions(text)


def _as_utf_8(content: bytes) -> str:
    """Return the text of a file, its byte order mark included, since that counts; empty if it is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return ""


class _Title:
    """What the outermost object calls itself."""

    def __init__(self) -> None:
        self._depth = 0
        self._key = ""
        self._found: dict[str, str] = {}

    @property
    def text(self) -> str:
        return self._found.get("title") or self._found.get("name") or ""

    def look_at(self, event: Event) -> None:
        if event.kind == "open":
            self._depth += 1
        elif event.kind == "close":
            self._depth -= 1
        elif event.kind == "key" and self._depth == 1:
            self._key = event.text.casefold()
        elif event.kind == "value" and self._depth == 1 and self._key in {"title", "name"}:
            self._found.setdefault(self._key, event.text)
