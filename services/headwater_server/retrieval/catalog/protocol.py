"""What a catalog is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from headwater_server.retrieval.catalog.records import (
    Accepted,
    ContentKey,
    Corpus,
    CorpusChanges,
    CorpusSetup,
    Document,
    DocumentChanges,
    DocumentKey,
    EmbedderIdentity,
    Reembedding,
    ReembeddingStep,
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

    Re-embedding: a corpus's passages are made anew in another corpus of the store, its shadow, which no caller can
    name. The catalog keeps which documents are done there, and compares that with what they are now: so whatever was
    imported, changed or deleted meanwhile becomes work to do, by itself. Once there is none left, `begin_takeover`
    says so, the store puts the shadow in the corpus's place, and `finish_takeover` makes the catalog agree; a crash
    between the two is finished after the next start, before all else. One that is given up leaves its shadow to be
    deleted from the store, and then forgotten.

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
        setup: CorpusSetup,
        mark: RequestMark | None = None,
    ) -> Corpus:
        """Creates a corpus.

        Args:
            key: Its key.
            display_name: A name for people.
            labels: The caller's own.
            setup: How its documents become passages.
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
        """A corpus, or None. Counts its documents: for those who show it."""
        ...

    async def corpus_setup(self, key: CorpusKey) -> CorpusSetup | None:
        """How a corpus's documents become passages; None if there is no such corpus. Counts nothing."""
        ...

    async def list_corpora(self, tenant: str, *, after: str, limit: int) -> Sequence[Corpus]:
        """At most `limit` corpora with ids greater than `after`, by id."""
        ...

    async def update_corpus(self, key: CorpusKey, changes: CorpusChanges) -> Corpus:
        """Changes a corpus.

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

    def tenant_folder(self, tenant: str) -> Path:
        """Where the files of a tenant's documents are; it may not be there yet."""
        ...

    async def count_jobs(self, *, most: int) -> int:
        """How many jobs wait to be claimed, but no more than `most`: further ones are not counted."""
        ...

    async def claim_job(self, *, skip: Collection[CorpusKey] = ()) -> Document | None:
        """Takes the next job: of those that were tried least often the oldest. None if there is none.

        Args:
            skip: Corpora whose jobs are left alone.
        """
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

    async def begin_reembedding(self, key: CorpusKey, *, embedder: EmbedderIdentity, shadow_id: str) -> Reembedding:
        """Begins to make a corpus's passages anew, or goes on with it.

        What is under way goes on if it was begun for the same embedder, and with the corpus's settings as they are now;
        else it is given up.

        Args:
            key: The corpus.
            embedder: The one that it will have.
            shadow_id: The id of its shadow, never used before, for the case that it begins.

        Raises:
            CorpusMissing: There is no such corpus.
        """
        ...

    async def list_reembeddings(self) -> Sequence[Reembedding]:
        """All that are under way, or taking over, of all tenants."""
        ...

    async def given_up_shadows(self) -> Sequence[CorpusKey]:
        """The shadows that are to be deleted from the store."""
        ...

    async def forget_shadow(self, shadow: CorpusKey) -> None:
        """Forgets a shadow that was given up and deleted from the store."""
        ...

    async def reembedding_steps(self, reembedding: Reembedding, *, after: str, limit: int) -> Sequence[ReembeddingStep]:
        """At most `limit` documents with ids greater than `after` that are not in the shadow as they should, by id."""
        ...

    async def record_reembedded(
        self, shadow: CorpusKey, document: Document, *, passage_count: int | None, error: bytes = b""
    ) -> bool:
        """Notes that the shadow has a document as it is in this record.

        Args:
            shadow: The shadow.
            document: The document.
            passage_count: How many passages it has there; None where they are as they were and only the rest changed.
            error: A serialized `google.rpc.Status` where it could not be read anew and has none.

        Returns:
            Whether it was noted: not where the work was given up.
        """
        ...

    async def forget_reembedded(self, shadow: CorpusKey, document_id: str) -> None:
        """Notes that the shadow has nothing of a document any more."""
        ...

    async def begin_takeover(self, reembedding: Reembedding) -> bool:
        """Whether all is done, and nothing of an earlier content would go before its successor is there.

        Then it is noted that the shadow takes over; from here to `finish_takeover` nobody may write to either corpus.
        """
        ...

    async def cancel_takeover(self, shadow: CorpusKey) -> None:
        """Takes `begin_takeover` back, where the store has not put the one in the place of the other."""
        ...

    async def finish_takeover(self, reembedding: Reembedding) -> None:
        """Gives the corpus the embedder, and its documents what was recorded of them; those with an error are FAILED.

        Doing it again does nothing.
        """
        ...
