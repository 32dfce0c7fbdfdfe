"""What a catalog keeps: plain, immutable values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from headwater_server.retrieval.store.protocol import CorpusKey


class DocumentState(IntEnum):
    """Where a document is on its way to being found; the numbers are those of `headwater.v1.DocumentState`."""

    PENDING = 1
    PROCESSING = 2
    READY = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """Which document, and whose."""

    tenant: str
    corpus_id: str
    document_id: str

    @property
    def corpus(self) -> CorpusKey:
        """The corpus that the document is in."""
        return CorpusKey(self.tenant, self.corpus_id)


@dataclass(frozen=True, slots=True)
class ContentKey:
    """Which content: tenants never share one, even if the bytes are the same."""

    tenant: str
    sha256: str
    """64 lower-case hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus as the catalog knows it."""

    key: CorpusKey
    display_name: str
    labels: Mapping[str, str]
    embedder: str
    """The fingerprint of the embedder whose vectors it holds."""
    document_count: int
    passage_count: int
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class Document:
    """A document as the catalog knows it.

    `title` and `media_type` are the caller's own words, empty if there were none; `found_title` and `found_media_type`
    are what was read in the content.
    """

    key: DocumentKey
    revision: int
    """Grows with each new content, over all documents; outdated work is known by it."""
    title: str
    found_title: str
    uri: str
    media_type: str
    found_media_type: str
    metadata: bytes
    """A serialized `headwater.v1.Document` of which only `metadata` is set."""
    size_bytes: int
    sha256: str
    state: DocumentState
    error: bytes
    """A serialized `google.rpc.Status`; empty unless FAILED."""
    passage_count: int
    crashes: int
    """How many workers this content has cost."""
    interruptions: int
    """How often the whole service has ended without a farewell while this content was worked on."""
    create_time: datetime
    update_time: datetime

    @property
    def content(self) -> ContentKey:
        """The document's content."""
        return ContentKey(self.key.tenant, self.sha256)


@dataclass(frozen=True, slots=True)
class Submission:
    """What a caller says about a document that is coming."""

    key: DocumentKey
    title: str = ""
    uri: str = ""
    media_type: str = ""
    metadata: bytes = b""


@dataclass(frozen=True, slots=True)
class RequestMark:
    """A request id of a caller's, with what it stands for."""

    request_id: str
    fingerprint: str
    """Of the request it came with: equal requests have equal ones."""
    resource: str = ""
    """The name of what the request made."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a submission."""

    document: Document
    changed: bool
    """Whether there is work to do: False where the same content was there already, and is not FAILED."""


@dataclass(frozen=True, slots=True)
class DocumentChanges:
    """What to change of a document; None leaves a field as it is."""

    title: str | None = None
    uri: str | None = None
    metadata: bytes | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What was begun and not ended when the catalog was last closed; each can be done again from its beginning."""

    deleted_corpora: Sequence[CorpusKey] = field(default_factory=tuple)
    """Out of sight already, but perhaps still in the store."""
    deleted_documents: Sequence[DocumentKey] = field(default_factory=tuple)
    """The same for single documents."""
    updated_documents: Sequence[Document] = field(default_factory=tuple)
    """Changed in the catalog, and perhaps not yet in the store."""
