"""EPUB books.

Read here rather than by a library: a book is a ZIP archive of HTML pages and an XML file with their order, all of which
are read here already, and within limits. The library that there is (ebooklib) is under the AGPL, and leaves the
text of the pages to its caller.
"""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator

from headwater_server.retrieval.model import Block, ParsedDocument, SourceMap
from headwater_server.retrieval.parsing.archive import opened_archive
from headwater_server.retrieval.parsing.epub_package import Package
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.html_blocks import read_html_blocks
from headwater_server.retrieval.parsing.limits import ParseLimits, TextBudget
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.text import choose_title, clean, decode, one_line
from headwater_server.retrieval.parsing.xml_declaration import declared_charset

# Of a document type declaration with entities, which HTML has none of, the reader of HTML sees the end as text.
_DOCTYPE = re.compile(
    r"\s*+(?:<\?xml[^>]*+>\s*+)?+(?:<!--(?:(?!-->).)*+-->\s*+)*+<!DOCTYPE[^>\[]*+\[(?:(?!\]\s*+>).)*+\]\s*+>",
    re.I | re.S,
)
_NOT_WORD = re.compile(r"\W+")
_MAX_HEADING = 300


def parse_epub(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read an EPUB book; a `Parser`. Locations are paragraphs of the whole book, counted in reading order from 1.

    Headings, paragraphs, list items, table rows and lines that a break ends count as one each. The chapters come in the
    order of the book's spine, each read as an HTML page is. Headings are those of the chapters, and the lines that are
    entries of the table of contents. The table of contents itself is left out, as navigation is.
    """
    with opened_archive(file.content, limits=limits, plain_xml=False) as archive:
        package = Package(archive, limits=limits)
        blocks = tuple(_blocks(archive, package, limits))
    if not blocks:
        raise DocumentUnreadableError("the book has no text (pictures are not read)")
    heading = next((block.text for block in blocks if block.level), "")
    return ParsedDocument(choose_title(package.title, heading, name=file.name), file.media_type, "paragraph", blocks)


def _blocks(archive: zipfile.ZipFile, package: Package, limits: ParseLimits) -> Iterator[Block]:
    budget = TextBudget(limits)
    count = 0
    outlines: dict[str, dict[str, int]] = defaultdict(dict)
    for entry in package.outline:
        if title := _normal(entry.title):
            outlines[entry.chapter].setdefault(title, entry.level)
    for chapter in package.chapters:
        for block in _chapter_blocks(archive.read(chapter), limits):
            budget.spend(len(block.text))
            source, lines = _count_lines(block.text, count)
            count += lines
            yield _as_heading(block, outlines[chapter], source)


def _chapter_blocks(content: bytes, limits: ParseLimits) -> list[Block]:
    limits.check_markup(content.count(b"<"))
    text = clean(decode(content, charset=declared_charset(content)))
    limits.check_characters(len(text))
    if doctype := _DOCTYPE.match(text):
        text = text[doctype.end() :]
    return read_html_blocks(text, xhtml=True)


def _count_lines(text: str, before: int) -> tuple[SourceMap, int]:
    """Return where the lines of a text stand that has so many before it, and how many it has, blank ones left out."""
    parts: list[tuple[int, int, int]] = []
    offset = 0
    for line in text.split("\n"):
        if line.strip():
            number = before + len(parts) + 1
            parts.append((offset, number, number))
        offset += len(line) + 1
    return SourceMap.parts(parts), len(parts)


def _as_heading(block: Block, outline: dict[str, int], source: SourceMap) -> Block:
    """Return a block with its place in the book; a heading where the table of contents has an entry of its words."""
    if block.level or len(block.text) > _MAX_HEADING or (level := outline.pop(_normal(block.text), 0)) == 0:
        return Block(block.text, source, block.level)
    return Block(one_line(block.text), SourceMap.whole(source.starts[0], source.ends[-1]), level)


def _normal(title: str) -> str:
    return _NOT_WORD.sub("", title).casefold()
