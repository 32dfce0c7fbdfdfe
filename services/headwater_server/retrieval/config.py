"""How the retrieval service is set up."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from headwater_server.retrieval.embedding.config import EmbeddingConfig
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.ranking.config import RerankingConfig
from headwater_server.retrieval.splitting.settings import SplitSettings
from headwater_server.retrieval.workers.limits import WorkerLimits

_MIB = 1024 * 1024


def _default_workers() -> int:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus - 1)


@dataclass(frozen=True, slots=True)
class RetrievalConfig:
    """The settings of the retrieval service."""

    max_document_bytes: int = 256 * _MIB
    """The size of a document's content at most; below 2 GiB."""
    max_uploads: int = 32
    """How many uploads may run at the same time; more are refused with OVERLOADED."""
    upload_silence_seconds: float = 300.0
    """How long an upload may say nothing."""
    max_waiting_documents: int = 10_000
    """How many documents may wait to be read; more are refused with OVERLOADED until there are fewer."""
    max_watchers: int = 2_048
    """How many calls may follow documents at the same time, uploads that wait for their end among them."""

    workers: int = field(default_factory=_default_workers)
    """How many worker processes read and embed documents at most."""
    worker_limits: WorkerLimits = field(default_factory=WorkerLimits)
    """What each of them may use."""
    worker_idle_seconds: float = 300.0
    """After so long without a document a worker ends."""
    silence_seconds: float = 300.0
    """How long a worker may take to read a document, or to embed a batch of its passages."""
    document_seconds: float = 3600.0
    """How long a worker may take for one document in all."""
    max_crashes: int = 3
    """A document that has cost so many workers is FAILED."""
    max_interruptions: int = 10
    """A document during whose import the whole service has died so often is FAILED."""

    parse_limits: ParseLimits = field(default_factory=ParseLimits)
    """What reading a document may cost; its `max_bytes` gives way to `max_document_bytes`."""
    split: SplitSettings = field(default_factory=SplitSettings)
    """How long passages are."""

    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    """Which embedders there are."""
    reranking: RerankingConfig = field(default_factory=RerankingConfig)
    """Which rerankers there are, and which of them is used."""

    top_k: int = 8
    """How many sources `Retrieve` returns where the caller does not say."""

    def __post_init__(self) -> None:
        """Refuses what cannot work.

        Raises:
            ValueError: A value is out of its bounds.
        """
        if not 1 <= self.max_document_bytes < 2**31:
            raise ValueError("max_document_bytes must be from 1 to 2147483647")
        if not 1 <= self.top_k <= 100:
            raise ValueError("top_k must be from 1 to 100")
        counts = ("max_uploads", "max_waiting_documents", "max_watchers", "workers", "max_crashes", "max_interruptions")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("upload_silence_seconds", "worker_idle_seconds", "silence_seconds", "document_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")

    @property
    def effective_parse_limits(self) -> ParseLimits:
        """The parsers' limits, with the document's size in them."""
        return replace(self.parse_limits, max_bytes=self.max_document_bytes)
