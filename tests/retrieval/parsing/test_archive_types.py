from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.parsing import DocumentError, DocumentUnreadableError, DocumentUnsupportedError
from headwater_server.retrieval.parsing.formats import DOCX, EPUB, ODT, PPTX, XLSX
from headwater_server.retrieval.parsing.media_types import detect
from tests.retrieval.parsing.samples import make_docx

DOCX_BYTES = make_docx(lambda _: None)
TYPES = "[Content_Types].xml"


def archive(*names: str, mimetype: str = "", deflate: bool = False, before: bytes = b"") -> bytes:
    out = io.BytesIO()
    out.write(before)
    with zipfile.ZipFile(out, "w") as made:
        for name in names:
            made.writestr(name, "x")
        if mimetype:
            made.writestr("mimetype", mimetype, zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (DOCX_BYTES, DOCX),
        (archive(TYPES, "word/document.xml"), DOCX),
        (archive(TYPES, "word/document.xml", "word/vbaProject.bin"), DOCX),
        (archive(TYPES, "ppt/presentation.xml"), PPTX),
        (archive(TYPES, "xl/workbook.xml"), XLSX),
        (archive("content.xml", mimetype=ODT), ODT),
        (archive("content.xml", mimetype=f"{ODT}-template", deflate=True), ODT),
        (archive(mimetype="application/epub+zip\n"), EPUB),
        (archive("META-INF/container.xml"), EPUB),
    ],
)
@pytest.mark.parametrize("name", ["a", "a.bin.zip", "a.txt"])
def test_a_document_is_known_by_what_is_in_its_archive(content: bytes, expected: str, name: str) -> None:
    assert detect(content, name=name)[0] == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.docx", DOCX), ("a.docm", DOCX), ("a.pptm", PPTX), ("a.xlsm", XLSX), ("a.xltx", XLSX)],
)
def test_a_package_with_unusual_names_is_what_its_ending_says(name: str, expected: str) -> None:
    assert detect(archive(TYPES, "parts/main.xml"), name=name)[0] == expected


def test_a_document_with_another_in_it_is_what_it_says_it_is() -> None:
    content = archive(TYPES, "word/document.xml", "xl/workbook.xml")
    assert detect(content, name="a.xlsx")[0] == XLSX
    assert detect(content, name="a.docx")[0] == DOCX


@pytest.mark.parametrize("name", ["a.zip", "a", "a.txt"])
def test_a_plain_archive_is_unsupported_and_the_message_says_what_to_do(name: str) -> None:
    with pytest.raises(DocumentUnsupportedError, match="`headwater import` unpacks ZIP archives"):
        detect(archive("a.txt"), name=name)
    with pytest.raises(DocumentUnsupportedError, match="`headwater import` unpacks ZIP archives"):
        detect(archive(), name=name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive(mimetype="application/vnd.oasis.opendocument.spreadsheet"), "an OpenDocument spreadsheet"),
        (archive("Index/Document.iwa"), "an Apple iWork document"),
    ],
)
def test_other_documents_are_named(content: bytes, message: str) -> None:
    with pytest.raises(DocumentUnsupportedError, match=message):
        detect(content, name="a")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (DOCX_BYTES[:2000], "a.docx", "archive cannot be opened"),
        (DOCX_BYTES[:2000], "a", "archive cannot be opened"),
        (archive("a.txt"), "a.docx", "not a Word document"),
        (archive("a.txt"), "a.pptx", "not a PowerPoint presentation"),
        (archive("a.txt"), "a.xlsx", "not an Excel workbook"),
        (archive("a.txt"), "a.odt", "not an OpenDocument text"),
        (archive("a.txt"), "a.epub", "not an EPUB book"),
        (archive(), "a.docx", "not a Word document"),
    ],
)
def test_an_archive_that_is_not_what_it_says_is_unreadable(content: bytes, name: str, message: str) -> None:
    with pytest.raises(DocumentUnreadableError, match=message):
        detect(content, name=name)


def test_an_archive_of_a_million_entries_is_looked_at_in_little_memory() -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), 4, 0)
    content = b"PK\x03\x04" + directory + end
    tracemalloc.start()
    with pytest.raises(DocumentUnsupportedError):
        detect(content, name="a.zip")
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


def test_a_large_archive_is_read_by_its_64_bit_directory() -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 45, 45, 0, 0, 0, 0, 0, 0, 0, len("word/x"), 0, 0, 0, 0, 0, 0)
    types = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 45, 45, 0, 0, 0, 0, 0, 0, 0, len(TYPES), 0, 0, 0, 0, 0, 0)
    directory = entry + b"word/x" + types + TYPES.encode()
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, len(directory), 4)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 4 + len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert detect(b"PK\x03\x04" + directory + end64 + locator + end, name="a")[0] == DOCX


@given(st.data())
def test_a_damaged_archive_is_refused_in_words(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([DOCX_BYTES, archive("content.xml", mimetype=ODT, deflate=True)])))
    for _ in range(data.draw(st.integers(1, 8))):
        position = data.draw(st.integers(4, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    name = data.draw(st.sampled_from(["a", "a.docx", "a.odt", "a.txt"]))
    try:
        detect(bytes(content[: data.draw(st.integers(4, len(content)))]), name=name)
    except DocumentError as error:
        assert str(error)  # noqa: PT017  any other error fails the test
