"""What documents are made of on their way to passages: plain values without behaviour of a store or a wire.

Everything here is immutable and picklable, because it is made in worker processes and sent back.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

LocationKind = Literal["page", "slide", "line", "paragraph", "row", "byte"]

_NEWLINE = re.compile("\n")


@dataclass(frozen=True, slots=True)
class Location:
    """Where in the original document a text stands.

    Pages, slides, lines, paragraphs and rows count from 1 and include both ends; bytes count from 0 and are half-open.

    What is counted, by format:
        pages: PDF.
        slides: PPTX; hidden ones included, one to a passage.
        rows: XLSX, those of one sheet as the sheet itself numbers them; CSV and TSV, as a spreadsheet numbers them (the
            header and blank rows count).
        lines: plain text, Markdown and other text with markup, HTML, XML, JSON, JSON Lines, source code; those of the
            original file (a line ends at LF, CRLF or CR).
        bytes: JSON whose lines are very long.
        paragraphs: DOCX, every `w:p` of the body in document order (those in tables and empty ones included, those in
            text boxes not); ODT, every `text:p` and `text:h` likewise; RTF likewise, each cell of a table as one; EPUB,
            those of the whole book in reading order (headings, list items, table rows and lines that a break ends count
            as one each); e-mail, those of the message as it is shown (the subject is the first, the other headers are
            the second); notebooks, the cells.
    """

    kind: LocationKind
    start: int
    end: int
    sheet: str = ""
    """The sheet of a workbook; only with rows."""


@dataclass(frozen=True, slots=True)
class SourceMap:
    """Which units (lines, pages, paragraphs) of the original each part of a text came from.

    Part `i` of the text begins at character `offsets[i]`, ends where the next begins, and came from the units
    `starts[i]` to `ends[i]`, inclusive. `offsets[0]` is 0.
    """

    offsets: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def whole(cls, start: int, end: int | None = None) -> SourceMap:
        """Map all of a text to one range of units (`end` defaults to `start`)."""
        return cls((0,), (start,), (start if end is None else end,))

    @classmethod
    def line_by_line(cls, text: str, first: int) -> SourceMap:
        """Map a text whose every newline is a newline of the original, beginning in line `first`."""
        offsets = (0, *(match.end() for match in _NEWLINE.finditer(text)))
        units = tuple(range(first, first + len(offsets)))
        return cls(offsets, units, units)

    @classmethod
    def parts(cls, parts: Iterable[tuple[int, int, int]]) -> SourceMap:
        """Map by (offset, start, end) triples in the order of their offsets."""
        offsets, starts, ends = zip(*parts, strict=True)
        return cls(offsets, starts, ends)

    def locate(self, start: int, end: int) -> tuple[int, int]:
        """Return the first and last unit that the characters `start` to `end` (half-open, not empty) came from."""
        first = bisect_right(self.offsets, start) - 1
        last = max(bisect_right(self.offsets, end - 1), first + 1)
        return min(self.starts[first:last]), max(self.ends[first:last])


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a document that belongs together: a heading, a paragraph, a list, a table, a listing.

    `text` is never empty, and neither begins nor ends with a newline.
    """

    text: str
    source: SourceMap
    level: int = 0
    """0: body text; 1 to 9: a heading of that level."""
    sheet: str = ""
    """The sheet of a workbook that it stands on. No passage spans two sheets."""
    name: str = ""
    """With a heading: what those under it are said to stand under, if that is not its text."""


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A document read: its title and its text in reading order."""

    title: str
    media_type: str
    unit: LocationKind
    """What the blocks' source maps count."""
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """What a document is split into: the unit that is embedded, found and shown."""

    ordinal: int
    """Position in the document, from 0."""
    text: str
    location: Location | None
    heading: str = ""
    """The headings under which all of the passage stands, outermost first, joined by " > "."""


@dataclass(frozen=True, slots=True)
class SplitDocument:
    """A document read and split."""

    title: str
    media_type: str
    passages: tuple[Passage, ...]
