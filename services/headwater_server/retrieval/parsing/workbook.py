"""Excel workbooks (XLSX).

Read here rather than by a library. openpyxl unpacks the strings that cells share, and what it knows of a sheet, without
a bound, and gives numbers as they are stored, not as their cells show them; calamine makes a grid of a sheet, of
billions of cells where two stand in its far corners.
"""

from __future__ import annotations

from collections.abc import Iterator

from headwater_server.retrieval.model import Block, ParsedDocument
from headwater_server.retrieval.parsing.archive import opened_archive
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits, TextBudget
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.text import choose_title
from headwater_server.retrieval.parsing.workbook_package import Package
from headwater_server.retrieval.parsing.workbook_sheet import read_rows
from headwater_server.retrieval.parsing.workbook_tables import read_tables


def parse_workbook(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read an Excel workbook; a `Parser`. Locations are the rows of a sheet, as the sheet numbers them.

    Each visible sheet begins with its name as a heading. Its tables follow, each a block: a line a row, in which every
    value stands behind the name of its column (`City: Oslo | Share: 12.5%`). Numbers, dates and the results of formulas
    are those that the workbook was saved with, as its cells show them; a value that spans several rows stands in each.
    Hidden sheets, charts, text boxes, comments and formulas are left out. Macros are never run.

    The sheets are read as they are unpacked, a row at a time: a sheet may have a million rows, and two cells at its
    far corners, which libraries that make a grid of it run out of memory for.
    """
    with opened_archive(file.content, limits=limits) as archive:
        package = Package(archive, limits=limits)
        blocks = tuple(_blocks(package, limits))
        title = package.title
    if not blocks:
        hidden = " (hidden sheets are not read)" if package.has_hidden_sheets else ""
        raise DocumentUnreadableError(f"the workbook has no cells with text or numbers{hidden}")
    return ParsedDocument(choose_title(title, name=file.name), file.media_type, "row", blocks)


def _blocks(package: Package, limits: ParseLimits) -> Iterator[Block]:
    budget = TextBudget(limits)
    for sheet in package.sheets:
        yield from read_tables(read_rows(package, sheet), sheet.name, budget=budget)
