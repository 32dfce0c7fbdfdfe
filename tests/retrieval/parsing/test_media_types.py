from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from importlib import import_module

import pytest

from headwater_server.errors import Reason
from headwater_server.retrieval.parsing import (
    DocumentUnreadableError,
    DocumentUnsupportedError,
    readable_suffixes,
    supported_media_types,
)
from headwater_server.retrieval.parsing.formats import (
    CSV,
    DOCX,
    EMAIL,
    FORMATS,
    HTML,
    JSON,
    JSON_LINES,
    MARKDOWN,
    NOTEBOOK,
    PDF,
    PLAIN,
    RTF,
    TSV,
    XML,
)
from headwater_server.retrieval.parsing.media_types import detect
from headwater_server.retrieval.parsing.registry import find_parser
from tests.retrieval.parsing.samples import make_docx, make_pdf

PDF_BYTES = make_pdf([["Hello"]])
DOCX_BYTES = make_docx(lambda _: None)


@pytest.mark.parametrize(
    ("content", "name", "declared", "expected"),
    [
        (b"text", "a.txt", "", PLAIN),
        (b"text", "README", "", PLAIN),
        (b"text", "", "text/plain", PLAIN),
        (b"text", "a.unknown", "text/plain", PLAIN),
        (b"text", "a.unknown", "text/x-anything", PLAIN),
        (b"text", "a.conf", "text/plain", "text/x-ini"),
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
        ("plain words".encode("utf-16-le"), "a.txt", "", PLAIN),
        ("Обычные слова русского языка".encode("utf-16-be"), "a.txt", "", PLAIN),
        (b"a,b\n1,2\n", "a.csv", "", CSV),
        (b"a,b\n1,2\n", "a.txt", "text/csv", CSV),
        (b"a,b\n1,2\n", "a.csv", "application/vnd.ms-excel", CSV),
        (b"a\tb\n", "a.TSV", "text/plain", TSV),
        (b"{}", "a.json", "", JSON),
        (b"{}", "a", "application/ld+json; charset=utf-8", JSON),
        (b"{}", "a.jsonl", "application/json", JSON_LINES),
        (b"{}", "a.ipynb", "application/json", NOTEBOOK),
        (b"{}", "a.txt", "application/json", JSON),
        (b"<a/>", "a.xml", "", XML),
        (b"<a/>", "a", "application/rss+xml", XML),
        (b"<?xml version='1.0'?><a/>", "a", "", XML),
        (b"<html><p>x</p></html>", "a.xml", "text/xml", HTML),
        (b"<html><p>x</p></html>", "a.xhtml", "application/xml", HTML),
        (b"{\\rtf1 x}", "a.doc", "", RTF),
        (b"{\\rtf1 x}", "a.txt", "text/plain", RTF),
        (b"Subject: x\n\nbody\x00", "a.eml", "", EMAIL),
        (b"x = 1", "a.py", "", "text/x-python"),
        (b"x = 1", "a.PY", "application/octet-stream", "text/x-python"),
        (b"x = 1", "a", "application/x-sh", "text/x-shellscript"),
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
        (b"plain", "a.unknown", ""),
        (b"plain", "a.txt", "application/x-unheard-of"),
        (b"<svg/>", "a.svg", "image/svg+xml"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "a.wav", ""),
        (b"\x00\x00\x00\x18ftypmp42", "a.mp4", ""),
        (b"MZ\x90\x00", "a.txt", ""),
        (b"\x89PNG\r\n\x1a\n....", "a.png", ""),
        (b"\x89PNG\r\n\x1a\n....", "a.txt", ""),
        (b"text\x00text", "a.txt", ""),
        (bytes(range(1, 32)) * 20, "a.txt", ""),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a.doc", ""),
    ],
)
def test_other_types_are_unsupported(content: bytes, name: str, declared: str) -> None:
    with pytest.raises(DocumentUnsupportedError) as caught:
        detect(content, name=name, declared=declared)
    assert caught.value.reason == Reason.DOCUMENT_UNSUPPORTED
    assert "supported are plain text (.txt)" in str(caught.value)


def tar_of(*files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number, content in enumerate(files):
            entry = tarfile.TarInfo(f"{number}.pdf")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def stored_zip_of(*files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for number, content in enumerate(files):
            archive.writestr(f"{number}.pdf", content)
    return out.getvalue()


@pytest.mark.parametrize("name", ["documents.tar", "documents.zip", "documents.pdf", "documents"])
@pytest.mark.parametrize(("pack", "kind"), [(tar_of, "a tar archive"), (stored_zip_of, "a ZIP archive")])
def test_an_archive_of_pdfs_is_not_taken_for_one_of_them(pack: Callable[..., bytes], kind: str, name: str) -> None:
    with pytest.raises(DocumentUnsupportedError, match=f"the file is {kind}"):
        detect(pack(PDF_BYTES, PDF_BYTES), name=name)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "a.txt", "is empty"),
        (b"no archive", "a.docx", "does not begin like"),
        (b"no pdf", "a.pdf", "does not begin like application/pdf"),
        (b"no rtf", "a.rtf", "does not begin like"),
        (b"no book", "a.epub", "does not begin like"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "a.docx", "encrypted"),
    ],
)
def test_what_is_not_what_it_says_is_unreadable(content: bytes, name: str, message: str) -> None:
    with pytest.raises(DocumentUnreadableError, match=message) as caught:
        detect(content, name=name)
    assert caught.value.reason == Reason.DOCUMENT_UNREADABLE


@pytest.mark.parametrize("media_type", supported_media_types())
def test_every_supported_type_has_a_parser_that_can_be_imported(media_type: str) -> None:
    assert callable(find_parser(media_type))


def test_the_table_has_every_type_ending_and_alias_once() -> None:
    suffixes = [suffix for each in FORMATS for suffix in each.suffixes]
    assert len(set(suffixes)) == len(suffixes) == len(readable_suffixes())
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)
    types = [media_type for each in FORMATS for media_type in (each.media_type, *each.aliases)]
    assert len(set(types)) == len(types)
    assert all(media_type == media_type.lower() for media_type in types)


def test_a_refusal_names_every_kind_that_is_supported() -> None:
    with pytest.raises(DocumentUnsupportedError) as caught:
        detect(b"plain", name="a.unknown")
    for each in FORMATS:
        assert each.name in str(caught.value)


def test_a_parser_s_module_is_of_this_package() -> None:
    package = "headwater_server.retrieval.parsing"
    assert all(import_module(f"{package}.{each.parser.partition(':')[0]}") for each in FORMATS)
