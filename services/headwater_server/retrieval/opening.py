"""Opening and closing the retrieval service."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import structlog

from headwater_server.owned_tasks import owned_tasks
from headwater_server.retrieval.calls.paging import PageTokens
from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.catalog import Catalog, SqliteCatalog
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.embedding import Embedder, MiniLmEmbedder
from headwater_server.retrieval.jobs.importer import Importer
from headwater_server.retrieval.jobs.locks import CorpusLocks
from headwater_server.retrieval.jobs.progress import ProgressBoard
from headwater_server.retrieval.jobs.runner import ImportRunner
from headwater_server.retrieval.operations import Operations
from headwater_server.retrieval.presentation import record_of
from headwater_server.retrieval.query_embedding import QueryEmbedder
from headwater_server.retrieval.service import RetrievalCore
from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.protocol import Store
from headwater_server.retrieval.workers.importing import ImportTask
from headwater_server.retrieval.workers.pool import WorkerPool

log = structlog.get_logger("headwater.retrieval")

OpenStore = Callable[[Path], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def open_retrieval(
    data_dir: Path,
    config: RetrievalConfig | None = None,
    *,
    make_embedder: Callable[[], Embedder] = MiniLmEmbedder,
    open_store: OpenStore = EmbeddedStore.open,
) -> AsyncGenerator[RetrievalCore]:
    """Opens the retrieval service in a folder that belongs to this process alone, and closes it when left.

    What was begun when it was last closed, or killed, is finished first. Workers start with the first document. When it
    is left, imports under way stop, and go on at the next opening.

    Args:
        data_dir: The folder: `catalog.sqlite`, `contents/` and `uploads/` by the catalog, `store/` by the store.
        config: The settings; the defaults of `RetrievalConfig` if not given.
        make_embedder: Makes the embedder, here and in each worker; picklable.
        open_store: Opens the store in a folder.

    Raises:
        CatalogNewerError: The folder was written by a newer version of this program.
        StoreError: The store cannot be opened, or not be brought to what the catalog knows.
    """
    config = config or RetrievalConfig()
    task = ImportTask(make_embedder, limits=config.effective_parse_limits, split=config.split)
    async with (
        SqliteCatalog.open(data_dir) as catalog,
        open_store(data_dir / "store") as store,
        WorkerPool.open(
            task, size=config.workers, limits=config.worker_limits, idle_seconds=config.worker_idle_seconds
        ) as pool,
        owned_tasks(cancel=True) as background,
        Operations.open() as operations,
    ):
        await _finish_what_was_begun(catalog, store)
        locks, board, embedder = CorpusLocks(), ProgressBoard(), QueryEmbedder(make_embedder)
        importer = Importer(catalog=catalog, store=store, pool=pool, locks=locks, board=board, config=config)
        # One more than there are workers: while a document is stored, the next is read.
        runner = ImportRunner(catalog=catalog, importer=importer, board=board, jobs=config.workers + 1)
        parts = Parts(
            catalog=catalog,
            store=store,
            runner=runner,
            board=board,
            locks=locks,
            operations=operations,
            embedder=embedder,
            tokens=PageTokens(catalog.token_key),
            config=config,
        )
        background.start_soon(embedder.preload)
        background.start_soon(runner.serve)
        yield RetrievalCore(parts)


async def _finish_what_was_begun(catalog: Catalog, store: Store) -> None:
    """Brings the store to what the catalog knows: deletions and changes that a crash has cut in two."""
    unfinished = await catalog.recover()
    for corpus in unfinished.deleted_corpora:
        await store.delete_corpus(corpus)
        await catalog.finish_delete_corpus(corpus)
    for key in unfinished.deleted_documents:
        await store.delete_document(key.corpus, key.document_id)
        await catalog.finish_delete_document(key)
    for document in unfinished.updated_documents:
        await store.update_document(document.key.corpus, record_of(document))
        await catalog.mark_stored(document)
