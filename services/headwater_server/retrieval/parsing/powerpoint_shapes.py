"""From the shapes of a slide, as XML, to their texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pptx.oxml.ns import qn

from headwater_server.retrieval.parsing.powerpoint_graphics import Graphics, Part
from headwater_server.retrieval.parsing.text import as_heading, clean
from headwater_server.retrieval.parsing.xml_parts import Element

_SHAPE, _GROUP, _FRAME, _CONNECTOR = qn("p:sp"), qn("p:grpSp"), qn("p:graphicFrame"), qn("p:cxnSp")
_PLACEHOLDER, _SHAPE_PROPERTIES, _TEXT_BODY = qn("p:ph"), qn("p:cNvPr"), qn("p:txBody")
_ALTERNATIVES = "{http://schemas.openxmlformats.org/markup-compatibility/2006}AlternateContent"
_PARAGRAPH, _PROPERTIES, _TEXT, _BREAK, _FIELD = qn("a:p"), qn("a:pPr"), qn("a:t"), qn("a:br"), qn("a:fld")
_TABLE, _ROW, _CELL = qn("a:tbl"), qn("a:tr"), qn("a:tc")
_BULLETS = (qn("a:buChar"), qn("a:buAutoNum"), qn("a:buBlip"))
_NO_BULLET = qn("a:buNone")

_TITLES = frozenset(("title", "ctrTitle"))
_RUNNING = frozenset(("dt", "ftr", "hdr", "sldNum", "sldImg"))
_LISTS = frozenset(("", "body", "obj"))  # placeholders whose paragraphs have bullets unless they say otherwise
_DEEPEST_INDENT = 8
_TRUE = frozenset(("1", "true"))


@dataclass(frozen=True, slots=True)
class ShapeText:
    """What a shape says; never empty."""

    text: str
    is_title: bool


def read_shapes(tree: Element, part: Part, graphics: Graphics) -> Iterator[ShapeText]:
    """Yield the texts of a slide's shapes, those in groups included, in the order of the file.

    Args:
        tree: The slide's tree of shapes (`p:spTree`).
        part: The slide's part.
        graphics: Reads the charts and diagrams, which are files of their own.
    """
    for shape in _shapes(tree):
        if shape.tag == _FRAME:
            text, kind = _frame_text(shape, part, graphics), "frame"
        else:
            kind = _placeholder(shape)
            text = "" if kind in _RUNNING else _shape_text(shape, kind)
        text, level = as_heading(text, int(kind in _TITLES))
        if text:
            yield ShapeText(text, is_title=level > 0)


def read_notes(tree: Element) -> str:
    """Return the speaker's notes of a notes page, marked as such; empty if there are none."""
    bodies = [shape for shape in _shapes(tree) if shape.tag == _SHAPE and _placeholder(shape) == "body"]
    text = "\n".join(filter(None, (_body_text(shape.find(_TEXT_BODY), listed=False) for shape in bodies)))
    return f"Notes: {text}" if text else ""


def _shapes(tree: Element) -> Iterator[Element]:
    """Yield the shapes below an element; without recursion, and each of several alternatives' first only."""
    stack = [iter(tree)]
    while stack:
        element = next(stack[-1], None)
        if element is None:
            stack.pop()
        elif element.tag == _ALTERNATIVES:
            stack.append(iter(element[0]) if len(element) else iter(()))
        elif element.tag in {_SHAPE, _CONNECTOR, _FRAME} and not _is_hidden(element):
            yield element
        elif element.tag == _GROUP and not _is_hidden(element):
            stack.append(iter(element))


def _is_hidden(shape: Element) -> bool:
    properties = next(shape.iter(_SHAPE_PROPERTIES), None)
    return properties is not None and properties.get("hidden") in _TRUE


def _placeholder(shape: Element) -> str:
    """Return what a shape holds the place of; empty: an object of any kind, `none`: it is no placeholder."""
    placeholder = next(shape.iter(_PLACEHOLDER), None)
    return "none" if placeholder is None else placeholder.get("type") or ""


def _shape_text(shape: Element, kind: str) -> str:
    body = shape.find(_TEXT_BODY)
    return "" if body is None else _body_text(body, listed=kind in _LISTS)


def _frame_text(frame: Element, part: Part, graphics: Graphics) -> str:
    table = next(frame.iter(_TABLE), None)
    return graphics.read(frame, part) if table is None else _table_text(table)


def _table_text(table: Element) -> str:
    rows = ([_cell_text(cell) for cell in row.iterchildren(_CELL)] for row in table.iterchildren(_ROW))
    return "\n".join(" | ".join(cells) for cells in rows if any(cells))


def _cell_text(cell: Element) -> str:
    return " ".join(" ".join(_paragraph_text(paragraph).split()) for paragraph in cell.iter(_PARAGRAPH)).strip()


def _body_text(body: Element, *, listed: bool) -> str:
    if body is None:
        return ""
    paragraphs = [(paragraph, _paragraph_text(paragraph)) for paragraph in body.iterchildren(_PARAGRAPH)]
    written = [(paragraph, text) for paragraph, text in paragraphs if text.strip()]
    several = len(written) > 1
    return "\n".join(_marker(paragraph, listed=listed and several) + text.strip() for paragraph, text in written)


def _marker(paragraph: Element, *, listed: bool) -> str:
    properties = paragraph.find(_PROPERTIES)
    level = ""
    if properties is not None:
        level = properties.get("lvl") or ""
        if properties.find(_NO_BULLET) is not None:
            return ""
        listed = listed or any(properties.find(bullet) is not None for bullet in _BULLETS)
    indent = min(int(level), _DEEPEST_INDENT) if level.isdecimal() and len(level) < 3 else 0
    return f"{'  ' * indent}- " if listed else ""


def _paragraph_text(paragraph: Element) -> str:
    pieces: list[str] = []
    for element in paragraph.iter(_TEXT, _BREAK):
        if element.tag == _BREAK:
            pieces.append("\n")
        elif not _is_slide_number(element.getparent()):
            pieces.append(element.text or "")
    return clean("".join(pieces))


def _is_slide_number(run: Element) -> bool:
    return bool(run.tag == _FIELD and run.get("type") == "slidenum")
