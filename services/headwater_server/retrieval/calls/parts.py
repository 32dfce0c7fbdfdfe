"""What the calls work with."""

from __future__ import annotations

from dataclasses import dataclass

from headwater_server.paging import PageTokens
from headwater_server.retrieval.catalog import Catalog
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.embedding.registry import Embedders
from headwater_server.retrieval.jobs.locks import CorpusLocks
from headwater_server.retrieval.jobs.progress import ProgressBoard
from headwater_server.retrieval.jobs.reembedding import Reembedder
from headwater_server.retrieval.jobs.runner import ImportRunner
from headwater_server.retrieval.jobs.takeovers import Takeovers
from headwater_server.retrieval.operations import Operations
from headwater_server.retrieval.ranking.registry import Reranking
from headwater_server.retrieval.store.protocol import Store


@dataclass(frozen=True, slots=True)
class Parts:
    """The open parts of a retrieval service."""

    catalog: Catalog
    store: Store
    runner: ImportRunner
    board: ProgressBoard
    locks: CorpusLocks
    operations: Operations
    embedders: Embedders
    reembedder: Reembedder
    takeovers: Takeovers
    reranking: Reranking | None
    tokens: PageTokens
    config: RetrievalConfig
