"""Tables as text: comma-separated values and their kin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headwater_server.retrieval.model import Block, ParsedDocument, SourceMap
from headwater_server.retrieval.parsing.delimited_dialect import choose_dialect
from headwater_server.retrieval.parsing.delimited_rows import Row, read_rows
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.formats import TSV
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.table_text import find_header, row_text
from headwater_server.retrieval.parsing.text import choose_title, clean, decode

# Rows are gathered up to about a passage's length: a block each would cost more memory than the text.
_BLOCK_CHARACTERS = 800
_HEAD_ROWS = 50


def parse_delimited(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read a CSV or TSV file; a `Parser`. Locations are rows as a spreadsheet counts them: from 1, the header included.

    Where the columns have names, a row reads "name: value; name: value", its empty cells left out, so that a passage
    from the middle of the table can be understood, and found, without the header. Without names it reads
    "value | value".
    """
    text = clean(decode(file.content, charset=file.charset))
    limits.check_characters(len(text))
    dialect, body = choose_dialect(text, usual="\t" if file.media_type == TSV else ",")
    rows = read_rows(body, dialect)
    blocks = tuple(_blocks(rows, limits))
    if not blocks:
        raise DocumentUnreadableError("the table has no text")
    return ParsedDocument(choose_title(name=file.name), file.media_type, "row", blocks)


def _blocks(rows: Iterator[Row], limits: ParseLimits) -> Iterator[Block]:
    head = [row for _, row in zip(range(_HEAD_ROWS), rows, strict=False)]
    header = find_header([row.cells for row in head])
    names = head[header].cells if header is not None else ()
    gatherer = _Gatherer(limits)
    for position, row in enumerate(_chain(head, rows)):
        is_above = header is not None and position <= header
        text = row_text(row.cells, names=() if is_above else names)
        yield from gatherer.add(text, row.number)
        if position == header:
            yield from gatherer.take()
    yield from gatherer.take()


def _chain(head: list[Row], rows: Iterable[Row]) -> Iterator[Row]:
    yield from head
    yield from rows


class _Gatherer:
    """Gathers the texts of rows into blocks."""

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self._total = 0
        self._texts: list[tuple[str, int]] = []
        self._length = 0

    def add(self, text: str, row: int) -> Iterator[Block]:
        if not text:
            return
        if self._texts and self._length + len(text) > _BLOCK_CHARACTERS:
            yield from self.take()
        self._texts.append((text, row))
        self._length += len(text)
        self._total += len(text)
        self._limits.check_characters(self._total)

    def take(self) -> Iterator[Block]:
        if not self._texts:
            return
        # A row of several lines is set apart, so that a cut falls between rows rather than within one.
        separator = "\n\n" if any("\n" in text for text, _ in self._texts) else "\n"
        parts, offset = [], 0
        for text, row in self._texts:
            parts.append((offset, row, row))
            offset += len(text) + len(separator)
        yield Block(separator.join(text for text, _ in self._texts), SourceMap.parts(parts))
        self._texts, self._length = [], 0
