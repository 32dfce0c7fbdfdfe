"""Source code: definitions are headings, paragraphs are what blank lines part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PureWindowsPath

from headwater_server.retrieval.model import Block, ParsedDocument
from headwater_server.retrieval.parsing.code_definitions import Definition, find_definitions
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.line_buffer import LineBuffer
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.text import choose_title, clean, decode

_LONGEST_HEADING = 200


def parse_source_code(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read source code or configuration; a `Parser`. Locations are lines of the file.

    Nothing is left out. The first lines of a definition (a class, a function, a section of a configuration) are a
    heading, so that what is in it stands under its name. A comment right above is part of the heading if it is short;
    a longer one is a heading of its own, of the definition's name. The title is the file's name.
    """
    text = clean(decode(file.content, charset=file.charset))
    limits.check_characters(len(text))
    lines = text.split("\n")
    blocks = tuple(_blocks(lines, find_definitions(lines, file.media_type)))
    if not blocks:
        raise DocumentUnreadableError("the file has no text, only white space")
    title = choose_title(PureWindowsPath(file.name).name, name=file.name)
    return ParsedDocument(title, file.media_type, "line", blocks)


def _blocks(lines: Sequence[str], definitions: Iterator[Definition]) -> Iterator[Block]:
    position = 0
    for definition in definitions:
        yield from _paragraphs(lines, position, definition.comment)
        length = sum(len(line.strip()) + 1 for line in lines[definition.comment : definition.end])
        is_short = length <= _LONGEST_HEADING
        start = definition.comment if is_short else definition.start
        if not is_short:
            name = " ".join(line.strip() for line in lines[definition.start : definition.end])
            yield from _block(lines, definition.comment, start, level=definition.level, name=name)
        yield from _block(lines, start, definition.end, level=definition.level)
        position = definition.end
    yield from _paragraphs(lines, position, len(lines))


def _paragraphs(lines: Sequence[str], start: int, end: int) -> Iterator[Block]:
    first = start
    for index in range(start, end):
        if not lines[index].strip():
            yield from _block(lines, first, index)
            first = index + 1
    yield from _block(lines, first, end)


def _block(lines: Sequence[str], start: int, end: int, *, level: int = 0, name: str = "") -> Iterator[Block]:
    buffer = LineBuffer()
    for index in range(start, end):
        buffer.add(lines[index], [(0, index + 1, index + 1)])
    yield from buffer.take(level=level, name=name)
