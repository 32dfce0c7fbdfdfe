"""HTML pages."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.html_blocks import read_tree_blocks
from headwater_server.retrieval.parsing.html_lines import is_xhtml, mark_lines
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.text import choose_title, clean, decode
from headwater_server.retrieval.parsing.xml_declaration import declared_charset

_XHTML = "application/xhtml+xml"
_META_CHARSET = re.compile(rb"""<meta[^>]{0,300}?\bcharset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.I)
_META_WITHIN = 4096


def parse_html(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read an HTML page; a `Parser`. Locations are lines of the file, exact also where markup is broken.

    Left out: scripts, styles, navigation (`nav`), form controls, drawings, elements marked `hidden`, comments.
    A table of data becomes a line a row, its cells joined by " | "; a table that lays out a page is taken apart.
    """
    text = clean(decode(file.content, charset=file.charset or _declared_charset(file.content)))
    limits.check_characters(len(text))
    said = file.declared_type == _XHTML or file.name.lower().endswith(".xhtml")
    tree = LexborHTMLParser(mark_lines(text, xhtml=said or is_xhtml(text)))
    blocks = tuple(read_tree_blocks(tree))
    if not blocks:
        raise DocumentUnreadableError("the page has no text")
    title = tree.css_first("title")
    heading = next((block.text for block in blocks if block.level), "")
    return ParsedDocument(
        choose_title(title.text() if title else "", heading, name=file.name), file.media_type, "line", blocks
    )


def _declared_charset(content: bytes) -> str:
    """What the page declares: XHTML in its first line, HTML in a `meta`."""
    in_first_line = declared_charset(content)
    if in_first_line:
        return in_first_line
    match = _META_CHARSET.search(content[:_META_WITHIN])
    return match[1].decode("ascii") if match else ""
