from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.protocol import Store
from tests.retrieval.store.conformance import StoreConformance, corpus

__all__ = ["corpus"]

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Store]:
    async with EmbeddedStore.open(tmp_path_factory.mktemp("store")) as opened:
        yield opened


class TestEmbeddedStore(StoreConformance):
    pass
