"""The embedder of queries: loaded once, in a thread, and used in threads."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from anyio import CapacityLimiter, Lock, to_thread

from headwater_server.errors import PreconditionFailed
from headwater_server.retrieval.embedding.errors import EmbedderUnavailable
from headwater_server.retrieval.embedding.protocol import Embedder, Vector

log = structlog.get_logger("headwater.retrieval")

_THREADS = 4
"""How many queries are embedded at the same time; more wait."""


class QueryEmbedder:
    """Embeds queries without blocking the event loop.

    Args:
        make_embedder: Makes the embedder; takes some tenths of a second.
    """

    def __init__(self, make_embedder: Callable[[], Embedder]) -> None:
        self._make_embedder = make_embedder
        self._embedder: Embedder | None = None
        self._loading = Lock()
        self._limiter = CapacityLimiter(_THREADS)

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
            log.warning("embedder unavailable", error=str(error))

    async def embed(self, text: str) -> Vector:
        """The vector of a query.

        Raises:
            PreconditionFailed: The embedder cannot be loaded.
        """
        embedder = await self.load()
        return await to_thread.run_sync(embedder.embed_query, text, limiter=self._limiter)
