"""Markdown (CommonMark with tables): headings, paragraphs, lists, listings and tables, each with its lines."""

from __future__ import annotations

from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from headwater_server.retrieval.model import Block, ParsedDocument
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.front_matter import take_front_matter
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.line_buffer import LineBuffer
from headwater_server.retrieval.parsing.markdown_inline import InlineReader
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.plain_text import line_blocks
from headwater_server.retrieval.parsing.text import choose_title, clean, decode

# The parser skips what is nested deeper, without a word; and it must stay clear of Python's recursion limit.
_MAX_NESTING = 60
# The parser makes some 500 bytes of tokens of each line at worst; no person writes a file like this.
_MAX_LINES = 200_000


def parse_markdown(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read Markdown; a `Parser`. Locations are lines of the file.

    Inline markup is taken off: of a link its text is left, of an image its description. A text that nests quotes and
    lists beyond reason, or has more than 200,000 lines, is read as plain text instead.
    """
    text = clean(decode(file.content, charset=file.charset))
    limits.check_characters(len(text))
    declared_title, body = take_front_matter(text)
    blocks = _read_blocks(body)
    if not blocks:
        raise DocumentUnreadableError("the file has no text")
    first_heading = next((block.text for block in blocks if block.level), "")
    title = choose_title(declared_title, first_heading, name=file.name)
    return ParsedDocument(title, file.media_type, "line", blocks)


def _read_blocks(text: str) -> tuple[Block, ...]:
    if text.count("\n") > _MAX_LINES:
        return tuple(line_blocks(text))
    markdown = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable("table")
    markdown.disable("inline")  # run by InlineReader, on what is worth it
    environment: dict[str, object] = {}
    tokens = markdown.parse(text, environment)
    if any(token.level >= _MAX_NESTING - 1 for token in tokens):
        return tuple(line_blocks(text))
    return tuple(_Walker(InlineReader(markdown, environment)).blocks(tokens))


class _Walker:
    """Gathers a flat list of tokens into blocks; a list, a quote or a table is one block."""

    def __init__(self, inline: InlineReader) -> None:
        self._inline = inline
        self._buffer = LineBuffer()
        self._lists: list[int | None] = []  # of each open list the next number; None: it has bullets
        self._item = ""  # the marker that the next line begins with
        self._level = 0
        self._row: list[str] | None = None
        self._row_line = 1

    def blocks(self, tokens: list[Token]) -> Iterator[Block]:
        for token in tokens:
            if token.type == "heading_open":
                yield from self._buffer.take()
                self._level = int(token.tag[1:])
            self._read(token)
            if token.type == "heading_close":
                yield from self._buffer.take(level=self._level)
                self._level = 0
            elif token.level == 0 and token.nesting <= 0:
                yield from self._buffer.take()
        yield from self._buffer.take()

    def _read(self, token: Token) -> None:
        match token.type:
            case "inline":
                self._read_inline(token)
            case "fence" | "code_block":
                self._add(token.content, _first_line(token) + (token.type == "fence"))
            case "html_block":
                self._add_html(token)
            case "bullet_list_open" | "ordered_list_open":
                self._lists.append(int(token.attrGet("start") or 1) if token.tag == "ol" else None)
            case "bullet_list_close" | "ordered_list_close":
                self._lists.pop()
            case "list_item_open":
                self._item = self._marker()
            case "tr_open":
                self._row, self._row_line = [], _first_line(token)
            case "tr_close":
                self._add(" | ".join(self._row or ()), self._row_line)
                self._row = None

    def _read_inline(self, token: Token) -> None:
        text = self._inline.text(token.content)
        first, last = _first_line(token), _last_line(token)
        if self._row is not None:
            self._row.append(" ".join(text.split()))
        elif self._level:
            self._add(" ".join(text.split()), first, last)
        elif text.count("\n") == last - first:
            self._add(text, first)
        else:  # markup that spans lines has taken newlines with it
            self._add(text, first, last)

    def _marker(self) -> str:
        indent = "  " * (len(self._lists) - 1)
        number = self._lists[-1]
        if number is None:
            return f"{indent}- "
        self._lists[-1] = number + 1
        return f"{indent}{number}. "

    def _add(self, text: str, first: int, last: int | None = None) -> None:
        """Add lines that came one by one from the file's lines from `first` on, or all from `first` to `last`."""
        for number, line in enumerate(text.rstrip("\n").split("\n")):
            origin = (0, first + number, first + number) if last is None else (0, first, last)
            indent = self._item or "  " * len(self._lists)
            self._buffer.add(indent + line if line.strip() else "", [origin])
            if line.strip():
                self._item = ""

    def _add_html(self, token: Token) -> None:
        from headwater_server.retrieval.parsing.html_blocks import read_html_blocks  # noqa: PLC0415  seldom needed

        offset = _first_line(token) - 1
        for block in read_html_blocks(token.content):
            start, end = block.source.locate(0, len(block.text))
            self._add(block.text, start + offset, end + offset)


def _first_line(token: Token) -> int:
    return token.map[0] + 1 if token.map else 1


def _last_line(token: Token) -> int:
    return token.map[1] if token.map else 1
