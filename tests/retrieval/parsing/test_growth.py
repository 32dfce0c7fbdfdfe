"""Reading takes time in proportion to the file, whatever stands in it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from docx.document import Document as WordDocument
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from headwater_server.retrieval.parsing import parse
from headwater_server.retrieval.parsing.formats import HTML, XML
from headwater_server.retrieval.parsing.media_types import detect
from tests.growth import grows_in_proportion
from tests.retrieval.parsing.samples import make_docx


def word_of_styles(count: int) -> bytes:
    """A Word document with many styles, each based on the one before it."""

    def build(document: WordDocument) -> None:
        for number in range(count):
            document.styles.element.append(
                parse_xml(
                    f'<w:style {nsdecls("w")} w:type="paragraph" w:styleId="s{number}"><w:name w:val="s{number}"/>'
                    f'<w:basedOn w:val="s{number - 1}"/></w:style>'
                )
            )
        document.add_paragraph("text")

    return make_docx(build)


def notebook_of_blank_lines(count: int) -> bytes:
    """A notebook with a cell that has a word beneath many blank lines."""
    return json.dumps({"cells": [{"cell_type": "code", "source": "\n" * count + "text"}]}).encode()


MADE: list[tuple[str, Callable[[int], bytes], int]] = [
    ("styles.docx", word_of_styles, 100),
    ("blank.ipynb", notebook_of_blank_lines, 20_000),
    ("title.html", lambda count: b"<p>text</p><title>" + b"</title " * count, 2_000),
    ("heading.html", lambda count: b"<h1>" + b"<div></div>" * count + b"text", 2_000),
    ("title.md", lambda count: b"---\ntitle: x" + b" " * count + b"y\n---\ntext\n", 5_000),
]


@pytest.mark.parametrize(("name", "make", "size"), MADE, ids=[name for name, *_ in MADE])
def test_work_grows_in_proportion_to_the_file(name: str, make: Callable[[int], bytes], size: int) -> None:
    made = {count: make(count) for count in (size, 8 * size)}
    assert grows_in_proportion(lambda count: parse(made[count], name=name), size=size)


@pytest.mark.parametrize("end", ["<doc/>", "<html>"])
def test_a_file_that_begins_with_any_number_of_comments_is_known(end: str) -> None:
    comments = "<!---->" * 100 + "<!-- Line of the licence. -->\n" * 50
    expected = HTML if end == "<html>" else XML
    assert detect(f"<?xml version='1.0'?>\n{comments}{end}".encode(), name="a.xml")[0] == expected
