"""What a catalog is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from headwater_server.retrieval.catalog.records import (
    Accepted,
    ContentKey,
    Corpus,
    Document,
    DocumentChanges,
    DocumentKey,
    RequestMark,
    Submission,
    Unfinished,
)
from headwater_server.retrieval.store.protocol import CorpusKey


class StagedContent(Protocol):
    """Bytes on their way into a catalog; nothing of them is kept until `Catalog.accept_document` has returned.

    Used by one task at a time. `discard` must be called when done, whatever happened, and is harmless after acceptance.
    """

    @property
    def size_bytes(self) -> int:
        """How many bytes there are so far."""
        ...

    @property
    def sha256(self) -> str:
        """Their SHA-256, 64 lower-case hexadecimal digits."""
        ...

    async def write(self, data: bytes) -> None:
        """Appends bytes.

        Raises:
            CatalogFull: There is no room for them.
        """
        ...

    async def discard(self) -> None:
        """Removes what was written, unless it was accepted."""
        ...


class Catalog(Protocol):
    """Corpora, documents, the documents' bytes, request ids, and the table of jobs, which is the documents' states.

    Acknowledgement: a write has happened once its method has returned, and then survives a crash of the process and a
    loss of power. A method that raised has changed nothing. One that was cancelled has happened as a whole or not at
    all.

    Tenants: every key names its tenant, and nothing of another tenant is ever seen or changed.

    Deleting has two steps, because the store is another database: `begin_delete_…` puts the resource out of sight of
    every other method, but keeps the name taken; after the store has been cleaned, `finish_delete_…` removes it with
    all that is only its own, contents included. Between the two a crash may happen: `recover` names what is left to
    finish.

    Jobs: a document PENDING is a job to do. `claim_job` hands out each at most once (PROCESSING) until it is ended by
    `finish_job` or `fail_job`, given back by `return_job`, or found by `recover`. They take the revision that was
    claimed and do nothing, returning False, where the document has got other content, or has been deleted, since.

    Concurrency: all methods may be called at any time from any task of the one event loop, and none blocks it.

    Errors: see `catalog.errors`; `CatalogFull` may come out of every write.
    """

    @property
    def token_key(self) -> bytes:
        """A secret of this catalog's, 32 bytes, for signing page tokens; it stays the same."""
        ...

    async def recover(self) -> Unfinished:
        """Turns jobs that were under way back to PENDING, counting an interruption; called once, before all else."""
        ...

    async def create_corpus(
        self,
        key: CorpusKey,
        *,
        display_name: str,
        labels: Mapping[str, str],
        embedder: str,
        mark: RequestMark | None = None,
    ) -> Corpus:
        """Creates a corpus.

        Args:
            key: Its key.
            display_name: A name for people.
            labels: The caller's own.
            embedder: The fingerprint of the embedder.
            mark: Recorded with the corpus. If it was recorded before with the same fingerprint, nothing is created and
                the corpus that it names is returned.

        Raises:
            CorpusExists: The id is taken.
            BeingDeleted: It is taken by a corpus whose deletion was begun and not finished.
            CorpusMissing: The corpus that `mark` names was deleted.
            RequestIdReused: `mark` was recorded with another fingerprint.
        """
        ...

    async def get_corpus(self, key: CorpusKey) -> Corpus | None:
        """A corpus, or None."""
        ...

    async def list_corpora(self, tenant: str, *, after: str, limit: int) -> Sequence[Corpus]:
        """At most `limit` corpora with ids greater than `after`, by id."""
        ...

    async def update_corpus(
        self, key: CorpusKey, *, display_name: str | None, labels: Mapping[str, str] | None
    ) -> Corpus:
        """Changes what is not None.

        Raises:
            CorpusMissing: There is none.
        """
        ...

    async def begin_delete_corpus(self, key: CorpusKey, *, force: bool) -> None:
        """Puts a corpus out of sight, with its documents; doing it again before it is finished is no error.

        Raises:
            CorpusMissing: There is none.
            CorpusNotEmpty: It has documents, and `force` is not set.
        """
        ...

    async def finish_delete_corpus(self, key: CorpusKey) -> None:
        """Removes a corpus that is out of sight; one that is not there is no error."""
        ...

    async def stage_content(self) -> StagedContent:
        """A place for content that is coming."""
        ...

    async def accept_document(
        self,
        submission: Submission,
        content: StagedContent,
        *,
        replace: bool,
        mark: RequestMark | None = None,
    ) -> Accepted:
        """Makes a document and its content durable, PENDING.

        The same content under the same id changes nothing, unless the document is FAILED: then it becomes PENDING
        again, with the submission's fields. Other content takes the place of the old.

        Args:
            submission: Which document, and what is said of it.
            content: Its bytes, of this catalog's `stage_content`.
            replace: Whether other content may take the place of what is there.
            mark: Recorded with the document. If it was recorded before with the same fingerprint and for a document
                with this content, nothing is changed.

        Raises:
            CorpusMissing: There is no such corpus.
            DocumentMissing: The document that `mark` names was deleted.
            BeingDeleted: A deletion of the document was begun and not finished.
            OtherContent: The id is taken by other content, and `replace` is not set.
            RequestIdReused: `mark` was recorded with another fingerprint.
            CatalogFull: There is no room.
        """
        ...

    async def find_request(self, tenant: str, request_id: str) -> RequestMark | None:
        """What a request id was recorded with, during the last hour at least; None if it was not."""
        ...

    async def get_document(self, key: DocumentKey) -> Document | None:
        """A document, or None."""
        ...

    async def list_documents(
        self, corpus: CorpusKey, *, after: str, limit: int, max_bytes: int
    ) -> tuple[Sequence[Document], bool]:
        """Documents with ids greater than `after`, by id, and whether there are more.

        At most `limit`, and only so many that their texts and metadata have `max_bytes` in all, but at least one.

        Raises:
            CorpusMissing: There is no such corpus.
        """
        ...

    async def update_document(self, key: DocumentKey, changes: DocumentChanges) -> Document:
        """Changes a document; `recover` names it until `mark_stored` was called.

        Raises:
            DocumentMissing: There is none.
        """
        ...

    async def mark_stored(self, document: Document) -> None:
        """Notes that the store knows the document as it is in this record, unless it was changed again since."""
        ...

    async def begin_delete_document(self, key: DocumentKey) -> None:
        """Puts a document out of sight; doing it again before it is finished is no error.

        Raises:
            DocumentMissing: There is none.
        """
        ...

    async def finish_delete_document(self, key: DocumentKey) -> None:
        """Removes a document that is out of sight; one that is not there is no error."""
        ...

    def content_path(self, content: ContentKey) -> Path:
        """The file with a document's bytes; there as long as a document refers to it. Open files stay readable."""
        ...

    async def claim_job(self) -> Document | None:
        """Takes the next job: of those that were tried least often the oldest. None if there is none."""
        ...

    async def finish_job(
        self, key: DocumentKey, revision: int, *, title: str, media_type: str, passage_count: int
    ) -> bool:
        """Makes a document READY, with what was found in it."""
        ...

    async def fail_job(self, key: DocumentKey, revision: int, *, error: bytes) -> bool:
        """Makes a document FAILED, for the reason in `error`, a serialized `google.rpc.Status`."""
        ...

    async def return_job(self, key: DocumentKey, revision: int, *, crashed: bool) -> Document | None:
        """Makes a document PENDING again.

        Args:
            key: Which document.
            revision: The revision that was claimed.
            crashed: Whether to count a crash.

        Returns:
            The document as it is now, or None where the job is outdated.
        """
        ...
