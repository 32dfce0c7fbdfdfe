from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import (
    DocumentTooLargeError,
    DocumentUnreadableError,
    ParseLimits,
    parse,
)
from headwater_server.retrieval.splitting import SplitSettings, split


def read(source: str | bytes, *, name: str = "table.csv", media_type: str = "") -> ParsedDocument:
    return parse(source if isinstance(source, bytes) else source.encode(), name=name, media_type=media_type)


def rows_of(document: ParsedDocument) -> list[tuple[str, tuple[int, int]]]:
    """Return each row of one line with the rows it says it came from."""
    found = []
    for block in document.blocks:
        offset = 0
        for line in block.text.split("\n"):
            found.append((line, block.source.locate(offset, offset + len(line))))
            offset += len(line) + 1
    return found


def test_rows_name_their_columns_and_are_numbered_like_those_of_a_spreadsheet() -> None:
    document = read("name,city,note\nAnn,Paris,\n\nBob,,likes tea\n")
    assert (document.unit, document.title, document.media_type) == ("row", "table", "text/csv")
    assert rows_of(document) == [
        ("name | city | note", (1, 1)),
        ("name: Ann; city: Paris", (2, 2)),
        ("name: Bob; note: likes tea", (4, 4)),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "a;b\n1,5;2,5\n3,5;4,5\n",
        "sep=;\na;b\n1,5;2,5\n3,5;4,5\n",
        "a\tb\n1,5\t2,5\n3,5\t4,5\n",
        "a|b\n1,5|2,5\n3,5|4,5\n",
        'a, b\n"1,5", "2,5"\n"3,5", "4,5"\n',
    ],
)
def test_the_delimiter_is_recognised(source: str) -> None:
    assert rows_of(read(source)) == [("a | b", (1, 1)), ("a: 1,5; b: 2,5", (2, 2)), ("a: 3,5; b: 4,5", (3, 3))]


def test_a_tsv_file_is_parted_by_tabs_and_may_have_stray_quotes() -> None:
    document = read('size\twhat\n5"\tdisk\n3.5"\tother, disk\n', name="a.tsv")
    assert [text for text, _ in rows_of(document)[1:]] == ['size: 5"; what: disk', 'size: 3.5"; what: other, disk']


def test_a_table_without_names_is_joined_by_bars() -> None:
    assert rows_of(read("1,2,x\n3,4,y\n")) == [("1 | 2 | x", (1, 1)), ("3 | 4 | y", (2, 2))]


def test_a_title_above_the_header_is_kept() -> None:
    document = read("Sales of 2024,,\n,,\nproduct,price,sold\ntea,2,3\n")
    assert rows_of(document) == [
        ("Sales of 2024", (1, 1)),
        ("product | price | sold", (3, 3)),
        ("product: tea; price: 2; sold: 3", (4, 4)),
    ]


def test_a_cell_of_several_lines_is_one_row() -> None:
    document = read('a,b\n1,"two\r\n\r\nlines"\n3,4\n')
    assert document.blocks[1].text == "a: 1\nb: two\nlines\n\na: 3; b: 4"
    assert document.blocks[1].source.locate(0, 5) == (2, 2)
    assert document.blocks[1].source.locate(20, 24) == (3, 3)


def test_a_quote_that_is_never_closed_takes_no_other_row_along() -> None:
    document = read('a,b\n1,"two\n3,4\n5,6\n')
    assert [text for text, _ in rows_of(document)] == ["a | b", "a: 1; b: two", "a: 3; b: 4", "a: 5; b: 6"]


def test_quotes_escaped_by_a_backslash_are_understood() -> None:
    assert rows_of(read('a,b\n"x \\"y\\", z",2\n'))[1][0] == 'a: x "y", z; b: 2'


def test_no_row_is_cut_where_it_fits() -> None:
    lines = [f"{number},{'word ' * (number % 40)}end" for number in range(500)]
    document = read("number,words\n" + "\n".join(lines))
    passages = split(document, settings=SplitSettings(max_characters=300))
    for passage in passages[1:]:
        assert passage.text.startswith("number: ")
        assert passage.text.endswith("end")
        assert passage.location is not None
        assert passage.location.kind == "row"
        assert passage.text.count("number: ") == passage.location.end - passage.location.start + 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1"])
def test_tables_are_read_in_the_usual_encodings(encoding: str) -> None:
    source = "Größe;Straße\n" + "klein;Königsallee\n" * 20
    assert rows_of(read(source.encode(encoding)))[1][0] == "Größe: klein; Straße: Königsallee"


def test_a_charset_that_is_declared_is_used() -> None:
    assert rows_of(read("имя,город\nАня,Омск\n".encode("koi8-r"), media_type="text/csv; charset=koi8-r"))[1][0] == (
        "имя: Аня; город: Омск"
    )


@pytest.mark.parametrize("content", ["\n\n\n", ",,,\n,,\n", '""\n'])
def test_an_empty_table_is_unreadable(content: str) -> None:
    with pytest.raises(DocumentUnreadableError, match="no text"):
        read(content)


def test_a_row_of_too_many_columns_is_too_large() -> None:
    with pytest.raises(DocumentTooLargeError, match="columns"):
        read("x," * 60_000)


def test_a_line_over_the_limit_is_too_large() -> None:
    with pytest.raises(DocumentTooLargeError, match="characters"):
        parse(b"x" * 5000, name="a.csv", limits=ParseLimits(max_characters=4000))


def test_names_that_swell_the_text_count_against_the_limit() -> None:
    header = ",".join(f"a very long name of column {number}" for number in range(10))
    with pytest.raises(DocumentTooLargeError, match="characters"):
        parse((header + "\n" + "x,y\n" * 1000).encode(), name="a.csv", limits=ParseLimits(max_characters=20_000))


CELLS = st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=' \n"'), max_size=12)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=5), min_size=1, max_size=12), st.sampled_from(",;\t|"))
def test_every_cell_comes_out_once_and_in_its_row(table: Sequence[Sequence[str]], delimiter: str) -> None:
    out = io.StringIO()
    out.write(f"sep={delimiter}\n")
    marked = [[f"r{i}c{j}x{cell}" for j, cell in enumerate(row)] for i, row in enumerate(table)]
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(marked)
    document = read(out.getvalue())
    text = "\n".join(block.text for block in document.blocks)
    for i, row in enumerate(table):
        for j, cell in enumerate(row):
            mark = f"r{i}c{j}x"
            assert "".join(cell.split()) in "".join(text.split())
            assert mark in text
            if i:
                assert text.count(mark) == 1
                block = next(block for block in document.blocks if mark in block.text)
                position = block.text.index(mark)
                assert block.source.locate(position, position + len(mark)) == (i + 1, i + 1)
