"""Waiting for the index."""

from __future__ import annotations

import anyio
import structlog

from headwater_server.retrieval.catalog import Catalog
from headwater_server.retrieval.jobs.room import require_room
from headwater_server.retrieval.store.protocol import CorpusKey, Store

log = structlog.get_logger("headwater.imports")

_APPLY_SECONDS = 15.0
"""After so long a wait a line is logged, and the room on the disk is looked at."""


async def wait_until_found(store: Store, catalog: Catalog, version: int, *, corpus: CorpusKey) -> None:
    """Waits until searches see a write, however long that takes, where there is room on the disk for the index.

    Args:
        store: The store.
        catalog: Says where on the disk.
        version: Of the write.
        corpus: What was written to.

    Raises:
        StoreFull: The index lags behind, and there is too little room for it to follow.
    """
    while True:
        with anyio.move_on_after(_APPLY_SECONDS):
            await store.wait_applied(version)
            return
        log.warning("index lags behind", corpus=corpus, version=version)
        await require_room(catalog, corpus.tenant)
