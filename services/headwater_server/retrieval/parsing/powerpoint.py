"""PowerPoint presentations (PPTX), opened by python-pptx."""

from __future__ import annotations

import io

from pptx.package import Package
from pptx.parts.presentation import PresentationPart
from pptx.presentation import Presentation
from pptx.slide import Slide

from headwater_server.retrieval.model import Block, ParsedDocument, SourceMap
from headwater_server.retrieval.parsing.archive import check_archive
from headwater_server.retrieval.parsing.errors import DocumentError, DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits, TextBudget
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.powerpoint_graphics import Graphics
from headwater_server.retrieval.parsing.powerpoint_shapes import read_notes, read_shapes
from headwater_server.retrieval.parsing.text import choose_title

# What PowerPoint puts into the title when nobody gave one.
_NO_TITLES = frozenset(
    ("powerpoint presentation", "presentation", "powerpoint-präsentation", "présentation powerpoint", "slide 1")
)


def parse_powerpoint(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read a PowerPoint presentation; a `Parser`. Locations are slides, counted from 1, hidden ones included.

    A slide's title is a heading. Each shape is a block: a text box, a table (a line a row, its cells joined by " | "),
    a diagram, a chart's words and figures. Shapes come in the order in which they lie on the slide, which is the order
    in which a screen reader reads them. Last come the speaker's notes. Dates, footers, slide numbers, hidden shapes,
    comments, and what the slide's layout shows are left out. Macros are never run.
    """
    check_archive(file.content, limits=limits)
    blocks: list[Block] = []
    try:
        presentation = _open(file.content)
        slides = presentation.slides
        limits.check_pages(len(slides), name="slides")
        graphics = Graphics(limits)
        budget = TextBudget(limits)
        seen: set[str] = set()
        for number, slide in enumerate(slides, start=1):
            if slide.part.partname not in seen:
                seen.add(slide.part.partname)
                for block in _read_slide(slide, number, graphics):
                    budget.spend(len(block.text))
                    blocks.append(block)
        title = presentation.core_properties.title
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # python-pptx answers a malformed package with whatever exception comes of it
        raise DocumentUnreadableError(
            "the document is damaged, or not a PowerPoint presentation (.pptx), and cannot be opened"
        ) from error
    if not blocks:
        raise DocumentUnreadableError("the presentation has no text (pictures are not read)")
    heading = next((block.text for block in blocks if block.level), "")
    title = "" if title.strip().lower() in _NO_TITLES else title
    return ParsedDocument(choose_title(title, heading, name=file.name), file.media_type, "slide", tuple(blocks))


def _open(content: bytes) -> Presentation:
    part = Package.open(io.BytesIO(content)).main_document_part
    if not isinstance(part, PresentationPart):
        raise DocumentUnreadableError("the file is an Office document, but not a PowerPoint presentation (.pptx)")
    presentation: Presentation = part.presentation
    return presentation


def _read_slide(slide: Slide, number: int, graphics: Graphics) -> list[Block]:
    source = SourceMap.whole(number)
    shapes = list(read_shapes(slide.shapes.element, slide.part, graphics))
    blocks = [Block(shape.text, source, level=1) for shape in shapes if shape.is_title]
    blocks += [Block(shape.text, source) for shape in shapes if not shape.is_title]
    if slide.has_notes_slide and (notes := read_notes(slide.notes_slide.shapes.element)):
        blocks.append(Block(notes, source))
    return blocks
