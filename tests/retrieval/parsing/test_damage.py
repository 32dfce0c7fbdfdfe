"""What becomes of documents that are cut short, or in which bytes were changed: text, or an error of ours."""

from __future__ import annotations

import zipfile
from functools import cache
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import DocumentError, DocumentUnreadableError, parse
from headwater_server.retrieval.splitting import split
from tests.retrieval.parsing.samples import make_docx, make_epub, make_odt, make_pdf, make_pptx, make_xlsx, with_file
from tests.retrieval.parsing.test_epub import CHAPTERS
from tests.retrieval.parsing.test_opendocument import LIST, TABLE
from tests.retrieval.parsing.test_powerpoint import build_deck
from tests.retrieval.parsing.test_word import build_report
from tests.retrieval.parsing.test_workbook import build_sales

NAMES = ("a.docx", "a.pptx", "a.xlsx", "a.odt", "a.epub")


@cache
def sample(name: str) -> bytes:
    navigation = '<li><a href="b%20one.xhtml">Morning</a></li>'
    return {
        "a.docx": lambda: make_docx(build_report),
        "a.pptx": lambda: make_pptx(build_deck),
        "a.xlsx": lambda: make_xlsx(build_sales),
        "a.odt": lambda: make_odt(f"<text:h>Heading</text:h><text:p>Text</text:p>{LIST}{TABLE}", title="Title"),
        "a.epub": lambda: make_epub(CHAPTERS, title="A day", navigation=navigation),
        "a.pdf": lambda: make_pdf([[f"Text of page {n}."] for n in range(1, 6)], outline=[("Text of page 2.", 2)]),
    }[name]()


@cache
def parts(name: str) -> list[str]:
    """Return the names of the files in a sample that are read for its text."""
    with zipfile.ZipFile(BytesIO(sample(name))) as archive:
        kinds = (".xml", ".rels", ".opf", ".xhtml", "mimetype")
        return [part for part in archive.namelist() if part.endswith(kinds) and "theme" not in part]


def read(content: bytes, name: str) -> ParsedDocument | None:
    """Return the document if it can be read, having looked that it is one as the parsers promise."""
    try:
        document = parse(content, name=name)
    except DocumentError:
        return None
    assert document.blocks
    for block in document.blocks:
        assert block.text.strip("\n") == block.text != ""
        first, last = block.source.locate(0, len(block.text))
        assert 1 <= first <= last
        assert block.source.offsets[0] == 0
    assert split(document)
    return document


@pytest.mark.parametrize("name", [*NAMES, "a.pdf"])
def test_a_sample_is_read_whole(name: str) -> None:
    assert read(sample(name), name) is not None


@pytest.mark.parametrize("name", [*NAMES, "a.pdf"])
@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_file_cut_short_is_unreadable(name: str, tenth: int) -> None:
    content = sample(name)
    with pytest.raises(DocumentUnreadableError):
        parse(content[: len(content) * tenth // 10], name=name)


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=150, deadline=None)
def test_changed_bytes_end_in_text_or_an_error_of_ours(name: str, data: st.DataObject) -> None:
    content = bytearray(sample(name))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(content), name)


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=300, deadline=None)
def test_changed_bytes_within_a_sound_archive_end_in_text_or_an_error_of_ours(name: str, data: st.DataObject) -> None:
    part = data.draw(st.sampled_from(parts(name)))
    with zipfile.ZipFile(BytesIO(sample(name))) as archive:
        content = bytearray(archive.read(part))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, max(0, len(content) - 1)))
        length = data.draw(st.sampled_from([0, 1, 1, 2, 10, 100]))
        put = data.draw(
            st.sampled_from([b"", b"x", b"<", b">", b'"', b"/", b"-1", b"9" * 30, b"\xff", b"&a;", b"\x00"])
        )
        content[start : start + length] = put
    read(with_file(sample(name), part, bytes(content)), name)


NUMBERS = st.sampled_from(["0", "-1", "1e999", "99999999999999999999", "nan", "", "x", "٣", "1" * 5000])


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=150, deadline=None)
def test_odd_values_of_attributes_end_in_text_or_an_error_of_ours(name: str, data: st.DataObject) -> None:
    part = data.draw(st.sampled_from(parts(name)))
    with zipfile.ZipFile(BytesIO(sample(name))) as archive:
        pieces = archive.read(part).split(b'"')
    for _ in range(data.draw(st.integers(1, 5))):
        if len(pieces) > 2:
            pieces[2 * data.draw(st.integers(0, (len(pieces) - 2) // 2)) + 1] = data.draw(NUMBERS).encode()
    read(with_file(sample(name), part, b'"'.join(pieces)), name)


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=50, deadline=None)
def test_a_package_with_a_file_less_ends_in_text_or_an_error_of_ours(name: str, data: st.DataObject) -> None:
    left_out = data.draw(st.sets(st.sampled_from(parts(name)), min_size=1, max_size=3))
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(sample(name))) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            if entry.filename not in left_out:
                new.writestr(entry, old.read(entry))
    read(out.getvalue(), name)
