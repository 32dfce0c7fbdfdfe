"""Verifies the server streams that are read as one: each has a last message that it must have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from headwater._exceptions import DataLoss, ProtocolError
from headwater._retrieval import RetrievalResult
from headwater._status import from_status
from headwater.v1 import document_pb2, retrieval_service_pb2, source_pb2

Stage = Literal["uploading", "received", "parsed", "split", "embedded", "stored"]
"""How far a document has come: its bytes are on the way, are durable, were read, split, embedded, and can be found."""

_STAGES: dict[int, Stage] = {
    document_pb2.DOCUMENT_STAGE_RECEIVED: "received",
    document_pb2.DOCUMENT_STAGE_PARSED: "parsed",
    document_pb2.DOCUMENT_STAGE_SPLIT: "split",
    document_pb2.DOCUMENT_STAGE_EMBEDDED: "embedded",
    document_pb2.DOCUMENT_STAGE_STORED: "stored",
}


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far the import of a document has come."""

    stage: Stage
    """The stage that was reached last."""
    committed_bytes: int
    """How many bytes of the content the server has taken."""
    size_bytes: int
    """How many there are. 0 where the client does not upload them."""
    embedded_passages: int
    """How many passages have been embedded."""
    passage_count: int
    """How many passages there are. 0 until the document is split."""


def report(progress: ImportProgress | None, on_progress: Callable[[ImportProgress], object] | None) -> None:
    """Calls the callback, if there is one and something to tell."""
    if progress is not None and on_progress is not None:
        on_progress(progress)


class ImportCheck:
    """The messages that come back from an upload, or from watching a document.

    Attributes:
        committed: How many bytes the server has taken. None until it has said so.
        document: The document, READY or FAILED. None until it has come.
    """

    def __init__(self, size_bytes: int) -> None:
        self.committed: int | None = None
        self.document: document_pb2.Document | None = None
        self._size = size_bytes
        self._work = document_pb2.DocumentProgress()

    def accept(
        self, response: retrieval_service_pb2.ImportDocumentResponse | retrieval_service_pb2.WatchDocumentResponse
    ) -> ImportProgress | None:
        """Takes the next message, and returns how far things have come, if it says so.

        Raises:
            ProtocolError: The message must not come there.
        """
        if self.document is not None:
            raise ProtocolError("the server broke the protocol: a message came after the document")
        if isinstance(response, retrieval_service_pb2.ImportDocumentResponse) and response.HasField("committed_bytes"):
            return self._commit(response.committed_bytes)
        if response.HasField("progress"):
            self._work = response.progress
            return self._progress()
        if response.HasField("document"):
            self.document = response.document
        return None

    def finish(self) -> document_pb2.Document:
        """Takes the end of the stream, and returns the document if it is READY.

        Raises:
            DataLoss: The stream ended without the document.
            DocumentError: The document is FAILED, or another `CallError` if the failure was not its own.
        """
        if self.document is None:
            raise DataLoss("the stream ended without the document: ask for its state with documents.get")
        if self.document.state == document_pb2.DOCUMENT_STATE_FAILED:
            raise from_status(self.document.error, resource=self.document.name)
        return self.document

    def _commit(self, committed: int) -> ImportProgress:
        if not (self.committed or 0) <= committed <= self._size:
            raise ProtocolError(
                f"the server broke the protocol: it took {committed} of {self._size} bytes, after {self.committed or 0}"
            )
        self.committed = committed
        return self._progress()

    def _progress(self) -> ImportProgress:
        return ImportProgress(
            stage=_STAGES.get(self._work.stage, "uploading"),
            committed_bytes=self.committed or 0,
            size_bytes=self._size,
            embedded_passages=self._work.embedded_passages,
            passage_count=self._work.passage_count,
        )


class DownloadCheck:
    """The messages of a download.

    Attributes:
        document: The document. None until it has come.
    """

    def __init__(self) -> None:
        self.document: document_pb2.Document | None = None
        self._complete = False
        self._size = 0
        self._sha256 = hashlib.sha256()

    def accept(self, response: retrieval_service_pb2.DownloadDocumentResponse) -> bytes:
        """Takes the next message, and returns the bytes in it, if any.

        Raises:
            ProtocolError: The message must not come there, or the bytes are not those that were sent.
        """
        if self._complete or (self.document is None) != response.HasField("document"):
            raise ProtocolError("the server broke the protocol: a message of the download came out of order")
        if response.HasField("document"):
            self.document = response.document
        elif response.HasField("data"):
            self._size += len(response.data)
            self._sha256.update(response.data)
            return response.data
        elif response.HasField("complete"):
            self._complete = True
            if (response.complete.size_bytes, response.complete.sha256) != (self._size, self._sha256.hexdigest()):
                raise ProtocolError("the server broke the protocol: the bytes are not those that it says it sent")
        return b""

    def finish(self) -> document_pb2.Document:
        """Takes the end of the stream, and returns the document.

        Raises:
            DataLoss: The stream ended before the content was whole.
        """
        if self.document is None or not self._complete:
            raise DataLoss(f"the download ended after {self._size} bytes, before the content was whole")
        return self.document


class RetrievalCheck:
    """The batches of a search."""

    def __init__(self) -> None:
        self._sources: list[source_pb2.Source] = []
        self._statistics: source_pb2.RetrievalStatistics | None = None

    def accept(self, response: retrieval_service_pb2.RetrieveResponse) -> None:
        """Takes the next batch.

        Raises:
            ProtocolError: It comes after the one that was marked as the last.
        """
        if self._statistics is not None:
            raise ProtocolError(
                "the server broke the protocol: sources came after the batch that was marked as the last"
            )
        self._sources.extend(response.sources)
        if response.HasField("statistics"):
            self._statistics = response.statistics

    def finish(self) -> RetrievalResult:
        """Takes the end of the stream, and returns what was found.

        Raises:
            DataLoss: The stream ended without the batch that is marked as the last.
        """
        if self._statistics is None:
            raise DataLoss(f"the search ended after {len(self._sources)} sources, without its last batch")
        return RetrievalResult(self._sources, self._statistics)
