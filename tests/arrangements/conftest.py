from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

import pytest

from headwater import AsyncClient, Client
from tests.arrangements.model_server import ModelServer, running_model_server
from tests.arrangements.processes import TOKEN, Arrangement, arranged
from tests.serving import HANDBOOK


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncGenerator[None]:
    """Keeps one loop for all tests: grpc.aio still talks to a loop after it was closed."""
    yield  # noqa: PT022 (the fixture holds the loop for as long as it lasts)


@pytest.fixture(scope="session")
def model() -> Iterator[ModelServer]:
    """A model server, the provider `scripted`."""
    with running_model_server() as server:
        yield server


@pytest.fixture(scope="session", params=["one process", "three processes"])
def arrangement(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, model: ModelServer
) -> Iterator[Arrangement]:
    """Headwater, with the demo's documents in the corpus `handbook`."""
    with arranged(request.param, tmp_path_factory.mktemp("arrangement"), model) as services:
        with Client(services.target, token=TOKEN) as client:
            client.corpora.create("handbook")
            for path in sorted(HANDBOOK.iterdir()):
                client.documents.import_file(path, corpus="handbook", document_id=path.name)
        yield services


@pytest.fixture
async def client(arrangement: Arrangement) -> AsyncGenerator[AsyncClient]:
    """A client of the arrangement, as the tenant that has the documents."""
    arrangement.model.hung_up.clear()
    arrangement.model.requests.clear()
    async with AsyncClient(arrangement.target, token=TOKEN) as connected:
        yield connected
