"""Writes the tables of the formats in docs/retrieval.md out of the table that the server reads by.

    python scripts/formats_docs.py            writes them into the page
    python scripts/formats_docs.py --check    exits with 1 if the page is not in step

Endings and media types are those of `headwater_server.retrieval.parsing.formats`, limits those of `ParseLimits`, and
what becomes of a document in `NOTES`, which tests hold against the parsers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from headwater_server.retrieval.model import LocationKind
from headwater_server.retrieval.parsing.delimited_rows import MAX_COLUMNS
from headwater_server.retrieval.parsing.email_parts import MAX_PARTS
from headwater_server.retrieval.parsing.formats import FORMATS, Format
from headwater_server.retrieval.parsing.json_events import MAX_DEPTH as JSON_DEPTH
from headwater_server.retrieval.parsing.languages import LANGUAGES
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.notebook import MAX_CELLS
from headwater_server.retrieval.parsing.rtf_reader import MAX_DEPTH as RTF_DEPTH
from headwater_server.retrieval.parsing.xml_elements import MAX_DEPTH as XML_DEPTH

PAGE = Path(__file__).resolve().parent.parent / "docs" / "retrieval.md"

EVERY = ("max_bytes", "max_characters")
"""The limits that bound every document. The first gives way to a setting."""
BY_SETTING = "max_bytes"
_LIMITS: Mapping[str, str] = {
    "max_characters": "characters of text",
    "max_pages": "pages, slides or sheets",
    "max_expanded_bytes": "of all files in the archive, unpacked",
    "max_archive_files": "files in the archive",
    "max_stream_bytes": "of what a page is drawn by, unpacked",
    "max_markup": "elements and attributes of XML",
}
_SHORT: Mapping[str, str] = {
    "max_pages": "pages",
    "max_expanded_bytes": "unpacked size",
    "max_archive_files": "files",
    "max_stream_bytes": "page content",
    "max_markup": "markup",
}


_DETECTED = "detected"
_CELLS = "a line a row: `Oslo \\| 12`"
_NAMED = "a line a value: `Share: 12`"
_AS_WRITTEN = "as written"
_UNPACKED = ("max_expanded_bytes", "max_archive_files")


@dataclass(frozen=True, slots=True)
class Notes:
    """How the documents of a parser come out."""

    units: tuple[LocationKind, ...]
    """What a passage's location counts; of several, the usual one first."""
    counted: str
    """The same for readers."""
    headings: str
    """What becomes a heading that the passages under it are kept with. Empty: nothing does."""
    tables: str
    """What becomes of a table."""
    encoding: str = _DETECTED
    """How bytes become characters."""
    limits: tuple[str, ...] = ()
    """The fields of `ParseLimits` that bound it, beyond those that bound every document."""
    more: str = ""
    """A limit of this format's own."""


_JSON = Notes(("line", "byte"), "lines; bytes where lines are very long", "", _NAMED, more=f"{JSON_DEPTH:,} levels")

