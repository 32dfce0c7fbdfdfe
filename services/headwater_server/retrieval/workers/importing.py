"""What a worker does with a document: reads, splits and embeds it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

import numpy as np

from headwater_server.errors import Reason
from headwater_server.retrieval.embedding.errors import EmbedderUnavailable
from headwater_server.retrieval.embedding.protocol import Embedder
from headwater_server.retrieval.model import Passage
from headwater_server.retrieval.parsing.errors import DocumentError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.splitting.settings import SplitSettings
from headwater_server.retrieval.workers.import_pieces import (
    MOST_PASSAGES,
    Embedded,
    EmbedderMissing,
    ImportPiece,
    Refused,
    Split,
)
from headwater_server.retrieval.workers.import_wire import encode

_BATCH = 32
"""Passages embedded between two signs of life, and sent in one message: about half a second's work."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """A document to read, in the file that goes with the request."""

    name: str
    """Its file name, which helps to tell its type."""
    media_type: str
    """What the caller says it is; empty if unknown."""
    split: SplitSettings | None = None
    """How long its passages are; None: as the task has it."""
    embed: bool = True
    """Whether to embed the passages; else they come without vectors, for another embedder."""


class ImportTask:
    """The task of the workers; the embedder is made with the first document that needs it.

    Args:
        make_embedder: Makes the embedder; picklable.
        limits: What a document may cost.
        split: How long passages are.
    """

    def __init__(self, make_embedder: Callable[[], Embedder], *, limits: ParseLimits, split: SplitSettings) -> None:
        self._make_embedder = make_embedder
        self._limits = limits
        self._split = split

    @cached_property
    def _embedder(self) -> Embedder:
        return self._make_embedder()

    def __call__(self, request: ImportRequest, file: BinaryIO | None, /) -> Iterator[bytes]:
        """Yields the document in pieces, as `import_wire` writes them.

        Args:
            request: What is said of the document.
            file: The document.
        """
        if file is None:
            raise ValueError("an import needs a file")
        return map(encode, self._pieces(request, file))

    def _pieces(self, request: ImportRequest, file: BinaryIO) -> Iterator[ImportPiece]:
        # Only workers need the libraries that read documents; the service never loads them.
        from headwater_server.retrieval.splitting.documents import parse_and_split  # noqa: PLC0415 (see above)

        try:
            self._limits.check_bytes(os.fstat(file.fileno()).st_size)
            document = parse_and_split(
                file.read(),
                name=request.name,
                media_type=request.media_type,
                limits=self._limits,
                split=request.split or self._split,
            )
        except DocumentError as error:
            yield Refused(error.reason, str(error))
            return
        if (count := len(document.passages)) > MOST_PASSAGES:
            message = f"the document has {count:,} passages; the limit is {MOST_PASSAGES:,}"
            yield Refused(Reason.DOCUMENT_TOO_LARGE, message)
            return
        yield Split(document.title, document.media_type, len(document.passages))
        if not request.embed:
            for start in range(0, len(document.passages), _BATCH):
                passages = document.passages[start : start + _BATCH]
                nothing = np.empty((len(passages), 0), dtype=np.float32)
                yield Embedded(passages, [passage_id(passage) for passage in passages], nothing, "")
            return
        try:
            embedder = self._embedder
        except EmbedderUnavailable as error:
            yield EmbedderMissing(str(error))
            return
        for start in range(0, len(document.passages), _BATCH):
            passages = document.passages[start : start + _BATCH]
            vectors = embedder.embed_documents([passage.text for passage in passages])
            yield Embedded(passages, [passage_id(passage) for passage in passages], vectors, embedder.fingerprint)


def passage_id(passage: Passage) -> str:
    """A passage's id: the same for the same text at the same place, and for no other within a document."""
    return f"{passage.ordinal}-{hashlib.sha256(passage.text.encode()).hexdigest()[:16]}"
