from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from headwater import AsyncClient, Client
from tests.conformance.process import scripted_server
from tests.serving import FRONTS


@pytest.fixture(scope="session", params=FRONTS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with scripted_server("--front", request.param) as address:
        yield address


@pytest.fixture
def client(target: str) -> Iterator[Client]:
    with Client(target) as client:
        yield client


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def one_loop() -> AsyncIterator[None]:
    """Keeps one event loop for all tests.

    grpcio tells a call that was cancelled last of its end in whatever loop runs next, and fails if its own is closed.
    """
    yield  # noqa: PT022 (only a generator keeps anyio's loop running)


@pytest.fixture
async def async_client(target: str, one_loop: None) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(target) as client:
        yield client
