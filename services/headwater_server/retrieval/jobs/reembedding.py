"""Making the passages of corpora anew, in the background, while they go on being searched as they were.

The new passages go into another corpus of the store, the shadow; which documents are done there, the catalog knows. It
compares that with what the documents are now, so whatever is imported, changed or deleted meanwhile becomes a step of
the work by itself. When there is none left, the shadow takes the corpus's place. A crash loses no more than the steps
under way: the rest goes on at the next start.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TypeVar

import anyio
import structlog
from anyio import CancelScope, Event, Semaphore
from anyio.abc import TaskGroup

from headwater_server import names
from headwater_server.errors import PreconditionFailed, ServiceError
from headwater_server.outgoing.retrying import TRANSIENT
from headwater_server.owned_tasks import owned_tasks
from headwater_server.retrieval.catalog import (
    Catalog,
    CatalogFull,
    CorpusSetup,
    Document,
    EmbedderIdentity,
    Reembedding,
    ReembeddingStep,
    ReembeddingWork,
)
from headwater_server.retrieval.embedding.errors import EmbedderFailing, EmbedderUnknown
from headwater_server.retrieval.embedding.registry import Embedders
from headwater_server.retrieval.jobs import failures
from headwater_server.retrieval.jobs.failures import Failure
from headwater_server.retrieval.jobs.locks import CorpusLocks
from headwater_server.retrieval.jobs.reading import PROVIDER_REFUSALS, DocumentReader, Reading
from headwater_server.retrieval.jobs.room import require_room, size_in_store
from headwater_server.retrieval.jobs.takeovers import Takeovers
from headwater_server.retrieval.jobs.waiting import wait_until_found
from headwater_server.retrieval.presentation import record_of
from headwater_server.retrieval.store.protocol import (
    CorpusKey,
    CorpusUnknown,
    Store,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from headwater_server.retrieval.workers.errors import WorkerLost, WorkerUnavailable

log = structlog.get_logger("headwater.reembedding")

T = TypeVar("T")

_PAUSES = (CatalogFull, EmbedderFailing, StoreFull, StoreUnavailable, WorkerUnavailable)
"""What the surroundings lack: the work waits, and goes on."""
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 60.0
_STEPS = 64
"""How many steps are fetched at once."""
_WAIT_SECONDS = 0.5
"""How long to wait for documents that are being imported, before looking again."""
_PROBE = "Is the embedder well?"


class _Outdated(Exception):
    """The work was given up, or has ended."""


class Reembedder:
    """Makes the passages of corpora anew, several corpora at a time.

    Args:
        catalog: The catalog.
        store: The store.
        reader: Reads documents.
        embedders: The embedders.
        locks: Of the corpora.
        takeovers: Told when a corpus's passages become others.
        documents: How many documents are read at a time, in all.
        max_crashes: A document that has cost so many workers is not tried again.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        store: Store,
        reader: DocumentReader,
        embedders: Embedders,
        locks: CorpusLocks,
        takeovers: Takeovers,
        documents: int,
        max_crashes: int,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._reader = reader
        self._embedders = embedders
        self._locks = locks
        self._takeovers = takeovers
        self._slots = Semaphore(documents)
        self._max_crashes = max_crashes
        self._running: dict[CorpusKey, tuple[CorpusKey, CancelScope]] = {}
        self._news = Event()

    async def begin(self, corpus: CorpusKey, embedder: EmbedderIdentity) -> None:
        """Begins to make a corpus's passages anew, or goes on with it; see `Catalog.begin_reembedding`.

        Raises:
            CorpusMissing: There is no such corpus.
            CatalogFull: There is no room to note it.
        """
        shadow_id = f"{corpus.corpus_id}!{names.new_id()}"  # no caller's corpus may have a `!` in its id
        async with self._locks.hold(corpus):
            reembedding = await self._catalog.begin_reembedding(corpus, embedder=embedder, shadow_id=shadow_id)
            running = self._running.get(corpus)
            if running is not None and running[0] != reembedding.shadow:
                running[1].cancel()
        log.info("reembedding", corpus=corpus.corpus_id, embedder=embedder.name)
        self._news.set()

    def withdraw(self, corpus: CorpusKey) -> None:
        """Stops the work on a corpus that was deleted; called within its lock. Its shadow is deleted soon."""
        if corpus in self._running:
            self._running[corpus][1].cancel()
        self._news.set()

    async def sweep(self) -> None:
        """Deletes the shadows that were given up from the store."""
        for shadow in await self._catalog.given_up_shadows():
            await self._store.delete_corpus(shadow)
            await self._catalog.forget_shadow(shadow)

    async def finish_takeovers(self) -> None:
        """Finishes what a crash has cut in two; called once, before all else."""
        for reembedding in await self._catalog.list_reembeddings():
            if reembedding.taking_over:
                with suppress(CorpusUnknown):  # then the store has done it
                    await self._store.replace_corpus(reembedding.corpus, by=reembedding.shadow)
                await self._catalog.finish_takeover(reembedding)
        await self.sweep()

    async def serve(self) -> None:
        """Works until it is cancelled."""
        async with owned_tasks(cancel=True) as tasks:
            while True:
                self._news = Event()
                await _until_done(lambda: self._start_new(tasks))
                await self._news.wait()

    async def _start_new(self, tasks: TaskGroup) -> None:
        await self.sweep()
        for reembedding in await self._catalog.list_reembeddings():
            if reembedding.corpus not in self._running:
                self._running[reembedding.corpus] = (reembedding.shadow, CancelScope())
                tasks.start_soon(self._run, reembedding)

    async def _run(self, reembedding: Reembedding) -> None:
        scope = self._running[reembedding.corpus][1]
        try:
            with scope:
                await _until_done(lambda: self._make(reembedding), corpus=reembedding.corpus.corpus_id)
        finally:
            del self._running[reembedding.corpus]
            self._news.set()  # another may have begun for the corpus, and shadows may be left

    async def _make(self, reembedding: Reembedding) -> None:
        """Does all steps there are, again and again, until the shadow has taken over or the work was given up."""
        try:
            await self._open_shadow(reembedding)
            version = 0
            while True:
                done, version = await self._pass(reembedding, version)
                if done:
                    continue
                # So that the corpus is found at once when the shadow takes over.
                await wait_until_found(self._store, self._catalog, version, corpus=reembedding.shadow)
                if await self._take_over(reembedding):
                    log.info("reembedded", corpus=reembedding.corpus.corpus_id, embedder=reembedding.embedder.name)
                    return
                await self._check_current(reembedding)
                await anyio.sleep(_WAIT_SECONDS)
        except _Outdated:
            return

    async def _open_shadow(self, reembedding: Reembedding) -> None:
        embedder = reembedding.embedder
        async with self._of_current(reembedding):
            await self._store.create_corpus(
                reembedding.shadow, dimension=embedder.dimension, embedder=embedder.fingerprint
            )

    async def _pass(self, reembedding: Reembedding, version: int) -> tuple[int, int]:
        """Goes once through all documents; returns how many steps were done, and the store's last version."""
        after, done = "", 0
        while steps := await self._catalog.reembedding_steps(reembedding, after=after, limit=_STEPS):
            versions = await self._do(reembedding, steps)
            done += len(versions)
            version = max([version, *versions])
            after = steps[-1].key.document_id
        return done, version

    async def _do(self, reembedding: Reembedding, steps: Sequence[ReembeddingStep]) -> Sequence[int]:
        """Does steps, several at a time; returns the store's versions of those that were done."""
        versions: list[int] = []
        problems: list[Exception] = []
        async with anyio.create_task_group() as tasks:

            async def work(step: ReembeddingStep) -> None:
                try:
                    async with self._slots:
                        if (version := await self._step(reembedding, step)) is not None:
                            versions.append(version)
                except Exception as error:  # raised below, and not as a group
                    problems.append(error)
                    tasks.cancel_scope.cancel()

            for step in steps:
                tasks.start_soon(work, step)
        if problems:
            raise problems[0]
        return versions

    async def _step(self, reembedding: Reembedding, step: ReembeddingStep) -> int | None:
        """Does one step; None where it is outdated by now, and a later pass finds what there is to do."""
        shadow, key = reembedding.shadow, step.key
        if step.document is None:
            async with self._of_current(reembedding):
                version = await self._store.delete_document(shadow, key.document_id)
                await self._catalog.forget_reembedded(shadow, key.document_id)
                return version
        if step.work is ReembeddingWork.DESCRIBE:
            async with self._of_current(reembedding):
                current = await self._catalog.get_document(key)
                if current is None or current.revision != step.document.revision:
                    return None
                version = await self._store.update_document(shadow, record_of(current))
                return version if await self._catalog.record_reembedded(shadow, current, passage_count=None) else None
        return await self._remake(reembedding, step.document)

    async def _remake(self, reembedding: Reembedding, document: Document) -> int | None:
        """Reads a document and puts its new passages into the shadow.

        Raises:
            StoreFull: There is too little room for them.
        """
        corpus, shadow = reembedding.corpus, reembedding.shadow
        await require_room(self._catalog, shadow.tenant)  # before any embedder is paid, as it is tried again
        setup = await self._catalog.corpus_setup(corpus)
        if setup is None:
            raise _Outdated
        reading = await self._read(document, replace(setup, embedder=reembedding.embedder))
        if reading.failure is not None:
            await self._check_embedder(reembedding, reading.failure)
        async with self._of_current(reembedding):
            current = await self._catalog.get_document(document.key)
            if current is None or current.revision != document.revision:
                return None
            if reading.failure is not None:
                log.info("document cannot be made anew", document=document.key, message=reading.failure.message)
                version = await self._store.delete_document(shadow, document.key.document_id)
                error, count = reading.failure.status_of(document), 0
            else:
                passages = reading.records(language=setup.language)
                await require_room(self._catalog, shadow.tenant, size_bytes=size_in_store(passages))
                version = await self._store.replace_document(shadow, record_of(current), passages)
                error, count = b"", len(passages)
            await self._catalog.record_reembedded(shadow, current, passage_count=count, error=error)
            return version

    async def _read(self, document: Document, setup: CorpusSetup) -> Reading:
        """Reads a document; one that costs its workers has a failure, as at its import."""
        for crashes in range(1, self._max_crashes + 1):
            try:
                return await self._reader.read(document, setup)
            except WorkerLost as error:
                log.warning("worker lost", document=document.key, crashes=crashes, error=str(error))
                failure = failures.lost_workers(error, crashes=crashes)
        return Reading(lambda _: None, failure=failure)

    async def _check_embedder(self, reembedding: Reembedding, failure: Failure) -> None:
        """Sees to it that a document is not blamed for an embedder that refuses everything.

        Raises:
            EmbedderFailing: The embedder refuses everything, or this server has it no more.
        """
        try:
            embedder = self._embedders.get(reembedding.embedder.name, dimension=reembedding.embedder.dimension)
            if await embedder.fingerprint() != reembedding.embedder.fingerprint:
                raise EmbedderFailing(f"the settings of {embedder.name} have changed since it began")
            if failure.reason in PROVIDER_REFUSALS:
                await embedder.embed_documents([_PROBE])
        except ServiceError as error:
            kind = "cannot be reached" if error.reason in TRANSIENT else "refuses every text"
            raise EmbedderFailing(f"{reembedding.embedder.name} {kind}: {error.message}") from error
        except (EmbedderUnknown, PreconditionFailed) as error:
            raise EmbedderFailing(str(error)) from error

    async def _take_over(self, reembedding: Reembedding) -> bool:
        """Puts the shadow in the corpus's place, if all is done."""
        corpus, shadow = reembedding.corpus, reembedding.shadow
        async with self._locks.hold(corpus):
            if not await self._catalog.begin_takeover(reembedding):
                return False
            with self._takeovers.under_way(corpus):
                try:
                    await self._store.replace_corpus(corpus, by=shadow)
                except StoreError:
                    if await _until_done(lambda: self._is_there(shadow)):
                        await _until_done(lambda: self._catalog.cancel_takeover(shadow))
                        raise
                await _until_done(lambda: self._catalog.finish_takeover(reembedding))
        return True

    async def _is_there(self, shadow: CorpusKey) -> bool:
        try:
            await self._store.count_passages(shadow)
        except CorpusUnknown:
            return False
        return True

    @asynccontextmanager
    async def _of_current(self, reembedding: Reembedding) -> AsyncGenerator[None]:
        """The corpus's lock, held while the work is what the catalog wants.

        Raises:
            _Outdated: It is not.
        """
        async with self._locks.hold(reembedding.corpus):
            await self._check_current(reembedding)
            yield

    async def _check_current(self, reembedding: Reembedding) -> None:
        if not any(each.shadow == reembedding.shadow for each in await self._catalog.list_reembeddings()):
            raise _Outdated


async def _until_done(work: Callable[[], Awaitable[T]], **known: str) -> T:
    """Does work, again after a while where the surroundings lack something, until it is done."""
    delay = _FIRST_DELAY
    while True:
        try:
            return await work()
        except _PAUSES as error:
            log.warning("reembedding delayed", error=str(error), retry_seconds=delay, **known)
        except Exception:
            log.exception("reembedding failed", retry_seconds=delay, **known)
        await anyio.sleep(delay)
        delay = min(2 * delay, _LONGEST_DELAY)
