"""The pieces that a worker's work on a document comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headwater_server.errors import Reason
from headwater_server.retrieval.embedding.protocol import Vectors
from headwater_server.retrieval.model import Passage

MOST_PASSAGES = 100_000
"""How many passages a document may have: the service has them in its memory, vectors and all, until they are stored."""


@dataclass(frozen=True, slots=True)
class Split:
    """The document has been read and split. The first piece of a result."""

    title: str
    media_type: str
    passage_count: int


@dataclass(frozen=True, slots=True)
class Embedded:
    """The next passages, with their ids and vectors; without components, and `embedder` empty, if none were wanted."""

    passages: Sequence[Passage]
    passage_ids: Sequence[str]
    vectors: Vectors
    embedder: str
    """The fingerprint of the embedder that made them."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The document cannot be read; the only piece of its result."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class EmbedderMissing:
    """The worker has no embedder, which is not the document's fault; the last piece of its result."""

    message: str


ImportPiece = Split | Embedded | Refused | EmbedderMissing
