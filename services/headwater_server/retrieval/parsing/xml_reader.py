"""From XML to blocks of text, by expat: it neither recurses nor keeps a tree, and knows where it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.parsers import expat

from headwater_server.retrieval.model import Block
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.xml_elements import ElementReader
from headwater_server.retrieval.parsing.xml_entities import Entities

_CHUNK = 1 << 20


def read_xml(text: str, *, limits: ParseLimits) -> Iterator[Block]:
    """Yield the blocks of an XML text; their source maps count its lines.

    Raises:
        DocumentUnreadableError: It is not well-formed, or declares entities that are not allowed.
        DocumentTooLargeError: It nests too deep, or its entities expand beyond the limit.
    """
    body = text.lstrip()
    lines_before = text.count("\n", 0, len(text) - len(body))
    reader = ElementReader(limits)
    parser = _parser(reader, Entities(text, limits=limits), lines_before)
    try:
        for start in range(0, len(body) + 1, _CHUNK):
            parser.Parse(body[start : start + _CHUNK], start + _CHUNK > len(body))
            yield from reader.take_finished()
    except expat.ExpatError as error:
        line = error.lineno + lines_before
        raise DocumentUnreadableError(
            f"the file is not well-formed XML: line {line:,}: {expat.ErrorString(error.code)}"
        ) from error
    yield from reader.finish()


def _parser(reader: ElementReader, entities: Entities, lines_before: int) -> expat.XMLParserType:
    parser = expat.ParserCreate()
    # What an external declaration, which is never read, may have declared is not an error.
    parser.UseForeignDTD(True)

    def line() -> int:
        return parser.CurrentLineNumber + lines_before

    def begin(name: str, attributes: Mapping[str, str]) -> None:
        reader.begin(name, attributes, line())

    def end(_name: str) -> None:
        reader.end(line())

    def add_text(data: str) -> None:
        reader.add_text(data, line())

    def add_reference(data: str) -> None:
        if data.startswith("&"):
            reader.add_text(entities.expand(data), line())

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = add_text
    parser.EntityDeclHandler = entities.on_declaration
    parser.AttlistDeclHandler = entities.on_attribute_declaration
    # That there is a default handler keeps the library from expanding entities, other than in attributes: it is given
    # the references. It is also given all that has no handler: comments, instructions, declarations.
    parser.DefaultHandler = add_reference
    return parser
