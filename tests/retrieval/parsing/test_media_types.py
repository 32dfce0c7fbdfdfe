from __future__ import annotations

import io
import zipfile

import pytest

from headwater_server.errors import Reason
from headwater_server.retrieval.parsing import DocumentUnreadableError, DocumentUnsupportedError, supported_media_types
from headwater_server.retrieval.parsing.media_types import DOCX, HTML, MARKDOWN, PDF, PLAIN, detect
from headwater_server.retrieval.parsing.registry import find_parser
from tests.retrieval.parsing.samples import make_docx, make_pdf

PDF_BYTES = make_pdf([["Hello"]])
DOCX_BYTES = make_docx(lambda _: None)


def zip_bytes(name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, "x")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "declared", "expected"),
    [
        (b"text", "a.txt", "", PLAIN),
        (b"text", "README", "", PLAIN),
        (b"text", "", "text/plain", PLAIN),
        (b"text", "a.conf", "text/plain", PLAIN),
        (b"# text", "a.MD", "", MARKDOWN),
        (b"# text", "a.md", "text/plain", MARKDOWN),
        (b"# text", "a.txt", "text/x-markdown", MARKDOWN),
        (b"# text", "a.md", "application/octet-stream", MARKDOWN),
        (b"<p>x", "a.htm", "", HTML),
        (b"<p>x", "page", "text/HTML; charset=utf-8", HTML),
        (b"<?xml version='1.0'?>\n<!doctype html><p>x", "page", "", HTML),
        (b"<!doctype html><p>x", "a.txt", "", PLAIN),
        (PDF_BYTES, "a.pdf", "", PDF),
        (PDF_BYTES, "a.txt", "text/plain", PDF),
        (PDF_BYTES, "a.docx", DOCX, PDF),
        (b"\n\n" + PDF_BYTES, "a.pdf", "", PDF),
        (b"A file that begins with %PDF- is a PDF.", "a.txt", "", PLAIN),
        (DOCX_BYTES, "a.docx", "", DOCX),
        (DOCX_BYTES, "a", "application/zip", DOCX),
        (DOCX_BYTES, "a.pdf", PDF, DOCX),
        ("\ufeffx".encode("utf-16"), "a.txt", "", PLAIN),
    ],
)
def test_the_type_follows_from_the_bytes_the_declaration_and_the_name(
    content: bytes, name: str, declared: str, expected: str
) -> None:
    assert detect(content, name=name, declared=declared)[0] == expected


def test_the_declared_charset_is_passed_on() -> None:
    assert detect(b"x", declared='text/html; Charset="KOI8-R"') == (HTML, "KOI8-R")


@pytest.mark.parametrize(
    ("content", "name", "declared"),
    [
        (b"a,b\n1,2\n", "a.csv", ""),
        (b"a,b\n1,2\n", "a.txt", "text/csv"),
        (b"\x89PNG\r\n\x1a\n....", "a.png", ""),
        (b"\x89PNG\r\n\x1a\n....", "a.txt", ""),
        (b"text\x00text", "a.txt", ""),
        (bytes(range(1, 32)) * 20, "a.txt", ""),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a.doc", ""),
        (zip_bytes("a.txt"), "a.zip", ""),
        (zip_bytes("a.txt")[:30], "a.md", ""),
    ],
)
def test_other_types_are_unsupported(content: bytes, name: str, declared: str) -> None:
    with pytest.raises(DocumentUnsupportedError) as caught:
        detect(content, name=name, declared=declared)
    assert caught.value.reason == Reason.DOCUMENT_UNSUPPORTED
    assert "supported are plain text (.txt)" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "a.txt", "is empty"),
        (b"no archive", "a.docx", "does not begin like"),
        (b"no pdf", "a.pdf", "does not begin like application/pdf"),
        (DOCX_BYTES[:2000], "a.docx", "archive cannot be opened"),
        (zip_bytes("a.txt"), "a.docx", "not a Word document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "a.docx", "encrypted"),
    ],
)
def test_what_is_not_what_it_says_is_unreadable(content: bytes, name: str, message: str) -> None:
    with pytest.raises(DocumentUnreadableError, match=message) as caught:
        detect(content, name=name)
    assert caught.value.reason == Reason.DOCUMENT_UNREADABLE


def test_every_supported_type_has_a_parser_that_can_be_imported() -> None:
    assert {PLAIN, MARKDOWN, HTML, PDF, DOCX} == set(supported_media_types())
    assert all(callable(find_parser(media_type)) for media_type in supported_media_types())
