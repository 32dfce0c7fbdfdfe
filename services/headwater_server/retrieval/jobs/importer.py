"""One import job, from its claim to READY or FAILED."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog

from headwater_server.retrieval.catalog import Catalog, CorpusSetup, Document
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.jobs import failures
from headwater_server.retrieval.jobs.failures import Failure
from headwater_server.retrieval.jobs.locks import CorpusLocks
from headwater_server.retrieval.jobs.progress import Progress, ProgressBoard, Stage
from headwater_server.retrieval.jobs.reading import DocumentReader, Reading
from headwater_server.retrieval.jobs.room import require_room, size_in_store
from headwater_server.retrieval.jobs.takeovers import Takeovers
from headwater_server.retrieval.jobs.waiting import wait_until_found
from headwater_server.retrieval.presentation import record_of
from headwater_server.retrieval.store.protocol import CorpusUnknown, PassageRecord, Store, StoreFull
from headwater_server.retrieval.workers.errors import WorkerLost

log = structlog.get_logger("headwater.imports")


class Importer:
    """Does import jobs, several at a time; every write of a job is dropped where the job is outdated by then."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        store: Store,
        reader: DocumentReader,
        locks: CorpusLocks,
        takeovers: Takeovers,
        board: ProgressBoard,
        config: RetrievalConfig,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._reader = reader
        self._takeovers = takeovers
        self._locks = locks
        self._board = board
        self._config = config

    async def attempt(self, document: Document) -> None:
        """Works on a document that was claimed, until it is READY, FAILED, PENDING again after a crash, or outdated.

        Raises:
            WorkerUnavailable: No worker can be started, or it has no embedder.
            EmbedderFailing: The embedder's server does not do its work now.
            CatalogFull: There is no room to say how the work has ended.
            StoreFull: The store has no room even to forget an earlier content.
            StoreUnavailable: The store cannot be reached.
        """
        if document.interruptions >= self._config.max_interruptions:
            await self.fail(document, failures.interrupted(document.interruptions))
            return
        setup = await self._catalog.corpus_setup(document.key.corpus)
        if setup is None or await self._current(document) is None:  # deleted or replaced since it was claimed
            return
        try:
            reading = await self._read(document, setup)
        except WorkerLost as error:
            await self._after_crash(document, error)
            return
        if reading.failure or reading.split is None:
            await self.fail(document, reading.failure or failures.DEFECT)
            return
        found = replace(document, found_title=reading.split.title, found_media_type=reading.split.media_type)
        try:
            await self._store_passages(found, setup, reading.records(language=setup.language))
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

    async def _read(self, document: Document, setup: CorpusSetup) -> Reading:
        key = document.key
        self._board.publish(key, Progress())
        return await self._reader.read(document, setup, publish=partial(self._board.publish, key))

    async def _after_crash(self, document: Document, error: WorkerLost) -> None:
        crashes = document.crashes + 1
        log.warning("worker lost", document=document.key, crashes=crashes, error=str(error))
        if crashes >= self._config.max_crashes:
            await self.fail(document, failures.lost_workers(error, crashes=crashes))
            return
        await self._catalog.return_job(document.key, document.revision, crashed=True)
        self._board.state_changed(document.key)

    async def _store_passages(self, found: Document, setup: CorpusSetup, passages: Sequence[PassageRecord]) -> None:
        """Hands the passages to the store, waits until they are found, and makes the document READY.

        Where the corpus's passages were replaced by others meanwhile, made anew with another embedder or other
        settings, the job is done again.

        Raises:
            StoreFull: There is no room for them, or the index cannot follow for lack of it.
        """
        key = found.key
        async with self._locks.hold(key.corpus):
            current = await self._current(found)
            if current is None:
                return
            if await self._catalog.corpus_setup(key.corpus) != setup:
                await self._again(found)
                return
            await require_room(self._catalog, key.tenant, size_bytes=size_in_store(passages))
            mark = await self._takeovers.settled([key.corpus])
            record = record_of(current)
            version = await self._store.replace_document(key.corpus, record, passages)
        await wait_until_found(self._store, self._catalog, version, corpus=key.corpus)  # READY means found
        async with self._locks.hold(key.corpus):
            current = await self._current(found)
            if current is None:
                return
            if self._takeovers.changed_since(mark):
                await self._again(found)
                return
            if record_of(current) != record:  # changed by a caller while we waited, who did not know what was found
                await self._store.update_document(key.corpus, record_of(current))
            count = len(passages)
            await self._catalog.finish_job(
                key,
                found.revision,
                title=found.found_title,
                media_type=found.found_media_type,
                passage_count=count,
            )
        self._board.publish(key, Progress(Stage.STORED, count, count))
        self._board.state_changed(key)

    async def _again(self, document: Document) -> None:
        await self._catalog.return_job(document.key, document.revision, crashed=False)
        self._board.state_changed(document.key)

    async def _current(self, document: Document) -> Document | None:
        """The document with what the catalog knows now and what was found in it; None where the job is outdated."""
        current = await self._catalog.get_document(document.key)
        if current is None or current.revision != document.revision:
            return None
        return replace(current, found_title=document.found_title, found_media_type=document.found_media_type)
