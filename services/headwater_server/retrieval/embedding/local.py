"""An embedder of this machine, as the service uses it: loaded once, in a thread, and used in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import structlog
from anyio import CapacityLimiter, Lock, to_thread

from headwater_server.errors import PreconditionFailed
from headwater_server.retrieval.embedding.errors import EmbedderUnavailable
from headwater_server.retrieval.embedding.protocol import Embedder, Vector, Vectors

log = structlog.get_logger("headwater.retrieval")

_THREADS = 4
"""How many queries are embedded at the same time; more wait."""
_BATCH = 64
"""Passages between two reports of progress, where they are embedded here and not in workers."""


class LocalEmbedder:
    """Embeds without blocking the event loop; implements `AsyncEmbedder`.

    Args:
        name: `provider/model`.
        make_embedder: Makes the embedder; takes some tenths of a second.
        in_workers: Whether worker processes embed documents. Not with a GPU, which they cannot reach.
    """

    def __init__(self, name: str, make_embedder: Callable[[], Embedder], *, in_workers: bool = True) -> None:
        self._name = name
        self._make_embedder = make_embedder
        self._in_workers = in_workers
        self._embedder: Embedder | None = None
        self._loading = Lock()
        self._limiter = CapacityLimiter(_THREADS)

    @property
    def name(self) -> str:
        """See `AsyncEmbedder`."""
        return self._name

    @property
    def in_workers(self) -> bool:
        """See `AsyncEmbedder`."""
        return self._in_workers

    async def load(self) -> Embedder:
        """The embedder, loaded by the first who asks.

        Raises:
            PreconditionFailed: It cannot be loaded; the message says what is missing.
        """
        async with self._loading:
            if self._embedder is None:
                try:
                    self._embedder = await to_thread.run_sync(self._make_embedder)
                except EmbedderUnavailable as error:
                    raise PreconditionFailed(str(error)) from error
            return self._embedder

    async def preload(self) -> None:
        """Loads the embedder ahead of the first call; a failure is logged, and raised by the calls that need it."""
        try:
            await self.load()
        except PreconditionFailed as error:
            log.warning("embedder unavailable", embedder=self._name, error=str(error))

    async def fingerprint(self) -> str:
        """See `AsyncEmbedder`."""
        return (await self.load()).fingerprint

    async def dimension(self) -> int:
        """See `AsyncEmbedder`."""
        return (await self.load()).dimension

    async def embed_documents(
        self, texts: Sequence[str], *, embedded: Callable[[int], None] = lambda _: None
    ) -> Vectors:
        """See `AsyncEmbedder`."""
        embedder = await self.load()
        made = [np.empty((0, embedder.dimension), dtype=np.float32)]
        for start in range(0, len(texts), _BATCH):
            part = texts[start : start + _BATCH]
            made.append(await to_thread.run_sync(embedder.embed_documents, part, limiter=self._limiter))
            embedded(len(part))
        return np.concatenate(made)

    async def embed_query(self, text: str) -> Vector:
        """See `AsyncEmbedder`."""
        embedder = await self.load()
        return await to_thread.run_sync(embedder.embed_query, text, limiter=self._limiter)
