"""Word documents (DOCX), opened by python-docx."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping

from docx.document import Document as WordDocument
from docx.opc.part import PartFactory
from docx.oxml.ns import qn
from docx.package import Package
from docx.parts.document import DocumentPart

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing.archive import check_archive
from headwater_server.retrieval.parsing.errors import DocumentError, DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.text import choose_title
from headwater_server.retrieval.parsing.word_body import Styles, read_body
from headwater_server.retrieval.parsing.xml_parts import Element

# python-docx reads the body of a template, or of a document with macros (which nothing here runs), as of any other.
for _kind in (
    "openxmlformats-officedocument.wordprocessingml.template",
    "ms-word.document.macroEnabled",
    "ms-word.template.macroEnabledTemplate",
):
    PartFactory.part_type_for[f"application/vnd.{_kind}.main+xml"] = DocumentPart

_HEADING_NAME = re.compile(r"^heading ([1-9])$")
_NO_TITLE = "Word Document"  # what python-docx says of a document without properties
_TITLE_NAMES = {"title"}
_MAX_BASED_ON = 20
_STYLES, _STYLE, _STYLE_ID = qn("w:styles"), qn("w:style"), qn("w:styleId")
_NAME, _BASED_ON, _VAL = qn("w:name"), qn("w:basedOn"), qn("w:val")


def parse_word(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read a Word document; a `Parser`. Locations are paragraphs.

    Counted are all paragraphs (`w:p`) of the body in document order, from 1: empty ones and those in tables and content
    controls included, those in text boxes not. A table's row is a line, its cells joined by " | ", and its location
    spans the paragraphs of its cells. Text that tracked changes deleted, field codes, headers, footers, footnotes,
    comments and text boxes are left out.
    """
    check_archive(file.content, limits=limits)
    try:
        document = _open(file.content)
        blocks = tuple(read_body(document.element.body, _styles(document), limits=limits))
        title = document.core_properties.title
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # python-docx answers a malformed package with whatever exception comes of it
        raise DocumentUnreadableError(
            "the document is damaged, or not a Word document (.docx), and cannot be opened"
        ) from error
    if not blocks:
        raise DocumentUnreadableError("the document has no text (pictures are not read)")
    heading = next((block.text for block in blocks if block.level), "")
    given = "" if title == _NO_TITLE else title
    return ParsedDocument(choose_title(given, heading, name=file.name), file.media_type, "paragraph", blocks)


def _open(content: bytes) -> WordDocument:
    part = Package.open(io.BytesIO(content)).main_document_part
    if not isinstance(part, DocumentPart):
        raise DocumentUnreadableError("the file is an Office document, but not a Word document (.docx)")
    document: WordDocument = part.document
    if document.element.body is None:
        raise DocumentUnreadableError("the Word document has no body")
    return document


def _styles(document: WordDocument) -> Styles:
    """Return the heading level of every paragraph style that has one, itself or through the styles it is based on."""
    levels: dict[str, int] = {}
    lists: set[str] = set()
    named = _named_styles(document)
    for style in named:
        for name in _own_and_inherited_names(style, named):
            if match := _HEADING_NAME.match(name):
                levels.setdefault(style, int(match[1]))
            elif name in _TITLE_NAMES:
                levels.setdefault(style, 1)
            elif name.startswith("list"):
                lists.add(style)
    return Styles(levels, frozenset(lists))


def _named_styles(document: WordDocument) -> Mapping[str, tuple[str, str]]:
    """Return the name, in small letters, of every style and the id of the one it is based on, by its id.

    Read once, as python-docx looks through all styles for each that another is based on.
    """
    root = document.styles.element
    if root.tag != _STYLES:
        raise DocumentUnreadableError("the document is damaged: its styles cannot be read")
    styles: dict[str, tuple[str, str]] = {}
    for style in root.iterchildren(_STYLE):
        styles.setdefault(style.get(_STYLE_ID, ""), (_child(style, _NAME).lower(), _child(style, _BASED_ON)))
    return styles


def _child(style: Element, tag: str) -> str:
    child = style.find(tag)
    return "" if child is None else child.get(_VAL, "")


def _own_and_inherited_names(style: str, named: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    for _ in range(_MAX_BASED_ON):
        if style not in named:
            return
        name, style = named[style]
        yield name
