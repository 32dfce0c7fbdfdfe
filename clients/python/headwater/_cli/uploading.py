"""The import of one document: nothing is sent of what need not be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import BinaryIO

from headwater._cli.import_summary import Outcome, Result
from headwater._cli.jobs import Job
from headwater._cli.known_documents import KnownDocuments
from headwater._cli.sniffing import not_for_readers, sha256_of
from headwater._client import Client
from headwater._collecting import ImportProgress
from headwater._values import MetadataInput, to_metadata
from headwater.v1 import document_pb2


class Uploading:
    """Imports documents into a corpus, for several threads at a time."""

    def __init__(
        self, client: Client, *, corpus: str, metadata: Mapping[str, MetadataInput], known: KnownDocuments
    ) -> None:
        self._client = client
        self._corpus = corpus
        self._metadata = metadata
        self._known = known
        self._wanted = dict(document_pb2.Document(metadata=to_metadata(metadata)).metadata)

    def run(self, upload: Upload) -> Result:
        """Imports a document. It may be called again for the same upload, after an error that passes.

        Raises:
            CallError: The server refused it, or did not answer.
            ArgumentError: It is nothing that can be sent.
        """
        job = upload.job
        if job.fault:
            return Result(job, "failed", job.fault)
        try:
            with job.open() as file:
                return self._run(upload, file)
        except OSError as error:
            return Result(job, "failed", f"it cannot be read: {error.strerror}" if error.strerror else str(error))

    def _run(self, upload: Upload, file: BinaryIO) -> Result:
        job = upload.job
        reason = "" if job.named else not_for_readers(file, job.name)
        if reason:
            return Result(job, "skipped", reason)
        if job.document_id in self._known:
            passages = self._known.passages(job.document_id, sha256_of(file))
            if passages is not None:
                return Result(job, "unchanged", passages=passages)
            file.seek(0)
        document = self._client.documents.import_file(
            file,
            corpus=self._corpus,
            document_id=job.document_id,
            uri=job.uri,
            metadata=self._metadata,
            on_progress=upload.see,
        )
        outcome: Outcome = "imported" if upload.worked else "unchanged"
        if outcome == "unchanged" and self._wanted and self._wanted != dict(document.metadata):
            self._client.documents.update(document.name, metadata=self._metadata)
            outcome = "updated"
        return Result(job, outcome, passages=document.passage_count)


class Upload:
    """A document on its way, over as many tries as it takes."""

    def __init__(self, job: Job, on_progress: Callable[[ImportProgress], object]) -> None:
        self.job = job
        self.worked = False
        """Whether the server had anything to do for it: it took bytes, or had not finished with those it has."""
        self._on_progress = on_progress

    def see(self, progress: ImportProgress) -> None:
        """Takes a sign of progress. The first says how much the server has: all, where it needs nothing."""
        if progress.committed_bytes < progress.size_bytes or progress.stage not in {"uploading", "stored"}:
            self.worked = True
        self._on_progress(progress)
