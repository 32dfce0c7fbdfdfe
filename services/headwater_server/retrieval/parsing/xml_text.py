"""XML of any vocabulary."""

from __future__ import annotations

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.text import choose_title, clean, decode
from headwater_server.retrieval.parsing.xml_declaration import declared_charset
from headwater_server.retrieval.parsing.xml_reader import read_xml


def parse_xml(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read an XML file; a `Parser`. Locations are lines of the file.

    Prose, which is an element with text and inline elements, or one with a name such as `para`, becomes a paragraph;
    `title` and `head` become headings. Data becomes lines: "name: value", or "name (attribute: value): value".
    Comments, processing instructions and namespaces are left out. Nothing outside the file is read. Of entities only
    short ones are expanded; a file that declares others is refused.
    """
    text = clean(decode(file.content, charset=file.charset or declared_charset(file.content)))
    limits.check_characters(len(text))
    blocks = tuple(read_xml(text, limits=limits))
    if not blocks:
        raise DocumentUnreadableError("the XML has no text")
    heading = next((block.text for block in blocks if block.level), "")
    return ParsedDocument(choose_title(heading, name=file.name), file.media_type, "line", blocks)
