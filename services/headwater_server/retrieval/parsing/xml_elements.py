"""Telling prose from data among the elements of an XML text of unknown vocabulary.

An element is prose if it has text and elements side by side, if its name says so, or if it stands within prose. All
else is data: an element with text only is a value, an element with elements only is a record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from headwater_server.retrieval.model import Block
from headwater_server.retrieval.parsing.errors import DocumentTooLargeError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.xml_names import HEADINGS, NOISE, PREFORMATTED, PROSE
from headwater_server.retrieval.parsing.xml_writer import Piece, XmlWriter

MAX_DEPTH = 1000
"""Elements may be nested so deep."""

# An element that has so many elements and no text of its own yet is not prose.
_MANY = 30
_DEEPEST_HEADING = 9
_UNSEEN_PREFIXES = ("xmlns", "xml:", "xsi:")


class _Kind(Enum):
    UNKNOWN = auto()
    PROSE = auto()
    INLINE = auto()
    """Within prose."""
    DATA = auto()
    """A record: what is in it has been written so far."""


@dataclass(slots=True)
class _Element:
    """An element that is open, or a value that waits to be written."""

    name: str
    attributes: str
    line: int
    kind: _Kind
    block: _Element | None = None
    """Of an inline element the one that its text is part of."""
    last_line: int = 0
    has_elements: bool = False
    is_titled: bool = False
    """Whether a heading stands in it."""
    has_text: bool = False
    """Whether its pieces are more than white space."""
    pieces: list[Piece] = field(default_factory=list)
    waiting: list[_Element] = field(default_factory=list)
    """The values in it, as long as it may yet turn out to be prose."""


class ElementReader:
    """Takes elements and text in their order, and makes blocks of them."""

    def __init__(self, limits: ParseLimits) -> None:
        self._writer = XmlWriter(limits)
        self._open: list[_Element] = []

    def take_finished(self) -> Iterator[Block]:
        """Yield the blocks that are complete."""
        yield from self._writer.take_finished()

    def finish(self) -> Iterator[Block]:
        """Yield the last blocks."""
        yield from self._writer.finish()

    def begin(self, name: str, attributes: Mapping[str, str], line: int) -> None:
        """Take the beginning of an element.

        Raises:
            DocumentTooLargeError: It is nested too deep.
        """
        local = name.rpartition(":")[2]
        kind = _kind_by_name(local)
        parent = self._open[-1] if self._open else None
        if parent is not None:
            kind = self._place(parent, kind, local)
        block = self._block() if kind is _Kind.INLINE else None
        self._open.append(_Element(local, _attributes(attributes), line, kind, block))
        if len(self._open) > MAX_DEPTH:
            raise DocumentTooLargeError(f"the XML nests deeper than {MAX_DEPTH:,} elements")

    def _place(self, parent: _Element, kind: _Kind, name: str) -> _Kind:
        """Settle what a parent is that gets an element, and return the kind of that element."""
        parent.has_elements = True
        if parent.kind is _Kind.UNKNOWN and parent.has_text:
            self._turn_to_prose(parent)
        if parent.kind in {_Kind.PROSE, _Kind.INLINE}:
            block = self._block()
            if kind is _Kind.UNKNOWN or (name.lower() in HEADINGS and block.has_text):
                return _Kind.INLINE
            self._write_prose(block)
            return kind
        if kind is _Kind.PROSE:
            self._turn_to_data(len(self._open) - 1)
        elif len(self._open) > 1:
            self._turn_to_data(len(self._open) - 2)
        if parent.kind is _Kind.DATA and parent.has_text:
            self._write_prose(parent)
        return kind

    def add_text(self, text: str, line: int) -> None:
        """Take text within the element that is open."""
        if not self._open:
            return
        element = self._open[-1]
        if element.kind is _Kind.UNKNOWN and element.has_elements and not text.isspace():
            self._turn_to_prose(element)
        block = self._block()
        block.has_text = block.has_text or not text.isspace()
        if block.has_text or block.kind is not _Kind.DATA:
            block.pieces.append(Piece(text, line))

    def end(self, line: int) -> None:
        """Take the end of the element that is open."""
        element = self._open[-1]
        element.last_line = line
        match element.kind:
            case _Kind.INLINE:
                self._open.pop()
            case _Kind.PROSE:
                self._end_prose()
            case _Kind.UNKNOWN if not element.has_elements:
                self._end_value()
            case _:
                self._turn_to_data(len(self._open) - 1)
                if element.has_text:
                    self._write_prose(element)
                self._open.pop()
                self._writer.end_record()

    def _end_prose(self) -> None:
        element = self._open.pop()
        if element.name.lower() in HEADINGS:
            above = self._open[:-1]
            level = min(1 + sum(each.is_titled for each in above), _DEEPEST_HEADING)
            if self._writer.write_heading(element.pieces, level=level) and self._open:
                self._open[-1].is_titled = True
        else:
            self._write_prose(element)

    def _end_value(self) -> None:
        element = self._open.pop()
        parent = self._open[-1] if self._open else None
        if parent is not None and parent.kind is _Kind.UNKNOWN:
            parent.waiting.append(element)
            if len(parent.waiting) > _MANY:
                self._turn_to_data(len(self._open) - 1)
        else:
            self._write_value(element)

    def _block(self) -> _Element:
        """Return the element whose text the open element's text is part of."""
        return self._open[-1].block or self._open[-1]

    def _turn_to_prose(self, element: _Element) -> None:
        """Settle that an element is prose; the values in it are words of it."""
        element.kind = _Kind.PROSE
        if len(self._open) > 1:
            self._turn_to_data(len(self._open) - 2)
        pieces = [piece for value in element.waiting for piece in (*value.pieces, Piece(" ", value.last_line))]
        element.pieces = [*element.pieces, *pieces]
        element.has_text = True
        element.waiting = []

    def _turn_to_data(self, depth: int) -> None:
        """Settle that an open element, and those around it, are records, and write what waits in them."""
        first = depth
        while first > 0 and self._open[first - 1].kind is _Kind.UNKNOWN:
            first -= 1
        for element in self._open[first : depth + 1]:
            if element.kind is _Kind.UNKNOWN:
                self._begin_record(element)

    def _begin_record(self, element: _Element) -> None:
        element.kind = _Kind.DATA
        self._writer.begin_record(element.name, element.attributes, element.line)
        for value in element.waiting:
            self._write_value(value)
        element.waiting = []
        if not element.has_text:
            element.pieces = []

    def _write_value(self, element: _Element) -> None:
        self._writer.write_value(element.name, element.attributes, element.pieces, (element.line, element.last_line))

    def _write_prose(self, element: _Element) -> None:
        self._writer.write_prose(element.pieces, keeps_space=element.name.lower() in PREFORMATTED)
        element.pieces = []
        element.has_text = False


def _kind_by_name(name: str) -> _Kind:
    lowered = name.lower()
    is_prose = lowered in PROSE or lowered in HEADINGS or lowered in PREFORMATTED
    return _Kind.PROSE if is_prose else _Kind.UNKNOWN


def _attributes(attributes: Mapping[str, str]) -> str:
    said = []
    for name, value in attributes.items():
        local = name.rpartition(":")[2]
        if value.strip() and local.lower() not in NOISE and not name.startswith(_UNSEEN_PREFIXES):
            said.append(f"{local}: {' '.join(value.split())}")
    return "; ".join(said)
