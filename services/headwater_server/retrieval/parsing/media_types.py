"""Telling what a document is, from what the caller says, its name and its bytes.

Bytes that are plainly of one type (a PDF, an archive, an image) decide. Among the kinds of text, which look alike, a
specific declared type decides, then the file's extension, then the content.
"""

from __future__ import annotations

import re
from email.message import Message
from pathlib import PurePosixPath

from headwater_server.retrieval.parsing.archive_types import ARCHIVE_SIGNATURES, type_of_archive
from headwater_server.retrieval.parsing.charset_guess import guess_wide_charset
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError, DocumentUnsupportedError
from headwater_server.retrieval.parsing.foreign_types import foreign_kind
from headwater_server.retrieval.parsing.formats import (
    ALIASES,
    BY_MEDIA_TYPE,
    BY_SUFFIX,
    EMAIL,
    HTML,
    JSON,
    JSON_LINES,
    NOTEBOOK,
    PDF,
    PLAIN,
    RTF,
    XML,
    what_is_supported,
)

# Declared by software that does not know better; the name and the content say more.
_SAYS_NOTHING = {
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "application/x-unknown",
    "application/zip",
    "application/x-zip-compressed",
    "application/vnd.ms-excel",  # what browsers on Windows call a CSV file
    PLAIN,
}
# A declared type that the ending of the name makes more precise.
_NARROWED = {JSON: {NOTEBOOK, JSON_LINES}, XML: {HTML}}

_HEAD = 1024
_COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_UTF_16_OR_32_BOM = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
# A comment ends at its first end: were it let go on to a later one, some of them could be read in very many ways.
_HTML_START = re.compile(
    rb"\s*+(?:<\?xml[^>]*+>\s*+)?+(?:<!--(?:(?!-->).)*+-->\s*+)*+<(?:!doctype\s+html|html[\s>])", re.I | re.S
)
_XML_START = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml\s")
_FEW_CONTROLS = 8
_BINARY_CONTROLS = bytes(c for c in range(32) if c not in b"\t\n\f\r\b\x1b")


def detect(content: bytes, *, name: str = "", declared: str = "") -> tuple[str, str]:
    """Return the supported media type of a document, and the charset declared with it (empty if none).

    Raises:
        DocumentUnsupportedError: It is of a type that cannot be read.
        DocumentUnreadableError: It is empty, or not at all what its name or declared type says.
    """
    if not content:
        raise DocumentUnreadableError("the file is empty")
    declared_type, charset = _parse_declared(declared)
    expected = _expected_type(declared_type, name)
    found = _type_by_signature(content, expected)
    if found:
        return found, charset
    if expected and not BY_MEDIA_TYPE[expected].is_text:
        raise DocumentUnreadableError(f"the file is damaged or not what it says: it does not begin like {expected}")
    if expected != EMAIL:  # a message may carry anything; its parser takes the text out
        _refuse_binary(content)
    if expected == XML and _HTML_START.match(content[: 4 * _HEAD]):
        expected = HTML
    if expected in {"", PLAIN} and not _is_known(name):
        expected = _type_by_start(content[: 4 * _HEAD]) or expected
    if expected:
        return expected, charset
    if not _suffix(name) or declared_type.startswith("text/"):
        return PLAIN, charset
    raise DocumentUnsupportedError(f"files of type {_suffix(name)[:100]} cannot be read; {what_is_supported()}")


def bare_type(declared: str) -> str:
    """Return a media type without its parameters, in small letters; empty if there is none."""
    return declared.partition(";")[0].strip().lower()


def _parse_declared(declared: str) -> tuple[str, str]:
    message = Message()
    message["Content-Type"] = " ".join(declared.split())
    charset = message.get_param("charset", "")
    media_type = bare_type(declared)
    return ALIASES.get(media_type, media_type), charset if isinstance(charset, str) else ""


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _is_known(name: str) -> bool:
    return _suffix(name) in BY_SUFFIX


def _expected_type(declared: str, name: str) -> str:
    """Return the type that the declaration and the name lead to expect; empty if they say nothing."""
    by_name = BY_SUFFIX[_suffix(name)].media_type if _is_known(name) else ""
    specific = _specific_type(declared)
    if not specific:
        return by_name or (PLAIN if declared.startswith("text/") else "")
    return by_name if by_name in _NARROWED.get(specific, ()) else specific


def _specific_type(declared: str) -> str:
    """Return the supported type that is declared; empty if the declaration leaves it open.

    Raises:
        DocumentUnsupportedError: A type is declared that cannot be read.
    """
    if declared in _SAYS_NOTHING:
        return ""
    if declared in BY_MEDIA_TYPE:
        return declared
    if not declared.startswith("image/"):
        for ending, base in (("+json", JSON), ("+xml", XML)):  # RFC 6839, RFC 7303
            if declared.endswith(ending):
                return base
    if declared.startswith("text/"):
        return ""
    raise DocumentUnsupportedError(f"documents of type {declared[:100]} cannot be read; {what_is_supported()}")


def _type_by_signature(content: bytes, expected: str) -> str:
    """Return the type that the bytes plainly have, empty if they have none that is plain to see."""
    head = content[:_HEAD]
    if head.startswith(b"%PDF-"):
        return PDF
    if head.startswith(b"{\\rtf"):
        return RTF
    if head.startswith(ARCHIVE_SIGNATURES):
        return type_of_archive(content, expected=expected)
    if head.startswith(_COMPOUND_FILE):
        if _ENCRYPTED_PACKAGE in content:
            raise DocumentUnreadableError("the document is encrypted; save it without a password and import it again")
        raise DocumentUnsupportedError(
            f"Office files of before 2007 (such as .doc and .xls) cannot be read; {what_is_supported()}"
        )
    if kind := foreign_kind(head):
        raise DocumentUnsupportedError(f"the file is {kind}; {what_is_supported()}")
    # Readers accept a PDF's header anywhere in the first kilobyte, but a text may well mention it, and an archive may
    # begin with a PDF that is one of many files in it.
    return PDF if b"%PDF-" in head and (expected == PDF or b"\x00" in content) else ""


def _type_by_start(head: bytes) -> str:
    if _HTML_START.match(head):
        return HTML
    return XML if _XML_START.match(head) else ""


def _refuse_binary(content: bytes) -> None:
    if content.startswith(_UTF_16_OR_32_BOM) or guess_wide_charset(content):
        return
    sample = content[: 64 * _HEAD]
    controls = len(sample) - len(sample.translate(None, _BINARY_CONTROLS))
    if b"\x00" in content or (controls > _FEW_CONTROLS and controls * 20 > len(sample)):
        raise DocumentUnsupportedError(f"the file is binary data, not text; {what_is_supported()}")
