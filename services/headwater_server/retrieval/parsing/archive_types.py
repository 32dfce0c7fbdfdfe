"""Telling which document a ZIP archive is, at a bounded cost, without unpacking it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from headwater_server.retrieval.parsing.errors import DocumentUnreadableError, DocumentUnsupportedError
from headwater_server.retrieval.parsing.formats import DOCX, EPUB, ODT, PPTX, XLSX, what_is_supported

ARCHIVE_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08PK\x03\x04")

# A document has its tell-tale files among the first; an archive of a million entries is not read to the end.
_MAX_ENTRIES = 5000
_MAX_COMMENT = 65_535
_MAX_TYPE_BYTES = 200

_END = struct.Struct("<4s4H2LH")  # APPNOTE.TXT 4.3.16
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_END64_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_ENTRY = struct.Struct("<4s6H3L5H2L")  # 4.3.12
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # 4.3.7
_DEFLATED = 8

_OFFICE_FOLDERS = {"word": DOCX, "ppt": PPTX, "xl": XLSX}
_DECLARED_TYPES = {
    ODT: ODT,
    f"{ODT}-template": ODT,
    EPUB: EPUB,
}
_FOREIGN = {
    "application/vnd.oasis.opendocument.spreadsheet": "an OpenDocument spreadsheet",
    "application/vnd.oasis.opendocument.presentation": "an OpenDocument presentation",
    "application/vnd.oasis.opendocument.graphics": "an OpenDocument drawing",
}


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    method: int
    compressed: int
    header: int
    """Where its local header begins."""


def type_of_archive(content: bytes, *, expected: str) -> str:
    """Return the media type of a document that is a ZIP archive.

    Args:
        content: The file's bytes, beginning with one of `ARCHIVE_SIGNATURES`.
        expected: The media type that its name and its declaration lead to expect; empty if none.

    Raises:
        DocumentUnsupportedError: It is an archive of something else.
        DocumentUnreadableError: Its directory is damaged, or it is not the document it was expected to be.
    """
    entries = {entry.name: entry for entry in islice(_entries(content), _MAX_ENTRIES)}
    if not entries and expected in {*_OFFICE_FOLDERS.values(), ODT, EPUB, ""} and not _is_empty(content):
        raise DocumentUnreadableError("the document is damaged: its archive cannot be opened")
    found = _office_type(entries, expected) or _declared_type(content, entries)
    if found:
        return found
    if expected in _OFFICE_FOLDERS.values() or expected in {ODT, EPUB}:
        raise DocumentUnreadableError(f"the file is a ZIP archive, but not {_ARTICLES[expected]}")
    raise DocumentUnsupportedError(
        "the file is a ZIP archive; `headwater import` unpacks ZIP archives and imports the documents in them, the "
        f"server takes them one by one; {what_is_supported()}"
    )


_ARTICLES = {
    DOCX: "a Word document",
    PPTX: "a PowerPoint presentation",
    XLSX: "an Excel workbook",
    ODT: "an OpenDocument text",
    EPUB: "an EPUB book",
}


def _office_type(entries: dict[str, _Entry], expected: str) -> str:
    if "[Content_Types].xml" not in entries:
        return ""
    folders = {name.partition("/")[0] for name in entries}
    found = [media_type for folder, media_type in _OFFICE_FOLDERS.items() if folder in folders]
    # A package that names its parts in another way, but says it is a document, is left to the parser to judge.
    return expected if expected in found or (expected in _OFFICE_FOLDERS.values() and not found) else (found or [""])[0]


def _declared_type(content: bytes, entries: dict[str, _Entry]) -> str:
    """Return the type in the entry `mimetype` of OpenDocument (part 2, 3.3) and EPUB (OCF, 4.3); empty if none."""
    if "mimetype" in entries:
        declared = _read_short(content, entries["mimetype"])
        if declared in _FOREIGN:
            raise DocumentUnsupportedError(f"the file is {_FOREIGN[declared]}; {what_is_supported()}")
        if declared in _DECLARED_TYPES:
            return _DECLARED_TYPES[declared]
    if "Index/Document.iwa" in entries:
        raise DocumentUnsupportedError(f"the file is an Apple iWork document; {what_is_supported()}")
    return EPUB if "META-INF/container.xml" in entries else ""


def _read_short(content: bytes, entry: _Entry) -> str:
    """Return the beginning of an entry's text, as far as it is ASCII."""
    try:
        fields = _LOCAL_HEADER.unpack_from(content, entry.header)
        start = entry.header + _LOCAL_HEADER.size + fields[-2] + fields[-1]
        data = content[start : start + min(entry.compressed, _MAX_TYPE_BYTES)]
        if entry.method == _DEFLATED:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, _MAX_TYPE_BYTES)
    except (struct.error, zlib.error):
        return ""
    return data.decode("ascii", errors="ignore").strip()


def _is_empty(content: bytes) -> bool:
    return content.startswith(b"PK\x05\x06")


def _entries(content: bytes) -> Iterator[_Entry]:
    """Yield the entries of an archive's directory, as far as it is whole."""
    position = _directory_start(content)
    while 0 <= position <= len(content) - _ENTRY.size:
        fields = _ENTRY.unpack_from(content, position)
        if fields[0] != b"PK\x01\x02":
            return
        name_length, extra_length, comment_length = fields[10:13]
        start = position + _ENTRY.size
        name = content[start : start + name_length].decode("utf-8", errors="replace")
        yield _Entry(name, method=fields[4], compressed=fields[8], header=fields[16])
        position = start + name_length + extra_length + comment_length


def _directory_start(content: bytes) -> int:
    """Return where an archive's directory begins, or -1."""
    end = content.rfind(b"PK\x05\x06", max(0, len(content) - _MAX_COMMENT - _END.size))
    if end < 0 or end + _END.size > len(content):
        return -1
    size, offset = _END.unpack_from(content, end)[5:7]
    start = end - size
    locator = end - _END64_LOCATOR.size
    if locator >= 0 and content.startswith(b"PK\x06\x07", locator):
        end64 = locator - _END64.size
        if end64 < 0 or not content.startswith(b"PK\x06\x06", end64):
            return -1
        start = end64 - _END64.unpack_from(content, end64)[8]
    # The directory ends where its end record begins; the offset it declares is off where something was put before it.
    return start if start >= 0 else int(offset)
