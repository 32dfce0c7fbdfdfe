"""Records as rows and rows as records."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np

from headwater_server.retrieval.model import Location
from headwater_server.retrieval.store.metadata_values import check_value, dump_metadata, load_metadata
from headwater_server.retrieval.store.protocol import DocumentRecord, PassageRecord, Vector

_STORED_FLOAT = np.dtype("<f4")
_LENGTH_TOLERANCE = 1e-3

DOCUMENT_COLUMNS = "document_id, title, uri, media_type, metadata"


def check_document(document: DocumentRecord) -> None:
    """Refuses a document that cannot be stored.

    Raises:
        ValueError: It has no id, or a metadata value that the proto cannot say.
    """
    if not document.document_id:
        raise ValueError("a document needs an id")
    for key, value in document.metadata.items():
        try:
            check_value(value)
        except ValueError as error:
            raise ValueError(f"metadata[{key!r}] of document {document.document_id!r}: {error}") from error


def check_passages(passages: Sequence[PassageRecord], *, dimension: int) -> None:
    """Refuses passages that cannot be stored in a corpus of that dimension.

    Raises:
        ValueError: Two have one id; a vector has another dimension, or not length 1.
    """
    seen: set[str] = set()
    for passage in passages:
        if passage.passage_id in seen:
            raise ValueError(f"passage {passage.passage_id!r} is given twice")
        seen.add(passage.passage_id)
        check_vector(passage.vector, dimension=dimension, owner=f"passage {passage.passage_id!r}")


def check_vector(vector: Vector, *, dimension: int, owner: str) -> None:
    """Refuses a vector of another dimension, or whose length is not 1.

    Raises:
        ValueError: It is so.
    """
    if vector.shape != (dimension,):
        raise ValueError(f"the vector of {owner} has the shape {vector.shape}; the corpus takes ({dimension},)")
    length = math.sqrt(np.dot(vector, vector))
    if not abs(length - 1.0) <= _LENGTH_TOLERANCE:  # false for NaN too
        raise ValueError(f"the vector of {owner} has length {length:.4g} instead of 1")


def document_row(document: DocumentRecord) -> tuple[str, str, str, str, str]:
    """The values of `DOCUMENT_COLUMNS`."""
    return (
        document.document_id,
        document.title,
        document.uri,
        document.media_type,
        dump_metadata(document.metadata),
    )


def to_document(row: Sequence[str]) -> DocumentRecord:
    """The record of the values of `DOCUMENT_COLUMNS`."""
    document_id, title, uri, media_type, metadata = row
    return DocumentRecord(document_id, title, uri, media_type, load_metadata(metadata))


def dump_location(location: Location | None) -> str | None:
    """A location as JSON."""
    if location is None:
        return None
    return json.dumps([location.kind, location.start, location.end, location.sheet])


def load_location(text: str | bytes | None) -> Location | None:
    """The location of which `dump_location` made this."""
    return None if text is None else Location(*json.loads(text))


def dump_vector(vector: Vector) -> bytes:
    """A vector as little-endian float32."""
    return vector.astype(_STORED_FLOAT).tobytes()


def load_vector(blob: bytes) -> Vector:
    """The vector of which `dump_vector` made this."""
    return np.frombuffer(blob, dtype=_STORED_FLOAT).astype(np.float32, copy=False)
