"""From the body of a Word document, as XML, to blocks of text with their paragraphs' numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from docx.oxml.ns import qn

from headwater_server.retrieval.model import Block
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.line_buffer import LineBuffer
from headwater_server.retrieval.parsing.text import as_heading, clean
from headwater_server.retrieval.parsing.xml_parts import Element, outermost

_P, _TBL, _TR, _TC = qn("w:p"), qn("w:tbl"), qn("w:tr"), qn("w:tc")
_T, _TAB, _BR, _CR, _HYPHEN = qn("w:t"), qn("w:tab"), qn("w:br"), qn("w:cr"), qn("w:noBreakHyphen")
_P_PR, _STYLE, _NUM, _OUTLINE, _VAL = qn("w:pPr"), qn("w:pStyle"), qn("w:numPr"), qn("w:outlineLvl"), qn("w:val")
# Not part of the text: properties, drawings with their text boxes, what tracked changes deleted or moved away.
_SKIPPED = frozenset(
    (_P_PR, qn("w:rPr"), qn("w:drawing"), qn("w:pict"), qn("w:object"), qn("w:del"), qn("w:moveFrom"), qn("w:sectPr"),
     "{http://schemas.openxmlformats.org/markup-compatibility/2006}AlternateContent")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Styles:
    """What the ids of a document's styles mean."""

    levels: Mapping[str, int]
    """Style id to heading level."""
    lists: frozenset[str]
    """Ids of the styles of list items."""


def read_body(body: Element, styles: Styles, *, limits: ParseLimits) -> Iterator[Block]:
    """Yield the blocks of a body; a list or a table is one block.

    Raises:
        DocumentTooLargeError: There are more characters than the limit.
    """
    reader = _BodyReader(styles)
    characters = 0
    for block in reader.blocks(body):
        characters += len(block.text)
        limits.check_characters(characters)
        yield block


class _BodyReader:
    def __init__(self, styles: Styles) -> None:
        self._styles = styles
        self._number = 0  # of the last paragraph seen
        self._list = LineBuffer()

    def blocks(self, body: Element) -> Iterator[Block]:
        for element in outermost(body, _P, _TBL, skipped=_SKIPPED):
            if element.tag == _TBL:
                yield from self._list.take()
                yield from self._table(element)
            else:
                yield from self._paragraph(element)
        yield from self._list.take()

    def _paragraph(self, element: Element) -> Iterator[Block]:
        self._number += 1
        text = _paragraph_text(element)
        level, listed = self._kind(element)
        if not text.strip():
            return
        if listed and not level:
            self._add_lines(self._list, f"- {text.strip()}")
            return
        yield from self._list.take()
        buffer = LineBuffer()
        text, level = as_heading(text, level)
        self._add_lines(buffer, text)
        yield from buffer.take(level=level)

    def _add_lines(self, buffer: LineBuffer, text: str) -> None:
        for line in text.split("\n"):
            buffer.add(line, [(0, self._number, self._number)])

    def _kind(self, element: Element) -> tuple[int, bool]:
        """Return a paragraph's heading level (0: none), and whether it is an item of a list."""
        properties = element.find(_P_PR)
        if properties is None:
            return 0, False
        outline = properties.find(_OUTLINE)
        if outline is not None and (level := outline.get(_VAL) or "").isdecimal() and int(level) < 9:
            return int(level) + 1, False
        style = properties.find(_STYLE)
        style_id = style.get(_VAL) if style is not None else ""
        listed = properties.find(_NUM) is not None or style_id in self._styles.lists
        return self._styles.levels.get(style_id, 0), listed

    def _table(self, table: Element) -> Iterator[Block]:
        rows = LineBuffer()
        for row in outermost(table, _TR, skipped=_SKIPPED):
            first = self._number + 1
            cells = [self._cell(cell) for cell in outermost(row, _TC, skipped=_SKIPPED)]
            if any(cells):
                rows.add(" | ".join(cells), [(0, first, self._number)])
        yield from rows.take()

    def _cell(self, cell: Element) -> str:
        texts: list[str] = []
        for paragraph in outermost(cell, _P, skipped=_SKIPPED):
            self._number += 1
            texts += _paragraph_text(paragraph).split()
        return " ".join(texts)


def _paragraph_text(paragraph: Element) -> str:
    pieces: list[str] = []
    for element in outermost(paragraph, _T, _TAB, _BR, _CR, _HYPHEN, skipped=_SKIPPED):
        if element.tag == _T:
            pieces.append(element.text or "")
        elif element.tag == _TAB:
            pieces.append("\t")
        else:
            pieces.append("-" if element.tag == _HYPHEN else "\n")
    return clean("".join(pieces))
