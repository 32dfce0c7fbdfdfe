"""Telling what a document is, from what the caller says, its name and its bytes.

Bytes that are plainly of one type (a PDF, an archive, an image) decide. Among the kinds of text, which look alike, a
specific declared type decides, then the file's extension, then the content.
"""

from __future__ import annotations

import io
import re
import zipfile
from email.message import Message
from pathlib import PurePosixPath

from headwater_server.retrieval.parsing.errors import DocumentUnreadableError, DocumentUnsupportedError

PLAIN = "text/plain"
MARKDOWN = "text/markdown"
HTML = "text/html"
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_EXTENSIONS = {
    ".txt": PLAIN,
    ".text": PLAIN,
    ".log": PLAIN,
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".mdown": MARKDOWN,
    ".mkd": MARKDOWN,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
    ".pdf": PDF,
    ".docx": DOCX,
}
_ALIASES = {
    "text/x-markdown": MARKDOWN,
    "application/xhtml+xml": HTML,
    "application/x-pdf": PDF,
}
# Declared by software that does not know better; the name and the content say more.
_SAYS_NOTHING = {
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "application/x-unknown",
    "application/zip",
    PLAIN,
}
_TEXT_TYPES = {PLAIN, MARKDOWN, HTML}
_SUPPORTED = "supported are plain text (.txt), Markdown (.md), HTML (.html), PDF (.pdf) and Word (.docx)"

_HEAD = 1024
_ARCHIVE = b"PK\x03\x04"
_COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_FOREIGN_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
    b"{\\rtf": "an RTF document",
    b"%!PS": "a PostScript file",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x7fELF": "a program",
    b"SQLite format 3\x00": "a database",
}
_UTF_16_OR_32_BOM = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_HTML_START = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,512}?-->\s*)*<(?:!doctype\s+html|html[\s>])", re.I | re.S)
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
    if expected not in _TEXT_TYPES | {""}:
        raise DocumentUnreadableError(f"the file is damaged or not what it says: it does not begin like {expected}")
    _refuse_binary(content)
    if expected in {"", PLAIN} and not _has_known_extension(name) and _HTML_START.match(content[: 4 * _HEAD]):
        return HTML, charset
    if expected:
        return expected, charset
    if not PurePosixPath(name).suffix or declared_type == PLAIN:
        return PLAIN, charset
    raise DocumentUnsupportedError(f"files of type {PurePosixPath(name).suffix} cannot be read; {_SUPPORTED}")


def _parse_declared(declared: str) -> tuple[str, str]:
    message = Message()
    message["Content-Type"] = " ".join(declared.split())
    charset = message.get_param("charset", "")
    media_type = declared.partition(";")[0].strip().lower()
    return _ALIASES.get(media_type, media_type), charset if isinstance(charset, str) else ""


def _has_known_extension(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _EXTENSIONS


def _expected_type(declared: str, name: str) -> str:
    """Return the type that the declaration and the name lead to expect; empty if they say nothing."""
    if declared not in _SAYS_NOTHING:
        if declared not in _EXTENSIONS.values():
            raise DocumentUnsupportedError(f"documents of type {declared[:100]} cannot be read; {_SUPPORTED}")
        return declared
    return _EXTENSIONS.get(PurePosixPath(name).suffix.lower(), PLAIN if declared == PLAIN else "")


def _type_by_signature(content: bytes, expected: str) -> str:
    """Return the type that the bytes plainly have, empty if they have none that is plain to see."""
    head = content[:_HEAD]
    # Readers accept a PDF's header anywhere in the first kilobyte, but a text may well mention it.
    if head.startswith(b"%PDF-") or (b"%PDF-" in head and (expected == PDF or b"\x00" in content)):
        return PDF
    if head.startswith(_ARCHIVE):
        return _type_of_archive(content, expected)
    if head.startswith(_COMPOUND_FILE):
        if _ENCRYPTED_PACKAGE in content:
            raise DocumentUnreadableError("the document is encrypted; save it without a password and import it again")
        raise DocumentUnsupportedError(f"Office files of before 2007 (such as .doc) cannot be read; {_SUPPORTED}")
    for signature, kind in _FOREIGN_SIGNATURES.items():
        if head.startswith(signature):
            raise DocumentUnsupportedError(f"the file is {kind}; {_SUPPORTED}")
    return ""


def _type_of_archive(content: bytes, expected: str) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        if expected in {DOCX, ""}:
            raise DocumentUnreadableError("the document is damaged: its archive cannot be opened") from error
        raise DocumentUnsupportedError(f"the file is a ZIP archive; {_SUPPORTED}") from error
    # A package that calls its parts something else, but says it is a Word document, is left to the parser to judge.
    if "[Content_Types].xml" in names and (expected == DOCX or any(n.startswith("word/") for n in names)):
        return DOCX
    if expected == DOCX:
        raise DocumentUnreadableError("the file is a ZIP archive, but not a Word document")
    raise DocumentUnsupportedError(f"the file is a ZIP archive, not a Word document; {_SUPPORTED}")


def _refuse_binary(content: bytes) -> None:
    if content.startswith(_UTF_16_OR_32_BOM):
        return
    sample = content[: 64 * _HEAD]
    controls = len(sample) - len(sample.translate(None, _BINARY_CONTROLS))
    if b"\x00" in content or (controls > _FEW_CONTROLS and controls * 20 > len(sample)):
        raise DocumentUnsupportedError(f"the file is binary data, not text; {_SUPPORTED}")
