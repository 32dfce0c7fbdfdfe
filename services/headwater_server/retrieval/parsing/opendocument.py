"""OpenDocument texts (ODT), as LibreOffice and others write them.

The package's XML is read directly: an ODT's body is a plain tree of headings, paragraphs, lists and tables, and what a
library of objects would add to it, such as the repetition of rows that a file asks for, is what has to be guarded
against.
"""

from __future__ import annotations

import zipfile

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing.archive import opened_archive
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.opendocument_body import MANIFEST, OFFICE, read_body, read_styles
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.text import choose_title
from headwater_server.retrieval.parsing.xml_parts import Element, parse_xml


def parse_opendocument(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read an OpenDocument text; a `Parser`. Locations are paragraphs.

    Counted are all paragraphs and headings (`text:p`, `text:h`) of the text in document order, from 1: empty ones and
    those in tables, lists, sections, notes and text boxes included. A table's row is a line, its cells joined by " | ",
    and its location spans the paragraphs of its cells. What stands in a note or a text box comes after the paragraph
    that it belongs to. Left out are text that tracked changes deleted, comments, headers, footers, hidden sections,
    tables of contents and formulas.
    """
    with opened_archive(file.content, limits=limits, plain_xml=False) as archive:
        _refuse_encrypted(archive, limits)
        content = _part(archive, "content.xml", limits)
        meta = _part(archive, "meta.xml", limits)
        if content is None and "styles.xml" in archive.namelist():
            raise DocumentUnreadableError("the document has no text, only styles")
    text = None if content is None else content.find(f"{OFFICE}body/{OFFICE}text")
    if text is None or content is None:
        raise DocumentUnreadableError("the document is damaged, or not an OpenDocument text (.odt)")
    blocks = tuple(read_body(text, read_styles(content), limits=limits))
    if not blocks:
        raise DocumentUnreadableError("the document has no text (pictures are not read)")
    title = "" if meta is None else meta.findtext(".//{http://purl.org/dc/elements/1.1/}title") or ""
    heading = next((block.text for block in blocks if block.level), "")
    return ParsedDocument(choose_title(title, heading, name=file.name), file.media_type, "paragraph", blocks)


def _part(archive: zipfile.ZipFile, name: str, limits: ParseLimits) -> Element | None:
    return parse_xml(archive.read(name), limits=limits) if name in archive.namelist() else None


def _refuse_encrypted(archive: zipfile.ZipFile, limits: ParseLimits) -> None:
    """Refuse a document whose manifest says that files of it are encrypted (OpenDocument part 2, 3.4.2)."""
    name = "META-INF/manifest.xml"
    if name not in archive.namelist():
        return
    # Before version 1.2 it had a document type declaration, and left it to that to declare the prefix of all names.
    manifest = parse_xml(archive.read(name), limits=limits, doctype=True, lenient=True)
    names = (f"{prefix}{kind}" for prefix in (MANIFEST, "manifest:") for kind in ("encryption-data", "encrypted-key"))
    if next(manifest.iter(*names), None) is not None:
        raise DocumentUnreadableError("the document is encrypted; save it without a password and import it again")
