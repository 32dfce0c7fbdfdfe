"""Following the groups of an RTF file, and gathering its paragraphs."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from headwater_server.retrieval.model import Block
from headwater_server.retrieval.parsing.errors import DocumentTooLargeError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.rtf_paragraphs import ParagraphWriter
from headwater_server.retrieval.parsing.rtf_tokens import (
    CELL_ENDS,
    CHARACTERS,
    CODE_PAGES,
    FONT_CODE_PAGES,
    LIST_MARKS,
    PARAGRAPH_ENDS,
    ROW_ENDS,
    UNSEEN,
    Token,
    read_tokens,
)

MAX_DEPTH = 2000
_MAX_TABLE_ENTRIES = 100_000
_HEADING_NAME = re.compile(r"(?:heading|title)[ ]?([1-9])?", re.I)
_OFF = 0


@dataclass(slots=True)
class _Group:
    """What holds until the end of a group."""

    destination: bytes = b""
    """The table, or other place, that its text goes to; empty: the document."""
    font: int = -1
    fallback: int = 1
    """How many characters after a Unicode character stand in for it."""
    is_hidden: bool = False
    style: int = -1


@dataclass(slots=True)
class _Tables:
    """What the tables at the beginning of the file say."""

    code_page: str = "cp1252"
    default_font: int = -1
    fonts: dict[int, str] = field(default_factory=dict)
    heading_styles: dict[int, int] = field(default_factory=dict)


class RtfReader:
    """Reads one RTF file."""

    def __init__(self, content: bytes, *, limits: ParseLimits) -> None:
        self.title = ""
        self._content = content
        self._group = _Group()
        self._outer: list[_Group] = []
        self._tables = _Tables()
        self._pending = bytearray()  # text in a code page; a character may be two tokens
        self._name: list[str] = []  # of a style, or the title
        self._skip = 0  # characters that stand in for one that was read
        self._is_ignorable = False  # whether the destination that begins may be ignored
        self._paragraphs = ParagraphWriter(limits)

    def blocks(self) -> Iterator[Block]:
        """Yield the paragraphs.

        Raises:
            DocumentTooLargeError: Groups are nested too deep, or there is too much text.
        """
        for token in read_tokens(self._content):
            if token.kind != "text":
                self._end_text()
            match token.kind:
                case "{":
                    self._begin_group()
                case "}":
                    self._end_group()
                    if not self._outer:
                        break
                case "text":
                    self._add_bytes(token.word)
                case "word":
                    self._follow(token)
            yield from self._paragraphs.take_finished()
        self._end_text()
        yield from self._paragraphs.finish()

    def _begin_group(self) -> None:
        if len(self._outer) >= MAX_DEPTH:
            raise DocumentTooLargeError(f"the document nests groups deeper than {MAX_DEPTH:,}")
        self._outer.append(self._group)
        self._group = replace(self._group)
        self._skip = 0
        self._is_ignorable = False
        if self._group.destination == b"stylesheet":
            self._name = []

    def _end_group(self) -> None:
        group, self._group = self._group, self._outer.pop() if self._outer else _Group()
        self._skip = 0
        if group.destination == b"stylesheet":
            self._name_style(group.style, "".join(self._name).rstrip(";").strip())
            self._name = []
        elif group.destination == b"title" and self._group.destination != b"title":
            self.title = "".join(self._name)

    def _name_style(self, style: int, name: str) -> None:
        match = _HEADING_NAME.fullmatch(name)
        if match and len(self._tables.heading_styles) < _MAX_TABLE_ENTRIES:
            self._tables.heading_styles[style] = int(match[1] or 1)

    def _add_bytes(self, data: bytes) -> None:
        self._is_ignorable = False
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._pending += data[skipped:]

    def _end_text(self) -> None:
        if self._pending:
            data = bytes(self._pending)
            self._pending.clear()
            self._add(data.decode(self._code_page(), errors="replace"))

    def _code_page(self) -> str:
        font = self._group.font if self._group.font >= 0 else self._tables.default_font
        return self._tables.fonts.get(font, self._tables.code_page)

    def _add(self, text: str) -> None:
        match self._group.destination:
            case b"" if not self._group.is_hidden:
                self._paragraphs.add(text)
            case b"stylesheet" | b"title" if len(self._name) < _MAX_TABLE_ENTRIES:
                self._name.append(text)
            case _:
                pass

    def _follow(self, token: Token) -> None:
        word = token.word
        if word == b"*":
            self._is_ignorable = True
            return
        if self._is_ignorable or word in UNSEEN or word in LIST_MARKS:
            self._begin_destination(word)
        elif word in CHARACTERS:
            self._add(CHARACTERS[word])
        elif self._group.destination == b"":
            self._follow_in_document(word, token.number)
        elif word == b"title" and self._group.destination == b"info":
            self._group.destination, self._name = b"title", []
        self._follow_anywhere(word, token.number)

    def _begin_destination(self, word: bytes) -> None:
        if word in LIST_MARKS and self._group.destination == b"":
            self._paragraphs.begin_item()
        is_first = self._is_ignorable or not self._group.destination
        self._is_ignorable = False
        if is_first:
            self._group.destination = word

    def _follow_in_document(self, word: bytes, number: int | None) -> None:
        match word:
            case b"pard":
                self._paragraphs.level = 0
            case b"s":
                self._paragraphs.level = self._tables.heading_styles.get(number or 0, 0)
            case b"outlinelevel" if number is not None and 0 <= number < 9:
                self._paragraphs.level = number + 1
            case b"v" | b"deleted":
                self._group.is_hidden = number != _OFF
            case b"plain":
                self._group.is_hidden = False
            case _ if word in PARAGRAPH_ENDS:
                self._paragraphs.end_paragraph()
            case _ if word in CELL_ENDS:
                self._paragraphs.end_cell()
            case _ if word in ROW_ENDS:
                self._paragraphs.end_row()

    def _follow_anywhere(self, word: bytes, number: int | None) -> None:
        match word:
            case b"u" if number is not None:
                self._add(chr(number & 0xFFFF))
                self._skip = self._group.fallback
            case b"uc" if number is not None:
                self._group.fallback = min(max(number, 0), 100)
            case b"f" if number is not None:
                self._group.font = number
            case b"s" if number is not None:
                self._group.style = number
            case b"fcharset" if number in FONT_CODE_PAGES and len(self._tables.fonts) < _MAX_TABLE_ENTRIES:
                self._tables.fonts[self._group.font] = FONT_CODE_PAGES[number]
            case b"deff" if number is not None:
                self._tables.default_font = number
            case b"ansicpg" if number:
                self._tables.code_page = _known_code_page(number) or self._tables.code_page
            case _ if word in CODE_PAGES:
                self._tables.code_page = CODE_PAGES[word]


def _known_code_page(number: int) -> str:
    name = {65001: "utf-8", 10000: "mac_roman", 936: "gb18030"}.get(number, f"cp{number}")
    try:
        return codecs.lookup(name).name
    except LookupError:
        return ""
