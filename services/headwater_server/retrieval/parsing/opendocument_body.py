"""From the body of an OpenDocument text, as XML, to blocks of text with their paragraphs' numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from headwater_server.retrieval.model import Block
from headwater_server.retrieval.parsing.limits import ParseLimits, TextBudget
from headwater_server.retrieval.parsing.line_buffer import LineBuffer
from headwater_server.retrieval.parsing.text import as_heading, clean
from headwater_server.retrieval.parsing.xml_parts import Element, outermost

_NAMESPACE = "{{urn:oasis:names:tc:opendocument:xmlns:{}:1.0}}"
OFFICE = _NAMESPACE.format("office")
TEXT = _NAMESPACE.format("text")
MANIFEST = _NAMESPACE.format("manifest")
_TABLE = _NAMESPACE.format("table")
_STYLE = _NAMESPACE.format("style")
_DRAWING = _NAMESPACE.format("drawing")

_PARAGRAPHS = (f"{TEXT}p", f"{TEXT}h")
_HEADING, _NOTE = f"{TEXT}h", f"{TEXT}note"
_LIST, _ITEM = f"{TEXT}list", f"{TEXT}list-item"
_ROW, _CELL = f"{_TABLE}table-row", f"{_TABLE}table-cell"
# Not part of what is read: deleted text, comments, the table of contents, and declarations.
_SKIPPED = frozenset(
    (f"{TEXT}tracked-changes", f"{OFFICE}annotation", f"{TEXT}table-of-content", f"{OFFICE}forms", f"{TEXT}ruby-text",
     f"{TEXT}note-citation", f"{TEXT}hidden-text", f"{TEXT}script")
)  # fmt: skip
_DISPLAY = f"{TEXT}display"
_DEEPEST_INDENT = 8
_MAX_SPACES = 100

# Characters that XML cannot have stand for the white space that an element asks for, as other white space is collapsed.
_SPACE, _TAB, _BREAK = "\x00", "\x01", "\x02"
_ASKED_FOR = str.maketrans({_SPACE: " ", _TAB: "\t", _BREAK: "\n"})
_COLLAPSED = re.compile("[ \t\r\n]+")


@dataclass(frozen=True, slots=True)
class Styles:
    """The names of the paragraph styles that mean something."""

    titles: frozenset[str]
    """Of a document's title."""
    listings: frozenset[str]
    """Of preformatted text, of which each line is a paragraph."""


def read_styles(content: Element) -> Styles:
    """Return what the styles of a document (its `office:document-content`) mean, itself or through their parents."""
    parents = {
        style.get(f"{_STYLE}name"): style.get(f"{_STYLE}parent-style-name")
        for style in content.iterfind(f"{OFFICE}automatic-styles/{_STYLE}style")
    }

    def named(name: str) -> frozenset[str]:
        return frozenset((name, *(style for style, parent in parents.items() if style and parent == name)))

    return Styles(named("Title"), named("Preformatted_20_Text"))


def read_body(text: Element, styles: Styles, *, limits: ParseLimits) -> Iterator[Block]:
    """Yield the blocks of a text (`office:text`); a list, a listing or a table is one block.

    Args:
        text: The element.
        styles: What its styles mean.
        limits: What it may cost.

    Raises:
        DocumentTooLargeError: There are more characters than the limit.
    """
    budget = TextBudget(limits)
    for block in _BodyReader(styles).blocks(text):
        budget.spend(len(block.text))
        yield block


