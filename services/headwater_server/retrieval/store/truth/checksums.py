"""Checksums of rows: SQLite does not notice a flipped byte within a text or a vector, and would hand it out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import google_crc32c

PassageColumns = tuple[int, int, str, int, str, str | None, str, bytes, str]
"""corpus_row, document_row, passage_id, ordinal, heading, location, text, vector, language."""

DocumentColumns = tuple[int, str, str, str, str, str]
"""corpus_row, document_id, title, uri, media_type, metadata."""

_PASSAGE = struct.Struct("<qqqIIII")
_DOCUMENT = struct.Struct("<qIIIII")
_NO_LOCATION = 0xFFFF_FFFF


def passage_checksum(columns: PassageColumns) -> int:
    """The CRC-32C of a row of `passages`: of what is shown and ranked, and of whose it is."""
    return _checksum_of_bytes([column.encode() if isinstance(column, str) else column for column in columns])


def _checksum_of_bytes(columns: Sequence[Any]) -> int:
    """The same, of a row whose texts are bytes."""
    corpus_row, document_row, passage_id, ordinal, heading, location, text, vector, language = columns
    place = _NO_LOCATION if location is None else len(location)
    header = _PASSAGE.pack(corpus_row, document_row, ordinal, len(passage_id), len(heading), place, len(text))
    parts = (header, passage_id, heading, location or b"", text, vector, language)
    checksum: int = google_crc32c.value(b"".join(parts))
    return checksum


def with_language(checksum: int, language: str) -> int:
    """What the checksum of a passage that had no language becomes once it has one; a wrong one stays wrong."""
    extended: int = google_crc32c.extend(checksum, language.encode())
    return extended


def document_checksum(columns: DocumentColumns) -> int:
    """The CRC-32C of a row of `documents`."""
    corpus_row, *texts = columns
    parts = [text.encode() for text in texts]
    checksum: int = google_crc32c.value(b"".join((_DOCUMENT.pack(corpus_row, *map(len, parts)), *parts)))
    return checksum


def is_intact_passage(columns: Sequence[Any], checksum: object) -> bool:
    """Whether a row of `passages`, with texts or with their bytes, is as it was written.

    A damaged one may have values of any type.
    """
    try:
        return passage_checksum(tuple(columns)) == checksum
    except (AttributeError, TypeError, ValueError, struct.error):
        return False


def is_intact_document(columns: Sequence[Any], checksum: object) -> bool:
    """Whether a row of `documents` is as it was written."""
    try:
        return document_checksum(tuple(columns)) == checksum
    except (AttributeError, TypeError, ValueError, struct.error):
        return False
