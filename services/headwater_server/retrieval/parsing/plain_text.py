"""Plain text: paragraphs are what blank lines part."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater_server.retrieval.model import Block, ParsedDocument, SourceMap
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.text import choose_title, clean, decode

_PARAGRAPH = re.compile(r"^[^\S\n]*\S.*(?:\n[^\S\n]*\S.*)*", re.M)


def parse_plain_text(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read plain text; a `Parser`. Locations are lines of the file."""
    text = clean(decode(file.content, charset=file.charset))
    limits.check_characters(len(text))
    blocks = tuple(line_blocks(text))
    if not blocks:
        raise DocumentUnreadableError("the file has no text, only white space")
    return ParsedDocument(choose_title(name=file.name), file.media_type, "line", blocks)


def line_blocks(text: str) -> Iterator[Block]:
    """Yield the paragraphs of clean text, their lines as they stand."""
    line, position = 1, 0
    for match in _PARAGRAPH.finditer(text):
        line += text.count("\n", position, match.start())
        position = match.start()
        paragraph = match.group().rstrip()
        yield Block(paragraph, SourceMap.line_by_line(paragraph, line))
