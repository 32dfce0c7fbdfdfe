from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator

import pytest
import structlog


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncGenerator[None]:
    """Keeps one loop for all tests: grpc.aio still talks to a loop after it was closed."""
    yield  # noqa: PT022 (the fixture holds the loop for as long as it lasts)


@pytest.fixture(autouse=True)
def log_setup() -> Iterator[None]:
    """Puts the process's log back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)
