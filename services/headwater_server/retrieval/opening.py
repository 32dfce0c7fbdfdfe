"""Opening and closing the retrieval service."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from anyio import CancelScope, to_thread

from headwater_server.owned_tasks import owned_tasks
from headwater_server.paging import PageTokens
from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.catalog import Catalog, SqliteCatalog
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.embedding import BUILTIN_EMBEDDER, Embedder, MiniLmEmbedder
from headwater_server.retrieval.embedding.devices import resolved
from headwater_server.retrieval.embedding.registry import Embedders
from headwater_server.retrieval.jobs.importer import Importer
from headwater_server.retrieval.jobs.locks import CorpusLocks
from headwater_server.retrieval.jobs.progress import ProgressBoard
from headwater_server.retrieval.jobs.reading import DocumentReader
from headwater_server.retrieval.jobs.reembedding import Reembedder
from headwater_server.retrieval.jobs.runner import ImportRunner
from headwater_server.retrieval.jobs.takeovers import Takeovers
from headwater_server.retrieval.maintenance.layout import Layout
from headwater_server.retrieval.maintenance.versions import check_versions
from headwater_server.retrieval.operations import Operations
from headwater_server.retrieval.presentation import record_of
from headwater_server.retrieval.ranking.registry import Reranking, open_reranking
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
    make_embedder: Callable[[], Embedder] | None = None,
    open_store: OpenStore = EmbeddedStore.open,
) -> AsyncGenerator[RetrievalCore]:
    """Opens the retrieval service in a folder that belongs to this process alone, and closes it when left.

    What was begun when it was last closed, or killed, is finished first. Workers start with the first document. When it
    is left, imports under way stop, and go on at the next opening.

    Args:
        data_dir: The folder: `catalog.sqlite`, `contents/` and `uploads/` by the catalog, `store/` by the store.
        config: The settings; the defaults of `RetrievalConfig` if not given.
        make_embedder: Makes the built-in embedder, here and in each worker; picklable. None: all-MiniLM-L6-v2.
        open_store: Opens the store in a folder.

    Raises:
        EmbedderConfigError: A setting of an embedder is not as it must be.
        RerankerConfigError: A setting of a reranker is not as it must be.
        MaintenanceError: The folder was written by a newer version of this program; nothing in it was changed.
        StoreError: The store cannot be opened, or not be brought to what the catalog knows.
    """
    config = config or RetrievalConfig()
    await to_thread.run_sync(check_versions, Layout(data_dir))
    async with (
        _opened(data_dir, config, make_embedder=make_embedder, open_store=open_store) as opened,
        owned_tasks(cancel=True) as background,
        Operations.open() as operations,
    ):
        parts = _assembled(opened, operations, config)
        await _finish_what_was_begun(parts.catalog, parts.store, parts.reembedder)
        if parts.embedders.default == BUILTIN_EMBEDDER:
            background.start_soon(parts.embedders.builtin.preload)
        background.start_soon(parts.embedders.report)
        background.start_soon(parts.runner.serve)
        background.start_soon(parts.reembedder.serve)
        yield RetrievalCore(parts)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is opened, and closed again."""

    catalog: Catalog
    store: Store
    pool: WorkerPool
    embedders: Embedders
    reranking: Reranking | None


@asynccontextmanager
async def _opened(
    data_dir: Path,
    config: RetrievalConfig,
    *,
    make_embedder: Callable[[], Embedder] | None,
    open_store: OpenStore,
) -> AsyncGenerator[_Opened]:
    device = await to_thread.run_sync(resolved, config.embedding.device)
    make_builtin = partial(MiniLmEmbedder, device=device) if make_embedder is None else make_embedder
    task = ImportTask(make_builtin, limits=config.effective_parse_limits, split=config.split)
    async with (
        SqliteCatalog.open(data_dir) as catalog,
        open_store(data_dir / "store") as store,
        WorkerPool.open(
            task,
            size=config.workers,
            limits=config.worker_limits,
            idle_seconds=config.worker_idle_seconds,
            private=data_dir,
        ) as pool,
        _open_embedders(config, make_builtin, in_workers=device == "cpu") as embedders,
        open_reranking(config.reranking) as reranking,
    ):
        yield _Opened(catalog, store, pool, embedders, reranking)


def _assembled(opened: _Opened, operations: Operations, config: RetrievalConfig) -> Parts:
    """Everything that the calls work with; nothing of it has begun to work."""
    catalog, store, embedders = opened.catalog, opened.store, opened.embedders
    locks, board, takeovers = CorpusLocks(), ProgressBoard(), Takeovers()
    reader = DocumentReader(catalog=catalog, pool=opened.pool, embedders=embedders, config=config)
    importer = Importer(
        catalog=catalog, store=store, reader=reader, locks=locks, takeovers=takeovers, board=board, config=config
    )
    reembedder = Reembedder(
        catalog=catalog,
        store=store,
        reader=reader,
        embedders=embedders,
        locks=locks,
        takeovers=takeovers,
        documents=config.workers,
        max_crashes=config.max_crashes,
    )
    return Parts(
        catalog=catalog,
        store=store,
        # One more than there are workers: while a document is stored, the next is read.
        runner=ImportRunner(catalog=catalog, importer=importer, board=board, jobs=config.workers + 1),
        board=board,
        locks=locks,
        operations=operations,
        embedders=embedders,
        reembedder=reembedder,
        takeovers=takeovers,
        reranking=opened.reranking,
        tokens=PageTokens(catalog.token_key),
        config=config,
    )


@asynccontextmanager
async def _open_embedders(
    config: RetrievalConfig, make_builtin: Callable[[], Embedder], *, in_workers: bool
) -> AsyncGenerator[Embedders]:
    embedders = Embedders(config.embedding, make_builtin=make_builtin, builtin_in_workers=in_workers)
    try:
        yield embedders
    finally:
        with CancelScope(shield=True):
            await embedders.aclose()


async def _finish_what_was_begun(catalog: Catalog, store: Store, reembedder: Reembedder) -> None:
    """Brings the store to what the catalog knows: deletions, takeovers and changes that a crash has cut in two."""
    unfinished = await catalog.recover()
    for corpus in unfinished.deleted_corpora:
        await store.delete_corpus(corpus)
        await catalog.finish_delete_corpus(corpus)
    await reembedder.finish_takeovers()
    for key in unfinished.deleted_documents:
        await store.delete_document(key.corpus, key.document_id)
        await catalog.finish_delete_document(key)
    for document in unfinished.updated_documents:
        await store.update_document(document.key.corpus, record_of(document))
        await catalog.mark_stored(document)
