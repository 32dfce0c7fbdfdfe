"""The tables of formats in docs/retrieval.md are those of what the server reads, and what they say of it is so."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import fields, replace

import pytest
from docx.document import Document as WordDocument

from headwater_server.retrieval.parsing import DocumentTooLargeError, ParseLimits, parse
from headwater_server.retrieval.parsing.formats import BY_SUFFIX, FORMATS
from scripts.formats_docs import EVERY, NOTES, PAGE, updated
from tests.retrieval.parsing.samples import assemble_pdf, make_docx, make_epub, make_odt, make_pdf, make_pptx, make_xlsx

LINES = b"The towns in the north\n\nare small.\n"
TABLE = "<table><tr><th>City</th><th>Share</th></tr><tr><td>Oslo</td><td>12</td></tr></table>"


def word(document: WordDocument) -> None:
    document.add_heading("Towns", 1)
    table = document.add_table(2, 2)
    for cell, text in zip(
        (cell for row in table.rows for cell in row.cells), ("City", "Share", "Oslo", "12"), strict=True
    ):
        cell.text = text


def slides(presentation: object) -> None:
    for _ in range(2):
        slide = presentation.slides.add_slide(presentation.slide_layouts[5])  # type: ignore[attr-defined]  # no types
        slide.shapes.title.text = "Towns"
        table = slide.shapes.add_table(2, 2, 0, 0, 100, 100).table
        for place, text in enumerate(("City", "Share", "Oslo", "12")):
            table.cell(place // 2, place % 2).text = text


def sheets(workbook: object) -> None:
    for name in ("Towns", "More"):
        sheet = workbook.add_worksheet(name)  # type: ignore[attr-defined]  # no types
        for row, cells in enumerate((("City", "Share"), ("Oslo", 12), ("Rome", 13))):
            sheet.write_row(row, 0, cells)


SAMPLES: Mapping[str, bytes] = {
    ".txt": LINES,
    ".md": b"# Towns\n\n| City | Share |\n|---|---|\n| Oslo | 12 |\n",
    ".html": f"<h1>Towns</h1>{TABLE}".encode(),
    ".pdf": make_pdf([["Towns", "Oslo 12"], ["Rome 13"]], outline=[("Towns", 1)]),
    ".docx": make_docx(word),
    ".pptx": make_pptx(slides),
    ".xlsx": make_xlsx(sheets),
    ".odt": make_odt(
        '<text:h text:outline-level="1">Towns</text:h><table:table>'
        "<table:table-row><table:table-cell><text:p>City</text:p></table:table-cell>"
        "<table:table-cell><text:p>Share</text:p></table:table-cell></table:table-row>"
        "<table:table-row><table:table-cell><text:p>Oslo</text:p></table:table-cell>"
        "<table:table-cell><text:p>12</text:p></table:table-cell></table:table-row></table:table>"
    ),
    ".epub": make_epub({"one.xhtml": f"<h1>Towns</h1>{TABLE}"}),
    ".rtf": rb"{\rtf1{\stylesheet{\s1 heading 1;}}\pard\s1 Towns\par\pard\plain \trowd\cellx1\cellx2 City\intbl\cell"
    rb" Share\cell\row\trowd\cellx1\cellx2 Oslo\intbl\cell 12\cell\row\pard x\par}",
    ".csv": b"City,Share\nOslo,12\nRome,13\n",
    ".tsv": b"City\tShare\nOslo\t12\nRome\t13\n",
    ".json": b'{"Share": 12,\n "City": "Oslo"}\n',
    ".jsonl": b'{"Share": 12}\n{"Share": 13}\n',
    ".xml": b"<book><title>Towns</title><row><City>Oslo</City><Share>12</Share></row></book>",
    ".ipynb": json.dumps({
        "cells": [{"cell_type": "markdown", "source": "# Towns\n\n| City | Share |\n|---|---|\n| Oslo | 12 |\n"}],
        "nbformat": 4,
    }).encode(),
    ".eml": f"Subject: Towns\nFrom: a@example.org\nContent-Type: text/html\n\n<h2>North</h2>{TABLE}\n".encode(),
    ".rst": b"Towns\n=====\n\nThey are small.\n",
    ".adoc": b"= Towns\n\nThey are small.\n",
    ".tex": b"\\section{Towns}\n\nThey are small.\n",
    ".org": b"* Towns\n\nThey are small.\n",
    ".py": b"def towns():\n    return 12\n",
}  # fmt: skip
ROOMY = ParseLimits()


def packed_pdf() -> bytes:
    """A PDF as programs write it: what its pages are drawn by is packed."""
    drawn = zlib.compress(b"BT /F1 10 Tf 40 780 Td (Towns) Tj ET")
    page = (
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources<</Font<</F1"
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>"
    )
    stream = b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(drawn), drawn)
    tree = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>"]
    return assemble_pdf([*tree, page % 5, page % 6, stream, stream])


def test_the_page_is_in_step_with_the_formats() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert updated(page) == page, "run python scripts/formats_docs.py"


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="limits begin"):
        updated(PAGE.read_text(encoding="utf-8").replace("limits begin", "elsewhere"))


def test_every_parser_has_its_notes_and_a_sample() -> None:
    assert set(NOTES) == {each.parser for each in FORMATS}
    assert {BY_SUFFIX[suffix].parser for suffix in SAMPLES} == set(NOTES)


@pytest.mark.parametrize("suffix", SAMPLES)
def test_a_passage_s_location_and_headings_are_what_the_page_says(suffix: str) -> None:
    notes = NOTES[BY_SUFFIX[suffix].parser]
    document = parse(SAMPLES[suffix], name=f"sample{suffix}")
    assert document.media_type == BY_SUFFIX[suffix].media_type
    assert document.unit == notes.units[0]
    assert any(block.level for block in document.blocks) == bool(notes.headings)


@pytest.mark.parametrize("suffix", [suffix for suffix in SAMPLES if "`" in NOTES[BY_SUFFIX[suffix].parser].tables])
def test_a_table_comes_out_as_the_page_says(suffix: str) -> None:
    (line,) = re.findall(r"`(.+)`", NOTES[BY_SUFFIX[suffix].parser].tables)
    document = parse(SAMPLES[suffix], name=f"sample{suffix}")
    lines = [line for block in document.blocks for line in block.text.split("\n")]
    assert line.replace(r"\|", "|") in lines


@pytest.mark.parametrize("suffix", SAMPLES)
def test_a_document_is_bounded_by_the_limits_that_the_page_names(suffix: str) -> None:
    content = packed_pdf() if suffix == ".pdf" else SAMPLES[suffix]
    parse(content, name=f"sample{suffix}", limits=ROOMY)
    refused = set()
    for limit in fields(ParseLimits):
        try:
            parse(content, name=f"sample{suffix}", limits=replace(ROOMY, **{limit.name: 1}))
        except DocumentTooLargeError:
            refused.add(limit.name)
    assert refused == {*EVERY, *NOTES[BY_SUFFIX[suffix].parser].limits}
