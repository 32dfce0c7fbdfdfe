"""Takes jobs from the catalog and sees to it that each is done."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import structlog
from anyio import CancelScope, Event, Semaphore, get_cancelled_exc_class

from headwater_server.retrieval.catalog import Catalog, CatalogFull, Document, DocumentKey
from headwater_server.retrieval.embedding.errors import EmbedderFailing
from headwater_server.retrieval.jobs import failures
from headwater_server.retrieval.jobs.importer import Importer
from headwater_server.retrieval.jobs.pauses import Pauses
from headwater_server.retrieval.jobs.progress import ProgressBoard
from headwater_server.retrieval.store.protocol import StoreFull, StoreUnavailable
from headwater_server.retrieval.workers.errors import WorkerUnavailable

log = structlog.get_logger("headwater.imports")

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 60.0
_GIVE_BACK_SECONDS = 10.0


class ImportRunner:
    """Runs import jobs: at most `jobs` at a time, those first that were tried least often, then the oldest.

    Owned by the service: a job goes on when the caller that brought it has gone. What the surroundings lack (room, a
    store, a process) delays a job; what the document lacks ends it. While the server of a corpus's embedder fails, the
    jobs of that corpus wait, and those of others go on.
    """

    def __init__(self, *, catalog: Catalog, importer: Importer, board: ProgressBoard, jobs: int) -> None:
        self._catalog = catalog
        self._importer = importer
        self._board = board
        self._slots = Semaphore(jobs)
        self._news = Event()
        self._running: dict[DocumentKey, CancelScope] = {}
        self._pauses = Pauses(first=_FIRST_DELAY, longest=_LONGEST_DELAY)

    def wake(self) -> None:
        """There is a new job in the catalog."""
        self._news.set()

    def withdraw(self, concerns: Callable[[DocumentKey], bool]) -> None:
        """Stops the jobs of documents that were deleted, or got other content: their results would be dropped."""
        for key, scope in self._running.items():
            if concerns(key):
                scope.cancel()

    async def serve(self) -> None:
        """Works until it is cancelled; then jobs under way become PENDING again."""
        async with anyio.create_task_group() as tasks:
            while True:
                await self._slots.acquire()
                document = await self._next_job()
                tasks.start_soon(self._run, document)

    async def _next_job(self) -> Document:
        delay = _FIRST_DELAY
        while True:
            self._news = Event()
            try:
                document = await self._catalog.claim_job(skip=self._pauses.paused())
            except Exception:
                log.exception("no job can be claimed", retry_seconds=delay)
                await anyio.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
                continue
            if document is not None:
                return document
            with anyio.move_on_after(self._pauses.seconds()):
                await self._news.wait()

    async def _run(self, document: Document) -> None:
        scope = CancelScope()
        self._running[document.key] = scope
        try:
            with scope:
                await self._work(document)
        finally:
            if self._running.get(document.key) is scope:
                del self._running[document.key]
            self._slots.release()
            self.wake()  # a crash may have made it PENDING again

    async def _work(self, document: Document) -> None:
        try:
            delay = _FIRST_DELAY
            while not await self._attempt(document, retry_seconds=delay):
                await anyio.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
        except get_cancelled_exc_class():
            await self._give_back(document)
            raise

    async def _attempt(self, document: Document, *, retry_seconds: float) -> bool:
        """Does the job; False where it must be done again, because something is lacking that is not the document's."""
        self._board.state_changed(document.key)
        try:
            try:
                await self._importer.attempt(document)
                self._pauses.end(document.key.corpus)
            except EmbedderFailing as error:
                # Other corpora have other embedders: their documents must not wait for this one's.
                seconds = self._pauses.begin(document.key.corpus)
                log.warning("import delayed", document=document.key, error=str(error), retry_seconds=seconds)
                # Until it is done: a document that stays PROCESSING has nobody who works on it.
                await self._catalog.return_job(document.key, document.revision, crashed=False)
                self._board.state_changed(document.key)
            except (CatalogFull, StoreFull, StoreUnavailable, WorkerUnavailable) as error:
                log.warning("import delayed", document=document.key, error=str(error), retry_seconds=retry_seconds)
                return False
            except Exception:
                log.exception("import failed", document=document.key)
                await self._importer.fail(document, failures.DEFECT)
        except Exception:
            log.exception("import cannot be ended", document=document.key, retry_seconds=retry_seconds)
            return False
        return True

    async def _give_back(self, document: Document) -> None:
        """Makes the document of a job that was stopped PENDING again.

        Raises nothing: it would end all other jobs, and with them the service.
        """
        with CancelScope(shield=True), anyio.move_on_after(_GIVE_BACK_SECONDS):
            try:
                await self._catalog.return_job(document.key, document.revision, crashed=False)
            except CatalogFull:
                log.warning("job stays claimed until the next start: the disk is full", document=document.key)
            except Exception:
                log.exception("job stays claimed until the next start", document=document.key)
