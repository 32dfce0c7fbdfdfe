"""From an HTML source to blocks of text (headings, paragraphs, lists, tables, preformatted text) with their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from headwater_server.retrieval.model import Block
from headwater_server.retrieval.parsing.html_elements import CELLS, DROPPED, HEADINGS, LINES, LISTS, PARAGRAPHS
from headwater_server.retrieval.parsing.html_lines import mark_lines, split_marks
from headwater_server.retrieval.parsing.line_buffer import LineBuffer

# A table that has these inside lays out a page; any other holds data, and each of its rows becomes a line.
_LAYOUT = ", ".join(f"{cell} {inner}" for cell in ("td", "th") for inner in ("table", *HEADINGS))
_MAX_TABLES_EXAMINED_DEEP = 8

_DEEPEST_INDENT = 8

# The link that documentation tools put into each heading.
_PERMALINK = re.compile(r"¶\s*$")
_SPACE = re.compile(r"\s+")


def read_html_blocks(source: str, *, xhtml: bool = False) -> list[Block]:
    """Return the blocks of an HTML source; their source maps count its lines.

    Args:
        source: The source.
        xhtml: Whether it is XHTML.
    """
    return read_tree_blocks(LexborHTMLParser(mark_lines(source, xhtml=xhtml)))


def read_tree_blocks(tree: LexborHTMLParser) -> list[Block]:
    """Return the blocks of a tree that was built of a source marked by `mark_lines`."""
    if tree.body is None:
        return []
    hidden = {node.mem_id for node in tree.css("[hidden]")}
    return list(_Walker(hidden).blocks(tree.body))


class _Walker:
    """Walks a tree without recursion, as it may be deep, and gathers its text into blocks."""

    def __init__(self, hidden: set[int]) -> None:
        self._hidden = hidden
        self._buffer = LineBuffer()
        self._text: list[str] = []  # of the line under construction, marks included
        self._has_text = False  # whether anything in it is visible
        self._line = 1  # the last one seen
        self._lists: list[int | None] = []  # of each open list the next number; None: it has bullets
        self._item = ""  # the marker that the next line begins with
        self._tables: list[bool] = []  # of each open table whether it holds data
        self._cells: list[str] = []  # the finished cells of the row under construction
        self._heading = 0
        self._pre = 0

    def blocks(self, root: LexborNode) -> Iterator[Block]:
        path: list[tuple[LexborNode, str]] = []
        node: LexborNode | None = root
        while node is not None or path:
            if node is None:
                node, tag = path.pop()
                yield from self._leave(tag)
                node = node.next if path else None
                continue
            tag = node.tag or ""
            if tag == "-text":
                self._add_text(node.text_content or "")
            elif tag not in DROPPED and node.mem_id not in self._hidden:
                yield from self._enter(node, tag)
                path.append((node, tag))
                node = node.first_child
                continue
            node = node.next

    def _add_text(self, text: str) -> None:
        self._append(_PERMALINK.sub("", text) if self._heading else text)

    def _append(self, text: str) -> None:
        self._text.append(text)
        self._has_text = self._has_text or bool(text.strip())

    def _take_text(self) -> str:
        text = "".join(self._text)
        self._text = []
        self._has_text = False
        return text

    def _enter(self, node: LexborNode, tag: str) -> Iterator[Block]:
        if self._heading and self._has_text and (tag in PARAGRAPHS or tag in HEADINGS):
            yield from self._end_heading()  # a heading that was never closed has all that follows inside it
        yield from self._break(tag)
        if tag in LISTS:
            self._lists.append(_first_number(node) if tag == "ol" else None)
        elif tag == "li" and not self._in_row():
            self._item = self._marker()
        elif tag == "table":
            self._tables.append(self._holds_data(node))
        elif tag == "pre":
            self._pre += 1
        elif tag in HEADINGS and not self._in_row():  # one in a table's caption is a line of the table
            self._heading = HEADINGS[tag]

    def _leave(self, tag: str) -> Iterator[Block]:
        if tag in CELLS and self._in_row():
            self._cells.append(self._take_text())
            return
        if tag in HEADINGS and self._heading and not self._in_row():
            yield from self._end_heading()
        if tag in LISTS:
            self._lists.pop()
        yield from self._break(tag)
        if tag == "table":
            self._tables.pop()
        elif tag == "pre":
            self._pre -= 1

    def _end_heading(self) -> Iterator[Block]:
        self._end_line()
        yield from self._buffer.take(level=self._heading)
        self._heading = 0

    def _break(self, tag: str) -> Iterator[Block]:
        """End the line, and the block, as an element's beginning or end asks for."""
        ends_row = tag in {"tr", "table", "caption"}
        if (self._in_row() and not ends_row) or (self._heading and tag not in HEADINGS):
            if tag in PARAGRAPHS or tag in LINES:
                self._append(" ")
        elif tag in HEADINGS or (tag in PARAGRAPHS and not self._lists):
            self._end_line()
            yield from self._buffer.take()
        elif tag in CELLS or tag in PARAGRAPHS or tag in LINES:
            self._end_line()

    def _in_row(self) -> bool:
        return bool(self._tables) and self._tables[-1]

    def _holds_data(self, table: LexborNode) -> bool:
        if len(self._tables) >= _MAX_TABLES_EXAMINED_DEEP:
            return False
        part = table.first_child  # the table itself could match
        while part is not None:
            if part.css_first(_LAYOUT) is not None:
                return False
            part = part.next
        return True

    def _marker(self) -> str:
        if not self._lists:
            return "- "
        indent = "  " * min(len(self._lists) - 1, _DEEPEST_INDENT)
        number = self._lists[-1]
        if number is None:
            return f"{indent}- "
        self._lists[-1] = number + 1
        return f"{indent}{number}. "

    def _end_line(self) -> None:
        text = self._take_text()
        if self._cells:
            text = " | ".join([*self._cells, text] if text.strip() else self._cells)
            self._cells = []
        for line in text.split("\n") if self._pre else (text,):
            self._add_line(line)

    def _add_line(self, marked: str) -> None:
        pieces: list[str] = []
        parts: list[tuple[int, int, int]] = []
        length = len(self._item)
        for number, piece in split_marks(marked):
            self._line = number or self._line
            text = piece if self._pre else _SPACE.sub(" ", piece)
            if not self._pre and (not pieces or pieces[-1].endswith(" ")):
                text = text.lstrip(" ")
            # What stands before the first mark is at most the separators of empty cells.
            if number and text and (not parts or parts[-1][1] != number):
                parts.append((length if parts else 0, number, number))
            if text:
                pieces.append(text)
                length += len(text)
        if any(not piece.isspace() for piece in pieces):
            parts = parts or [(0, self._line, self._line)]
            self._buffer.add("".join((self._item, *pieces)), parts)
            self._item = ""
        elif self._pre:
            self._buffer.add("", ())


def _first_number(node: LexborNode) -> int:
    start = node.attributes.get("start") or "1"
    return int(start) if start.isdecimal() and len(start) < 9 else 1
