"""The pieces of an import's result as bytes: a line of JSON, then the vectors.

What is read here comes from a process that may belong to a hostile document. So nothing is unpickled, every field is
looked at, and what has no meaning costs the worker.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from headwater_server.errors import Reason
from headwater_server.retrieval.embedding.protocol import Vectors
from headwater_server.retrieval.model import Location, LocationKind, Passage
from headwater_server.retrieval.workers.import_pieces import (
    MOST_PASSAGES,
    Embedded,
    EmbedderMissing,
    ImportPiece,
    Refused,
    Split,
)
from headwater_server.retrieval.workers.messages import NotUnderstood

_KINDS = frozenset(get_args(LocationKind))
_REASONS = {Reason.DOCUMENT_UNREADABLE, Reason.DOCUMENT_UNSUPPORTED, Reason.DOCUMENT_TOO_LARGE}
_MOST_CHARACTERS = 4096
"""The most that is kept of a title or a message."""
_FLOAT = np.dtype("<f4")


def encode(piece: ImportPiece) -> bytes:
    """A piece's bytes."""
    match piece:
        case Split(title, media_type, passage_count):
            return _line("split", title[:_MOST_CHARACTERS], media_type, passage_count)
        case Embedded(passages, passage_ids, vectors, embedder):
            rows = [_row(*each) for each in zip(passages, passage_ids, strict=True)]
            return _line("embedded", embedder, rows) + np.ascontiguousarray(vectors, dtype=_FLOAT).tobytes()
        case Refused(reason, message):
            return _line("refused", reason.value, message[:_MOST_CHARACTERS])
        case EmbedderMissing(message):
            return _line("embedder missing", message[:_MOST_CHARACTERS])


def decode(data: bytes) -> ImportPiece:
    """The piece in some bytes.

    Raises:
        NotUnderstood: There is none.
    """
    line, _, vectors = data.partition(b"\n")
    try:
        return _piece(json.loads(line), vectors)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood("a piece of an import is not as it must be") from error


def _piece(fields: Any, vectors: bytes) -> ImportPiece:
    match fields:
        case ["split", str(title), str(media_type), int(count)] if 0 < count <= MOST_PASSAGES:
            return Split(title[:_MOST_CHARACTERS], media_type[:_MOST_CHARACTERS], count)
        case ["embedded", str(embedder), [_, *_] as rows]:
            passages = [_passage(row) for row in rows]
            ids = [passage_id for _, passage_id in passages]
            return Embedded([passage for passage, _ in passages], ids, _matrix(vectors, rows=len(rows)), embedder)
        case ["refused", str(reason), str(message)] if reason in _REASONS:
            return Refused(Reason(reason), message[:_MOST_CHARACTERS])
        case ["embedder missing", str(message)]:
            return EmbedderMissing(message[:_MOST_CHARACTERS])
    raise ValueError("no piece has these fields")


def _line(*fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _row(passage: Passage, passage_id: str) -> Sequence[Any]:
    place = passage.location
    location = None if place is None else [place.kind, place.start, place.end, place.sheet]
    return [passage_id, passage.ordinal, passage.text, passage.heading, location]


def _passage(row: Any) -> tuple[Passage, str]:
    match row:
        case [str(passage_id), int(ordinal), str(text), str(heading), place]:
            return Passage(ordinal, text, _location(place), heading), passage_id
    raise ValueError("no passage has these fields")


def _location(place: Any) -> Location | None:
    match place:
        case None:
            return None
        case [str(kind), int(start), int(end), str(sheet)] if kind in _KINDS and max(start, end) < 2**31:
            return Location(kind, start, end, sheet)  # type: ignore[arg-type]  # one of the kinds, as just seen
    raise ValueError("no location has these fields")


def _matrix(data: bytes, *, rows: int) -> Vectors:
    if not data:  # none were wanted
        return np.empty((rows, 0), dtype=np.float32)
    vectors = np.frombuffer(data, dtype=_FLOAT).reshape(rows, -1)
    if not np.isfinite(vectors).all():
        raise ValueError("a vector holds something that is no number")
    return vectors if sys.byteorder == "little" else vectors.astype(np.float32)
