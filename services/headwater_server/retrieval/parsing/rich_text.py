"""Rich Text Format (RTF 1.9.1).

Read here rather than by a library: the one there is (striprtf) returns a single string, without paragraphs to count,
headings or tables.
"""

from __future__ import annotations

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.rtf_reader import RtfReader
from headwater_server.retrieval.parsing.text import choose_title


def parse_rich_text(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read an RTF document; a `Parser`. Locations are paragraphs.

    Counted are all paragraphs and table cells of the body, from 1, empty ones included. A table's row is a line, its
    cells joined by " | ". Headers, footers, footnotes, comments, pictures, hidden and deleted text are left out.
    """
    reader = RtfReader(file.content, limits=limits)
    blocks = tuple(reader.blocks())
    if not blocks:
        raise DocumentUnreadableError("the document has no text (pictures are not read)")
    heading = next((block.text for block in blocks if block.level), "")
    title = choose_title(reader.title, heading, name=file.name)
    return ParsedDocument(title, file.media_type, "paragraph", blocks)
