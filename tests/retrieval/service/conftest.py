from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from headwater_server.retrieval.service import RetrievalCore
from tests.retrieval.service.support import serving


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def core(tmp_path: Path) -> AsyncGenerator[RetrievalCore]:
    async with serving(tmp_path) as opened:
        yield opened
