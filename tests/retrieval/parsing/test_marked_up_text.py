from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import DocumentUnreadableError, parse


def read(source: str, *, name: str) -> ParsedDocument:
    return parse(source.encode(), name=name)


def outline(source: str, *, name: str) -> list[tuple[int, str, tuple[int, int]]]:
    return [
        (block.level, block.text, block.source.locate(0, len(block.text))) for block in read(source, name=name).blocks
    ]


def test_titles_of_restructuredtext_are_headings_by_the_order_of_their_styles() -> None:
    source = """=====
Title
=====

Text
of two lines.

Section
-------
More.

Deeper
~~~~~~

====  ====
a     b
====  ====

Section 2
---------
"""
    assert read(source, name="a.rst").title == "Title"
    assert outline(source, name="a.rst") == [
        (1, "Title", (1, 3)),
        (0, "Text\nof two lines.", (5, 6)),
        (2, "Section", (8, 9)),
        (0, "More.", (10, 10)),
        (3, "Deeper", (12, 13)),
        (0, "====  ====\na     b\n====  ====", (15, 17)),
        (2, "Section 2", (19, 20)),
    ]


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("a.adoc", "= Title\n\ntext\n\n== Part\nmore", [(1, "Title"), (0, "text"), (2, "Part"), (0, "more")]),
        ("a.org", "* Title\ntext\n** Part\n- item", [(1, "Title"), (0, "text"), (2, "Part"), (0, "- item")]),
        (
            "a.tex",
            "\\section{Title}\ntext \\emph{x}\n\\subsection*{Part}\\label{p} % c\nmore",
            [(3, "Title"), (0, "text \\emph{x}"), (4, "Part"), (0, "more")],
        ),
    ],
)
def test_headings_of_other_markup_are_found(name: str, source: str, expected: list[tuple[int, str]]) -> None:
    assert [(level, text) for level, text, _ in outline(source, name=name)] == expected


def test_a_file_without_text_is_unreadable() -> None:
    with pytest.raises(DocumentUnreadableError, match="white space"):
        read("\n \n", name="a.rst")


LINES = st.sampled_from(["Words", "=====", "-----", "==", "", "  indented", "* x", "== x", "\\section{x}", "~~~~~~~~"])


@given(st.lists(LINES, max_size=25), st.sampled_from(["a.rst", "a.adoc", "a.org", "a.tex"]))
def test_every_word_comes_out_once_and_where_it_stood(lines: list[str], name: str) -> None:
    marked = [f"m{number}m {line}" if line.isalpha() else line for number, line in enumerate(lines)]
    document = read("\n".join(["first", "", *marked]), name=name)
    whole = "\n".join(block.text for block in document.blocks)
    for number, line in enumerate(marked):
        if line.startswith("m"):
            mark = f"m{number}m"
            assert whole.count(mark) == 1
            block = next(block for block in document.blocks if mark in block.text)
            first, last = block.source.locate(block.text.index(mark), block.text.index(mark) + len(mark))
            assert first <= number + 3 <= last