class _BodyReader:
    def __init__(self, styles: Styles) -> None:
        self._styles = styles
        self._number = 0  # of the last paragraph seen
        self._lines = LineBuffer()  # of the list or listing under construction
        self._is_listing = False

    def blocks(self, text: Element) -> Iterator[Block]:
        yield from self._container(text, depth=0, marker="")
        yield from self._take_lines()

    def _container(self, parent: Element, *, depth: int, marker: str) -> Iterator[Block]:
        """Yield the blocks within an element; XML is nested no deeper than its parser allows.

        Args:
            parent: The element.
            depth: How many lists are open.
            marker: What the first paragraph begins with, in a list.
        """
        for element in parent:
            if element.tag in _SKIPPED or element.get(_DISPLAY) == "none":
                continue
            if element.tag in _PARAGRAPHS:
                yield from self._paragraph(element, depth=depth, marker=marker)
                marker = "  " * depth
            elif element.tag == f"{_TABLE}table":
                yield from self._take_lines()
                yield from self._table(element)
            elif element.tag == _LIST:
                yield from self._container(element, depth=depth + 1, marker="")
                if not depth:
                    yield from self._take_lines()
            elif element.tag == _ITEM:
                indent = "  " * min(depth - 1, _DEEPEST_INDENT)
                yield from self._container(element, depth=depth, marker=f"{indent}- ")
            else:
                yield from self._container(element, depth=depth, marker=marker)

    def _paragraph(self, element: Element, *, depth: int, marker: str) -> Iterator[Block]:
        self._number += 1
        number = self._number
        text, attached = _paragraph_text(element)
        style = element.get(f"{TEXT}style-name")
        level = _heading_level(element) or (1 if style in self._styles.titles else 0)
        is_listing = style in self._styles.listings and not level and not depth
        if self._is_listing and not is_listing:
            yield from self._take_lines()
        self._is_listing = is_listing
        if is_listing:
            self._add(self._lines, text, number)
        elif text and depth and not level:
            self._add(self._lines, f"{marker}{text}", number)
        elif text:
            yield from self._take_lines()
            buffer = LineBuffer()
            text, level = as_heading(text, level)
            self._add(buffer, text, number)
            yield from buffer.take(level=level)
        for part in attached:
            yield from self._container(part, depth=depth, marker="  " * depth)

    def _take_lines(self) -> Iterator[Block]:
        self._is_listing = False
        yield from self._lines.take()

    def _add(self, buffer: LineBuffer, text: str, number: int) -> None:
        for line in text.split("\n"):
            buffer.add(line, [(0, number, number)])

    def _table(self, table: Element) -> Iterator[Block]:
        rows = LineBuffer()
        for row in outermost(table, _ROW, skipped=_SKIPPED):
            first = self._number + 1
            cells = [self._cell(cell) for cell in outermost(row, _CELL, skipped=_SKIPPED)]
            if any(cells):
                rows.add(" | ".join(cells), [(0, first, self._number)])
        yield from rows.take()

    def _cell(self, cell: Element) -> str:
        return " ".join(self._words(cell))

    def _words(self, element: Element) -> Iterator[str]:
        for paragraph in outermost(element, *_PARAGRAPHS, skipped=_SKIPPED):
            self._number += 1
            text, attached = _paragraph_text(paragraph)
            yield from text.split()
            for part in attached:
                yield from self._words(part)


def _heading_level(element: Element) -> int:
    if element.tag != _HEADING:
        return 0
    level = element.get(f"{TEXT}outline-level") or "1"
    return min(max(int(level), 1), 9) if level.isdecimal() and len(level) < 4 else 1


def _paragraph_text(paragraph: Element) -> tuple[str, list[Element]]:
    """Return a paragraph's text, and the elements in it that have paragraphs of their own: notes and text boxes."""
    pieces: list[str] = []
    attached: list[Element] = []
    walk = etree.iterwalk(paragraph, events=("start", "end"))
    for event, element in walk:
        if event == "end":
            pieces.append((element.tail or "") if element is not paragraph else "")
        elif element.tag == _NOTE or element.tag.startswith(_DRAWING):
            attached.append(element)
            walk.skip_subtree()
        elif element.tag in _SKIPPED or (element.tag in _PARAGRAPHS and element is not paragraph):
            walk.skip_subtree()
        else:
            pieces.append(_white_space(element) or element.text or "")
    text = _COLLAPSED.sub(" ", "".join(pieces)).strip(" ").translate(_ASKED_FOR)
    return clean(text).strip("\n"), attached


def _white_space(element: Element) -> str:
    if element.tag == f"{TEXT}s":
        count = element.get(f"{TEXT}c") or "1"
        return _SPACE * (min(int(count), _MAX_SPACES) if count.isdecimal() and len(count) < 9 else 1)
    return {f"{TEXT}tab": _TAB, f"{TEXT}line-break": _BREAK}.get(element.tag, "")
