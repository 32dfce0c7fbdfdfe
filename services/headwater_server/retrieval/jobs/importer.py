"""One import job, from its claim to READY or FAILED."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace

import anyio
import structlog

from headwater_server.retrieval.catalog import Catalog, Document
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.jobs import failures
from headwater_server.retrieval.jobs.failures import Failure
from headwater_server.retrieval.jobs.locks import CorpusLocks
from headwater_server.retrieval.jobs.progress import Progress, ProgressBoard, Stage
from headwater_server.retrieval.presentation import file_name, record_of
from headwater_server.retrieval.store.protocol import CorpusUnknown, PassageRecord, Store, StoreFull
from headwater_server.retrieval.workers.errors import TaskRaised, WorkerLost, WorkerUnavailable
from headwater_server.retrieval.workers.importing import (
    ContentMissing,
    Embedded,
    EmbedderMissing,
    ImportPiece,
    ImportRequest,
    Refused,
    Split,
)
from headwater_server.retrieval.workers.pool import WorkerPool

log = structlog.get_logger("headwater.imports")

_APPLY_SECONDS = 60.0
"""After so long a wait for the index a line is logged; the wait goes on, because READY means found."""


@dataclass(slots=True)
class _Result:
    """What a worker has made of a document so far."""

    document: Document
    board: ProgressBoard
    split: Split | None = None
    passages: list[PassageRecord] = field(default_factory=list)
    failure: Failure | None = None
    embedder: str = ""
    """The fingerprint of the embedder that made the vectors."""
    embedder_missing: str = ""

    def receive(self, piece: ImportPiece) -> None:
        """Takes a piece, and tells the watchers."""
        match piece:
            case Split():
                self.split = piece
                for stage in (Stage.PARSED, Stage.SPLIT):
                    self._publish(stage)
            case Embedded():
                self._add(piece)
                done = self.split is not None and len(self.passages) == self.split.passage_count
                self._publish(Stage.EMBEDDED if done else Stage.SPLIT)
            case Refused():
                self.failure = Failure(piece.reason, piece.message)
            case ContentMissing():
                self.failure = failures.CONTENT_MISSING
            case EmbedderMissing():
                self.embedder_missing = piece.message

    def _add(self, piece: Embedded) -> None:
        self.embedder = piece.embedder
        for passage, passage_id, vector in zip(piece.passages, piece.passage_ids, piece.vectors, strict=True):
            self.passages.append(
                PassageRecord(
                    passage_id=passage_id,
                    ordinal=passage.ordinal,
                    text=passage.text,
                    heading=passage.heading,
                    location=passage.location,
                    vector=vector,
                )
            )

    def _publish(self, stage: Stage) -> None:
        count = self.split.passage_count if self.split and stage >= Stage.SPLIT else 0
        self.board.publish(self.document.key, Progress(stage, len(self.passages), count))


class Importer:
    """Does import jobs, several at a time; every write of a job is dropped where the job is outdated by then."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        store: Store,
        pool: WorkerPool,
        locks: CorpusLocks,
        board: ProgressBoard,
        config: RetrievalConfig,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._pool = pool
        self._locks = locks
        self._board = board
        self._config = config

    async def attempt(self, document: Document) -> None:
        """Works on a document that was claimed, until it is READY, FAILED, PENDING again after a crash, or outdated.

        Raises:
            WorkerUnavailable: No worker can be started, or it has no embedder.
            CatalogFull: There is no room to say how the work has ended.
            StoreFull: The store has no room even to forget an earlier content.
            StoreUnavailable: The store cannot be reached.
        """
        if document.interruptions >= self._config.max_interruptions:
            await self.fail(document, failures.interrupted(document.interruptions))
            return
        try:
            result = await self._read(document)
        except WorkerLost as error:
            await self._after_crash(document, error)
            return
        if result.failure or result.split is None:
            await self.fail(document, result.failure or failures.DEFECT)
            return
        corpus = await self._catalog.get_corpus(document.key.corpus)
        if corpus is not None and corpus.embedder != result.embedder:
            await self.fail(document, failures.OTHER_EMBEDDER)
            return
        found = replace(document, found_title=result.split.title, found_media_type=result.split.media_type)
        try:
            await self._store_passages(found, result)
        except StoreFull:
            await self.fail(document, failures.DISK_FULL)

    async def fail(self, document: Document, failure: Failure) -> None:
        """Makes a document FAILED.

        What the store had of an earlier content is deleted: a document's sources never rest on other bytes than those
        that it has.
        """
        key = document.key
        async with self._locks.hold(key.corpus):
            if await self._current(document) is None:
                return
            with suppress(CorpusUnknown):
                await self._store.delete_document(key.corpus, key.document_id)
            await self._catalog.fail_job(key, document.revision, error=failure.status_of(document))
        log.info("document failed", document=key, reason=failure.reason.value, message=failure.message)
        self._board.state_changed(key)

    async def _read(self, document: Document) -> _Result:
        self._board.publish(document.key, Progress())
        result = _Result(document, self._board)
        request = ImportRequest(
            content=self._catalog.content_path(document.content),
            name=file_name(document.uri) or document.key.document_id,
            media_type=document.media_type,
        )
        try:
            await self._pool.run(
                request,
                receive=result.receive,
                silence_seconds=self._config.silence_seconds,
                total_seconds=self._config.document_seconds,
            )
        except TaskRaised as error:
            log.warning("reader failed", document=document.key, error=error.kind, traceback=error.traceback)
            result.failure = failures.READER_FAILED
        if result.embedder_missing:
            raise WorkerUnavailable(result.embedder_missing)
        return result

    async def _after_crash(self, document: Document, error: WorkerLost) -> None:
        crashes = document.crashes + 1
        log.warning("worker lost", document=document.key, crashes=crashes, error=str(error))
        if crashes >= self._config.max_crashes:
            await self.fail(document, failures.lost_workers(error, crashes=crashes))
            return
        await self._catalog.return_job(document.key, document.revision, crashed=True)
        self._board.state_changed(document.key)

    async def _store_passages(self, found: Document, result: _Result) -> None:
        """Hands the passages to the store, waits until they are found, and makes the document READY."""
        key = found.key
        async with self._locks.hold(key.corpus):
            current = await self._current(found)
            if current is None:
                return
            record = record_of(current)
            version = await self._store.replace_document(key.corpus, record, result.passages)
        await self._wait_until_found(found, version)
        async with self._locks.hold(key.corpus):
            current = await self._current(found)
            if current is None:
                return
            if record_of(current) != record:  # changed by a caller while we waited, who did not know what was found
                await self._store.update_document(key.corpus, record_of(current))
            count = len(result.passages)
            await self._catalog.finish_job(
                key,
                found.revision,
                title=found.found_title,
                media_type=found.found_media_type,
                passage_count=count,
            )
        self._board.publish(key, Progress(Stage.STORED, count, count))
        self._board.state_changed(key)

    async def _current(self, document: Document) -> Document | None:
        """The document with what the catalog knows now and what was found in it; None where the job is outdated."""
        current = await self._catalog.get_document(document.key)
        if current is None or current.revision != document.revision:
            return None
        return replace(current, found_title=document.found_title, found_media_type=document.found_media_type)

    async def _wait_until_found(self, document: Document, version: int) -> None:
        while True:
            with anyio.move_on_after(_APPLY_SECONDS):
                await self._store.wait_applied(version)
                return
            log.warning("index lags behind", document=document.key, version=version)
