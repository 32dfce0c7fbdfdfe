"""The store: passages with their vectors, and the search over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from headwater.v1 import filter_pb2
from headwater_server.retrieval.model import Location

MetadataValue = str | int | float | bool | datetime | tuple[str, ...]
"""One typed value: str, int, float, bool, an aware datetime in UTC to the microsecond, or a tuple of str."""

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CorpusKey:
    """Which corpus. Corpora of two tenants never meet."""

    tenant: str
    corpus_id: str


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """What a store keeps of a document: all that a source shows of it, and all that a filter asks about."""

    document_id: str
    title: str
    uri: str
    media_type: str
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PassageRecord:
    """A passage with its vector, as it is stored.

    `passage_id` is stable: the same content under the same document gets the same ids, which makes writes idempotent.
    """

    passage_id: str
    ordinal: int
    text: str
    heading: str
    location: Location | None
    vector: Vector
    """Float32, of the corpus's dimension, of length 1."""
    language: str = ""
    """Whose stems and stop words lexical search uses, an ISO 639-1 code; empty: the store detects it."""


class SearchMode(StrEnum):
    """How to rank."""

    HYBRID = "hybrid"
    DENSE = "dense"
    LEXICAL = "lexical"


@dataclass(frozen=True, slots=True)
class Query:
    """A search over one or more corpora of one tenant."""

    corpora: Sequence[CorpusKey]
    """1 to 10, all of one tenant."""
    text: str
    vector: Vector | None
    """The embedded text; None with LEXICAL."""
    mode: SearchMode
    limit: int
    """How many hits at most, 1 to 1,000."""
    filter: filter_pb2.Filter | None = None
    min_score: float | None = None
    """The least cosine; None with LEXICAL."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found."""

    corpus: CorpusKey
    document: DocumentRecord
    passage_id: str
    ordinal: int
    text: str
    heading: str
    location: Location | None
    score: float
    """What it was ranked by; higher is better, comparable within one result only."""
    cosine: float | None
    """The cosine of query and passage; None with LEXICAL."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, best first."""

    hits: Sequence[Hit]
    candidates: int
    """How many passages were ranked before `limit` and `min_score`."""
    below_min_score: int
    current: bool
    """Whether the index had applied every write acknowledged before the search began."""


class Store(Protocol):
    """Passages with their vectors, by corpus and document, and the search over them.

    Acknowledgement: a write has happened once its method has returned, and then survives what the implementation's
    own docstring promises: a crash of any process and a loss of power (embedded), or the loss of a minority of nodes
    (distributed). A write that raised, or was cancelled, has happened as a whole or not at all. Each write returns a
    version; versions of one store only grow.

    Visibility: search may lag behind acknowledged writes. `wait_applied(version)` returns once a search that begins
    afterwards sees the write of that version, so far as the implementation can promise it. Deleted and replaced
    passages are never returned by a search that begins after `delete_document`, `replace_document`, `delete_corpus` or
    `replace_corpus` has returned: hits are checked against the truth before they are handed out.

    Replacing: `replace_document` puts a document and all of its passages in the place of what was there, at once: no
    search sees passages of two versions. While the index lags (`SearchResult.current` is False) a search may see
    neither; one that is current sees the new.

    Filters are applied before ranking, so that a filtered search still finds `limit` passages where there are as many.
    No hit ever contradicts the filter. The semantics stand at `headwater.v1.Filter`, and in Python in
    `store.filters.matches`: a comparison on an absent key, or of another type, is false, and `negate` inverts that too.

    Search is approximate unless the implementation says otherwise; two searches may rank ties, and near ties,
    differently.

    Ids: (tenant, corpus_id, document_id, passage_id) names a passage; writes with the same ids overwrite, never
    duplicate.

    Concurrency: all methods may be called at any time from any task of the one event loop. Writes to one document are
    applied in the order in which they were called. No method blocks the loop; all may be cancelled.

    Errors: `CorpusUnknown` for a corpus that was not created, `StoreFull` where the disk or a quota is exhausted
    (nothing was written), `StoreUnavailable` where the engine cannot be reached or is closed. `ValueError` for a vector
    of the wrong dimension or length, a passage id given twice, a metadata value that the proto cannot say, or a query
    that contradicts itself. `headwater_server.errors.InvalidRequest` for a filter that has no meaning.
    """

    async def create_corpus(self, corpus: CorpusKey, *, dimension: int, embedder: str) -> int:
        """Creates a corpus for vectors of `dimension` made by `embedder`.

        Doing it again with the same values does nothing.

        Raises:
            ValueError: The corpus exists with another dimension or embedder: a corpus never mixes them.
        """
        ...

    async def delete_corpus(self, corpus: CorpusKey) -> int:
        """Deletes a corpus with all that is in it; one that does not exist is no error."""
        ...

    async def replace_corpus(self, corpus: CorpusKey, *, by: CorpusKey) -> int:
        """Puts the content of `by`, its dimension and its embedder, in the place of `corpus`, at once.

        What `corpus` had is deleted, and `by` ceases to be. A search sees the one content or the other, never both and
        never neither. If `corpus` does not exist, `by` only changes its name.

        Raises:
            CorpusUnknown: `by` does not exist; nothing was changed.
            ValueError: The two are one, or of two tenants.
        """
        ...

    async def replace_document(
        self, corpus: CorpusKey, document: DocumentRecord, passages: Sequence[PassageRecord]
    ) -> int:
        """Stores a document and its passages in the place of any earlier ones."""
        ...

    async def update_document(self, corpus: CorpusKey, document: DocumentRecord) -> int:
        """Changes a document's title, uri, media type and metadata; its passages stay. An unknown one is no error."""
        ...

    async def delete_document(self, corpus: CorpusKey, document_id: str) -> int:
        """Deletes a document with its passages; one that does not exist is no error."""
        ...

    async def count_passages(self, corpus: CorpusKey) -> int:
        """How many passages the corpus has."""
        ...

    async def search(self, query: Query) -> SearchResult:
        """Finds the passages that fit best.

        A corpus that was not created raises `CorpusUnknown`; one that is empty has no hits.
        """
        ...

    async def wait_applied(self, version: int) -> None:
        """Returns once searches see the write of this version, and those before. The caller sets the limit of the wait.

        A corpus whose data are damaged, so that no more of it can be searched, is not waited for: it would hold up all.
        """
        ...

    async def applied_version(self) -> int:
        """The version up to which searches see every write."""
        ...


class StoreError(Exception):
    """A failure of a store."""


class CorpusUnknown(StoreError):
    """The corpus was not created, or has been deleted."""


class StoreFull(StoreError):
    """The disk, or a quota, is exhausted; nothing was written."""


class StoreUnavailable(StoreError):
    """The engine cannot be reached, or the store is closed."""
