"""Guarding against archives made to exhaust memory."""

from __future__ import annotations

import io
import zipfile
import zlib

from headwater_server.retrieval.parsing.errors import DocumentTooLargeError, DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits

_ENCRYPTED = 0x1


def check_archive(content: bytes, *, limits: ParseLimits) -> None:
    """Check a ZIP-based document before a library unpacks it: number of files, size unpacked, integrity, XML entities.

    The sizes that the archive declares can be trusted as a bound: `zipfile` never unpacks more of a file than it
    declares. Every file is unpacked once, in turn, so that damage shows here and not somewhere within a library.

    Raises:
        DocumentTooLargeError: Unpacked it would be over the limits.
        DocumentUnreadableError: It is damaged, encrypted, or declares XML entities, as no word processor does.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_sizes(archive.infolist(), limits)
            for entry in archive.infolist():
                _check_entry(archive, entry)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise DocumentUnreadableError("the document is damaged: its archive cannot be unpacked") from error


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


def _check_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & _ENCRYPTED:
        raise DocumentUnreadableError("the document is encrypted; save it without a password and import it again")
    data = archive.read(entry)
    if entry.filename.lower().endswith((".xml", ".rels")) and b"<!DOCTYPE" in data:
        raise DocumentUnreadableError("the document declares XML entities, which a Word document never does")