NOTES: Mapping[str, Notes] = {
    "plain_text:parse_plain_text": Notes(("line",), "lines", "", _AS_WRITTEN),
    "markdown:parse_markdown": Notes(("line",), "lines", "headings", _CELLS),
    "html_page:parse_html": Notes(("line",), "lines of the source", "`h1` to `h6`", _CELLS, "detected, or as declared"),
    "pdf:parse_pdf": Notes(
        ("page",), "pages", "those of the outline", "its lines as they stand", "", ("max_pages", "max_stream_bytes")
    ),
    "word:parse_word": Notes(("paragraph",), "paragraphs", "by style", _CELLS, "", (*_UNPACKED, "max_markup")),
    "powerpoint:parse_powerpoint": Notes(
        ("slide",), "slides", "titles of slides", _CELLS, "", ("max_pages", *_UNPACKED, "max_markup")
    ),
    "workbook:parse_workbook": Notes(
        ("row",),
        "sheet and rows",
        "sheets, and titles over tables",
        "a line a row: `City: Oslo \\| Share: 12`",
        "",
        ("max_pages", *_UNPACKED, "max_markup"),
    ),
    "opendocument:parse_opendocument": Notes(
        ("paragraph",), "paragraphs", "headings", _CELLS, "", (*_UNPACKED, "max_markup")
    ),
    "epub:parse_epub": Notes(
        ("paragraph",),
        "paragraphs of the book",
        "those of the chapters and of the table of contents",
        _CELLS,
        "as declared",
        (*_UNPACKED, "max_markup"),
    ),
    "rich_text:parse_rich_text": Notes(
        ("paragraph",), "paragraphs and cells", "by style", _CELLS, "its code pages", more=f"{RTF_DEPTH:,} groups deep"
    ),
    "delimited:parse_delimited": Notes(
        ("row",),
        "rows, the header counted",
        "",
        "a line a row: `City: Oslo; Share: 12`",
        more=f"{MAX_COLUMNS:,} columns",
    ),
    "json_text:parse_json": _JSON,
    "json_text:parse_json_lines": _JSON,
    "xml_text:parse_xml": Notes(
        ("line",), "lines", "`title`, `head`", _NAMED, "detected, or as declared", more=f"{XML_DEPTH:,} elements deep"
    ),
    "notebook:parse_notebook": Notes(
        ("paragraph",), "cells", "those of Markdown cells", _CELLS, more=f"{MAX_CELLS:,} cells"
    ),
    "email_message:parse_email": Notes(
        ("paragraph",),
        "paragraphs",
        "the subject, and those of HTML",
        _CELLS,
        "each part's own",
        more=f"{MAX_PARTS:,} parts",
    ),
    "marked_up_text:parse_marked_up_text": Notes(("line",), "lines", "headings", _AS_WRITTEN),
    "source_code:parse_source_code": Notes(("line",), "lines", "definitions, sections", _AS_WRITTEN),
}
"""By the parser's name in the table of formats."""


def updated(page: str) -> str:
    """The page with its tables made anew.

    Raises:
        ValueError: The page has no place for one of them.
    """
    for name, lines in (("formats", _formats()), ("languages", _languages()), ("limits", _limits())):
        begin, end = (f"<!-- made by scripts/formats_docs.py: {name} {which} -->" for which in ("begin", "end"))
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the page lacks {end if found else begin}")
        page = "\n".join([f"{before}{begin}", "", *lines, "", f"{end}{after}"])
    return page


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _formats() -> list[str]:
    head = ["format", "endings", "media type", "location", "headings", "tables", "encoding", "limits of its own"]
    return _table(head, _format_rows())


def _format_rows() -> Iterator[Sequence[str]]:
    languages = {language.media_type for language in LANGUAGES}
    shown: set[str] = set()
    for each in FORMATS:
        is_code = each.media_type in languages
        if each.name not in shown:
            yield _format_row(each, is_code=is_code)
        if is_code:
            shown.add(each.name)


def _format_row(each: Format, *, is_code: bool) -> Sequence[str]:
    notes = NOTES[each.parser]
    limits = [*(_SHORT[name] for name in notes.limits), *([notes.more] if notes.more else [])]
    return [
        f"{each.name}, configuration" if is_code else each.name,
        "below" if is_code else _endings(each.suffixes),
        "below" if is_code else f"`{each.media_type}`",
        notes.counted,
        notes.headings or "none",
        notes.tables,
        notes.encoding or "its own",
        ", ".join(limits),
    ]


def _endings(suffixes: Sequence[str]) -> str:
    return " ".join(f"`{suffix}`" for suffix in suffixes)


def _languages() -> list[str]:
    return _table(["media type", "endings"], ([f"`{each.media_type}`", _endings(each.suffixes)] for each in LANGUAGES))


def _limits() -> list[str]:
    return _table(["limit", "at most", "of"], _limit_rows())


def _limit_rows() -> Iterator[Sequence[str]]:
    for field in fields(ParseLimits):
        if field.name == BY_SETTING:
            yield ["size", "`retrieval.max_document_bytes`", "the file"]
            continue
        yield [
            _SHORT.get(field.name, "text"),
            f"{_amount(field.name, getattr(ParseLimits(), field.name))} {_LIMITS[field.name]}",
            _bounded(field.name),
        ]


def _amount(limit: str, number: int) -> str:
    return f"{number // 2**20:,} MiB" if limit.endswith("_bytes") else f"{number:,}"


def _bounded(limit: str) -> str:
    if limit in EVERY:
        return "every document"
    return ", ".join(dict.fromkeys(each.name for each in FORMATS if limit in NOTES[each.parser].limits))


def main() -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the page is in step")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    wanted = updated(page)
    if check and page != wanted:
        print("docs/retrieval.md is not in step with the formats: run python scripts/formats_docs.py", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
