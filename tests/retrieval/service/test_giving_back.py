"""Jobs that are given back to the catalog, where the catalog cannot take them."""

from __future__ import annotations

import sqlite3
from contextlib import aclosing
from pathlib import Path

import pytest

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.outgoing.retrying import RetryPolicy
from headwater_server.retrieval.catalog import CatalogFull, Document, DocumentKey, SqliteCatalog
from headwater_server.retrieval.embedding import EmbeddingConfig, NamedEmbedder, remote
from headwater_server.retrieval.jobs import runner
from headwater_server.retrieval.service import RetrievalCore
from tests.retrieval.embedding.embedding_server import EmbeddingServer, Refusal, embedding_server
from tests.retrieval.service.support import (
    ME,
    READY,
    create_document,
    ended,
    import_text,
    serving,
    until,
)

pytestmark = pytest.mark.anyio

NAME = "corpora/default/documents/leave"
SLOW = "\n\n".join("SLOW words about leave. " * 40 for _ in range(30))


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the next jobs that are given back meet, first come first served."""
    raised: list[Exception] = []
    give_back = SqliteCatalog.return_job

    async def or_fail(self: SqliteCatalog, key: DocumentKey, revision: int, *, crashed: bool) -> Document | None:
        if raised:
            raise raised.pop(0)
        return await give_back(self, key, revision, crashed=crashed)

    monkeypatch.setattr(SqliteCatalog, "return_job", or_fail)
    return raised


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets nothing wait long before it is tried again."""
    monkeypatch.setattr(remote, "DOCUMENT_RETRIES", RetryPolicy(attempts=1))
    monkeypatch.setattr(runner, "_FIRST_DELAY", 0.05)


async def being_read(core: RetrievalCore) -> None:
    async with aclosing(core.watch_document(pb.WatchDocumentRequest(name=NAME), ME)) as events:
        async for event in events:
            if event.progress.stage == document_pb2.DOCUMENT_STAGE_SPLIT:
                return


async def test_a_stopped_job_that_cannot_be_given_back_ends_no_other(tmp_path: Path, faults: list[Exception]) -> None:
    async with serving(tmp_path) as core:
        await create_document(core, SLOW, "leave")
        await being_read(core)
        faults.append(sqlite3.OperationalError("disk I/O error"))
        assert (await import_text(core, "Another text about leave.", "leave")).state == READY
        await until(lambda: not faults)
        assert (await import_text(core, "A text about rooms.", "rooms")).state == READY


async def import_while_refused(folder: Path, server: EmbeddingServer, faults: list[Exception]) -> int:
    """Imports a document whose embedder fails at first; returns its state in the end."""
    embedding = EmbeddingConfig(
        default="mine/m", embedders={"mine": NamedEmbedder(api="openai", base_url=server.url)}, environ={}
    )
    async with serving(folder, embedding=embedding) as core:
        assert (await import_text(core, "A text about rooms.", "rooms")).state == READY
        server.always, begun = Refusal(503), len(server.requests)
        await create_document(core, "A text about leave.", "leave")
        await until(lambda: len(server.requests) > begun and not faults)
        server.always = None
        return (await ended(core, NAME)).state


async def test_a_document_whose_embedder_fails_is_given_back_again_until_it_is_pending(
    tmp_path: Path, faults: list[Exception]
) -> None:
    faults += [CatalogFull("there is no room"), sqlite3.OperationalError("disk I/O error")]
    async with embedding_server() as server:
        assert await import_while_refused(tmp_path, server, faults) == READY


async def test_a_document_whose_embedder_fails_is_given_back_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_GIVE_BACK_SECONDS", 0.0)
    async with embedding_server() as server:
        assert await import_while_refused(tmp_path, server, []) == READY
