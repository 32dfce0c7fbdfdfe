"""Guarding against archives made to exhaust memory."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from headwater_server.retrieval.parsing.errors import (
    DocumentTooLargeError,
    DocumentUnreadableError,
    DocumentUnsupportedError,
)
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.xml_parts import check_declarations, count_markup

_ENCRYPTED = 0x1
_METHODS = frozenset((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))  # all that these formats know; others may ask for GiBs
_DIRECTORY_ENTRY = b"PK\x01\x02"
_XML = (".xml", ".rels", ".vml")
_RELATIONSHIPS = "_rels/.rels"
_STRICT = b"http://purl.oclc.org/ooxml/officeDocument/relationships/officeDocument"  # ISO/IEC 29500-1, 11.3
_CHUNK = 1024 * 1024


@contextmanager
def opened_archive(content: bytes, *, limits: ParseLimits, plain_xml: bool = True) -> Iterator[zipfile.ZipFile]:
    """Open a ZIP-based document whose files can be read, in any order, without further care for damage or size.

    Checked are the number of files, their size unpacked, and their integrity. The sizes that the archive declares can
    be trusted as a bound: `zipfile` never unpacks more of a file than it declares. Every file is unpacked once, in
    turn, so that damage shows here and not somewhere within a library. Nothing is ever written to where a file's name
    points.

    Args:
        content: The document.
        limits: What it may cost.
        plain_xml: Whether XML files with a document type declaration are refused, as Office documents have none.

    Raises:
        DocumentTooLargeError: Unpacked it would be over the limits.
        DocumentUnreadableError: It is damaged, encrypted, or declares XML entities.
    """
    _bound_directory(content, limits)
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except _DAMAGE as error:
        raise _damaged() from error
    with archive:
        _check_sizes(archive.infolist(), limits)
        for entry in archive.infolist():
            _check_entry(archive, entry, plain_xml=plain_xml)
        yield archive


def check_archive(content: bytes, *, limits: ParseLimits) -> None:
    """Check an Office document before a library unpacks it and holds all of its XML in memory.

    Raises:
        DocumentTooLargeError: Unpacked it would be over the limits.
        DocumentUnreadableError: It is damaged, encrypted, or declares XML entities.
        DocumentUnsupportedError: It is of the Strict variant, which the libraries do not know.
    """
    markup = 0
    with opened_archive(content, limits=limits) as archive:
        if _RELATIONSHIPS in archive.namelist() and _STRICT in archive.read(_RELATIONSHIPS):
            raise DocumentUnsupportedError(
                "the document is saved as Strict Open XML, which cannot be read; save it as an ordinary document "
                "(.docx, .pptx) and import it again"
            )
        for entry in archive.infolist():
            if _is_xml(entry):
                markup += count_markup(archive.read(entry))
                limits.check_markup(markup)


_DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError)


def _damaged() -> DocumentUnreadableError:
    return DocumentUnreadableError("the document is damaged: its archive cannot be unpacked")


def _is_xml(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.lower().endswith(_XML)


def _bound_directory(content: bytes, limits: ParseLimits) -> None:
    """Refuse an archive of far too many files before `zipfile` makes an object of each.

    Every entry of the directory begins with the same four bytes. A file within that is itself an archive, and stored,
    has them too, which is why there may be some more of them than files.
    """
    files = content.count(_DIRECTORY_ENTRY)
    if files > 4 * limits.max_archive_files:
        raise DocumentTooLargeError(
            f"the document's archive has about {files:,} files; the limit is {limits.max_archive_files:,}"
        )


def _check_sizes(entries: list[zipfile.ZipInfo], limits: ParseLimits) -> None:
    if len(entries) > limits.max_archive_files:
        raise DocumentTooLargeError(
            f"the document's archive has {len(entries):,} files; the limit is {limits.max_archive_files:,}"
        )
    expanded = sum(entry.file_size for entry in entries)
    if expanded > limits.max_expanded_bytes:
        raise DocumentTooLargeError(
            f"the document's archive unpacks to {expanded:,} bytes; the limit is {limits.max_expanded_bytes:,}"
        )


def _check_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, *, plain_xml: bool) -> None:
    if entry.flag_bits & _ENCRYPTED:
        raise DocumentUnreadableError("the document is encrypted; save it without a password and import it again")
    if entry.compress_type not in _METHODS:
        raise DocumentUnreadableError("the document's archive is compressed in a way that documents never are")
    try:
        if plain_xml and _is_xml(entry):
            check_declarations(archive.read(entry))
            return
        with archive.open(entry) as file:
            while file.read(_CHUNK):
                pass
    except _DAMAGE as error:
        raise _damaged() from error
