from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

import pytest

from tests.conformance.process import scripted_server


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncGenerator[None]:
    """Keeps one loop for all tests: grpc.aio still talks to a loop after it was closed."""
    yield  # noqa: PT022 (the fixture holds the loop for as long as it lasts)


@pytest.fixture(scope="session")
def scripted() -> Iterator[str]:
    """The address of a server that plays the cases of `tests/conformance`, which break rules as no true server does."""
    with scripted_server() as address:
        yield address
