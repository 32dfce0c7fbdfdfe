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
class EmbedderIdentity:
    """Which embedder has made a corpus's vectors."""

    name: str
    """`provider/model`, as callers name it."""
    fingerprint: str
    """Says which vectors may be compared."""
    dimension: int
    """How many components each has."""


@dataclass(frozen=True, slots=True)
class Splitting:
    """How a corpus's documents are split, where it has settings of its own."""

    max_characters: int = 0
    """0: the server's."""
    overlap_characters: int | None = None
    """None: the server's."""


@dataclass(frozen=True, slots=True)
class CorpusSetup:
    """How a corpus's documents become passages."""

    embedder: EmbedderIdentity
    splitting: Splitting = Splitting()
    language: str = ""
    """ISO 639-1; empty: detected in each passage."""


@dataclass(frozen=True, slots=True)
class ReembeddingProgress:
    """How far the making of a corpus's vectors anew has come."""

    embedder: str
    """The name of the embedder that the corpus will have."""
    done_documents: int
    document_count: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus as the catalog knows it."""

    key: CorpusKey
    display_name: str
    labels: Mapping[str, str]
    setup: CorpusSetup
    document_count: int
    passage_count: int
    reembedding: ReembeddingProgress | None
    """None while there is nothing to do."""
    create_time: datetime
    update_time: datetime

    @property
    def embedder(self) -> str:
        """The fingerprint of the embedder whose vectors it holds."""
        return self.setup.embedder.fingerprint


@dataclass(frozen=True, slots=True)
class CorpusChanges:
    """What to change of a corpus; None leaves a field as it is."""

    display_name: str | None = None
    labels: Mapping[str, str] | None = None
    splitting: Splitting | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Reembedding:
    """The making of a corpus's vectors anew, while it goes on."""

    corpus: CorpusKey
    shadow: CorpusKey
    """The corpus of the store that takes the new passages; no caller can name it."""
    embedder: EmbedderIdentity
    """The one that the corpus will have."""
    taking_over: bool = False
    """Whether all is done, and the store has been, or is about to be, told to put the new in the place of the old."""


class ReembeddingWork(IntEnum):
    """What a document needs for its new passages to be as they should."""

    REMAKE = 1
    """It is READY with other content than they were made of, or there are none: read it."""
    DESCRIBE = 2
    """Its title, uri or metadata were changed since."""
    REMOVE = 3
    """It is no more, or FAILED."""


@dataclass(frozen=True, slots=True)
class ReembeddingStep:
    """One document's share of the work."""

    work: ReembeddingWork
    key: DocumentKey
    document: Document | None
    """None with REMOVE."""


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
