from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from headwater.v1 import document_pb2, source_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.errors import InvalidRequest, ResourceNotFound
from headwater_server.outgoing.retrying import RetryPolicy
from headwater_server.retrieval.catalog import SqliteCatalog
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.embedding import BUILTIN_EMBEDDER, EmbeddingConfig, NamedEmbedder, remote
from headwater_server.retrieval.jobs import reembedding
from headwater_server.retrieval.opening import open_retrieval
from headwater_server.retrieval.service import RetrievalCore
from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.protocol import StoreFull
from tests.retrieval.embedding.embedding_server import EmbeddingServer, Refusal, embedding_server
from tests.retrieval.service.embedders import HarmfulEmbedder
from tests.retrieval.service.faulty_store import FaultyStore
from tests.retrieval.service.support import (
    FAILED,
    ME,
    READY,
    STRANGER,
    WAIT_SECONDS,
    create_corpus,
    create_document,
    ended,
    get_document,
    import_text,
    serving,
    sources,
    until,
)

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[3]
NAME = "corpora/default"
DENSE = source_pb2.RETRIEVAL_MODE_DENSE


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets nothing wait long before it is tried again."""
    monkeypatch.setattr(remote, "DOCUMENT_RETRIES", RetryPolicy(attempts=1))
    monkeypatch.setattr(reembedding, "_FIRST_DELAY", 0.05)
    monkeypatch.setattr(reembedding, "_WAIT_SECONDS", 0.02)


def config(*servers: EmbeddingServer, **settings: Any) -> RetrievalConfig:
    tables = {f"e{number}": NamedEmbedder(api="openai", base_url=server.url) for number, server in enumerate(servers)}
    return RetrievalConfig(workers=2, embedding=EmbeddingConfig(embedders=tables, environ={}), **settings)


@asynccontextmanager
async def serving_with(folder: Path, *servers: EmbeddingServer, **settings: Any) -> AsyncGenerator[RetrievalCore]:
    """A service with the embedders `e0/…`, `e1/…` of these servers."""
    async with open_retrieval(folder, config(*servers, **settings), make_embedder=HarmfulEmbedder) as core:
        yield core


async def reembed(core: RetrievalCore, embedder: str = "", *, name: str = NAME) -> document_pb2.Corpus:
    return await core.reembed_corpus(pb.ReembedCorpusRequest(name=name, embedder=embedder), ME)


async def corpus(core: RetrievalCore, name: str = NAME) -> document_pb2.Corpus:
    return await core.get_corpus(pb.GetCorpusRequest(name=name), ME)


async def reembedded(core: RetrievalCore, name: str = NAME) -> document_pb2.Corpus:
    """The corpus, once nothing is being made anew."""
    with anyio.fail_after(WAIT_SECONDS):
        while (found := await corpus(core, name)).HasField("reembedding"):  # noqa: ASYNC110 (nothing tells us)
            await anyio.sleep(0.02)
    return found


async def fill(core: RetrievalCore, *words: str, corpus: str = "default") -> None:
    for word in words:
        assert (await import_text(core, f"The bell rings at {word}.", word, corpus=corpus)).state == READY


async def found(core: RetrievalCore, word: str, *, corpus: str = "default") -> list[str]:
    """The documents that say that the bell rings at this word."""
    query = f"The bell rings at {word}."
    hits = await sources(core, query, corpus, mode=DENSE, top_k=100)
    return [hit.document.rpartition("/")[2] for hit in hits if hit.content == query]


async def test_a_corpus_gets_another_embedder_and_is_searched_as_it_was_until_then(tmp_path: Path) -> None:
    async with embedding_server() as server, serving_with(tmp_path, server) as core:
        await fill(core, "noon", "dawn", "dusk")
        server.gate = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, server.gate.set)  # the model is asked for its dimension first
        begun = await reembed(core, "e0/m")
        server.gate = asyncio.Event()
        assert begun.embedder == BUILTIN_EMBEDDER
        assert begun.reembedding.embedder == "e0/m"
        assert begun.reembedding.document_count == 3
        await until(lambda: server.running > 0)
        assert await found(core, "noon") == ["noon"]
        assert (await corpus(core)).reembedding.done_documents == 0
        server.gate.set()
        done = await reembedded(core)
        assert (done.embedder, done.document_count, done.passage_count) == ("e0/m", 3, 3)
        assert done.update_time.ToNanoseconds() > begun.update_time.ToNanoseconds()
        asked = len(server.requests)
        for word in ("noon", "dawn", "dusk"):
            assert await found(core, word) == [word]
        assert len(server.requests) == asked + 3
        await fill(core, "midnight")
        assert await found(core, "midnight") == ["midnight"]


async def test_what_was_imported_changed_or_deleted_meanwhile_is_right_before_and_after(tmp_path: Path) -> None:
    async with embedding_server() as server, serving_with(tmp_path, server) as core:
        await fill(core, "kept", "deleted", "replaced", "described", "failed")
        server.delay = 0.05
        await reembed(core, "e0/m")
        await until(lambda: len(server.requests) > 3)
        server.gate = asyncio.Event()
        await fill(core, "new")
        await core.delete_document(pb.DeleteDocumentRequest(name=f"{NAME}/documents/deleted"), ME)
        await import_text(core, "The bell rings at change.", "replaced")
        broken = await import_text(core, "DEFECT", "failed")
        assert broken.state == FAILED
        described = document_pb2.Document(name=f"{NAME}/documents/described", title="Another title")
        await core.update_document(pb.UpdateDocumentRequest(document=described), ME)

        async def check() -> None:
            assert await found(core, "kept") == ["kept"]
            assert await found(core, "new") == ["new"]
            assert await found(core, "change") == ["replaced"]
            assert await found(core, "described") == ["described"]
            assert await found(core, "deleted") == await found(core, "replaced") == await found(core, "failed") == []
            (hit,) = [hit for hit in await sources(core, "bell", top_k=50) if hit.document.endswith("described")]
            assert hit.title == "Another title"

        await check()
        server.gate.set()
        done = await reembedded(core)
        assert (done.embedder, done.document_count, done.passage_count) == ("e0/m", 5, 4)
        await check()
        assert (await get_document(core, f"{NAME}/documents/failed")).error == broken.error


async def test_without_another_embedder_the_settings_take_effect(tmp_path: Path) -> None:
    text = " ".join(f"Sentence number {number} stands here." for number in range(40))
    async with serving(tmp_path) as core:
        before = await import_text(core, text, "long")
        changes = document_pb2.Corpus(name=NAME, splitting=document_pb2.SplittingOptions(max_characters=100))
        await core.update_corpus(pb.UpdateCorpusRequest(corpus=changes), ME)
        await reembed(core)
        done = await reembedded(core)
        after = await get_document(core, f"{NAME}/documents/long")
        assert after.passage_count == done.passage_count > 3 * before.passage_count
        assert done.embedder == BUILTIN_EMBEDDER
        assert await sources(core, "sentence number 7")


async def test_called_again_for_the_same_embedder_it_goes_on(tmp_path: Path) -> None:
    async with embedding_server(delay=0.05) as server, serving_with(tmp_path, server) as core:
        await fill(core, *(f"hour{number}" for number in range(10)))
        await reembed(core, "e0/m")
        await until(lambda: len(server.requests) >= 5)
        assert (await reembed(core, "e0/m")).reembedding.done_documents >= 1
        assert (await reembedded(core)).embedder == "e0/m"
    asked = [text for texts in server.texts for text in texts if text.startswith("The bell")]
    assert sorted(asked) == sorted(f"The bell rings at hour{number}." for number in range(10))


async def test_called_for_another_embedder_or_with_other_settings_it_begins_anew(tmp_path: Path) -> None:
    async with (
        embedding_server() as one,
        embedding_server(dimension=12) as other,
        serving_with(tmp_path, one, other) as core,
    ):
        await fill(core, "noon", "dawn")
        await reembed(core, "e0/m")
        one.gate = asyncio.Event()
        assert (await reembed(core, "e1/m")).reembedding.embedder == "e1/m"
        assert (await reembedded(core)).embedder == "e1/m"
        assert await found(core, "noon") == ["noon"]
        other.delay = 0.1
        await reembed(core, "e1/n")
        changes = document_pb2.Corpus(name=NAME, splitting=document_pb2.SplittingOptions(max_characters=50))
        await core.update_corpus(pb.UpdateCorpusRequest(corpus=changes), ME)
        assert (await reembed(core, "e1/n")).reembedding.done_documents == 0
        assert (await reembedded(core)).embedder == "e1/n"
        assert await found(core, "noon") == ["noon"]


async def reembed_when_possible(core: RetrievalCore, server: EmbeddingServer, embedder: str) -> None:
    """Begins while the server answers the one request that it takes to begin."""
    refusal, server.always = server.always, None
    await reembed(core, embedder)
    server.always = refusal


async def test_a_corpus_that_is_no_more_is_not_made_anew(tmp_path: Path) -> None:
    async with embedding_server() as server, serving_with(tmp_path, server) as core:
        await create_corpus(core, "gone")
        await fill(core, "noon", corpus="gone")
        await reembed(core, "e0/m", name="corpora/gone")
        server.gate = asyncio.Event()
        await core.delete_corpus(pb.DeleteCorpusRequest(name="corpora/gone", force=True), ME)
        server.gate.set()
        with pytest.raises(ResourceNotFound):
            await corpus(core, "corpora/gone")
        await create_corpus(core, "gone")
        await fill(core, "dawn", corpus="gone")
        assert await found(core, "noon", corpus="gone") == []
        assert not (await corpus(core, "corpora/gone")).HasField("reembedding")


async def test_what_cannot_be_begun_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as core:
        await fill(core, "noon")
        with pytest.raises(InvalidRequest):
            await reembed(core, "nobody/m")
        with pytest.raises(ResourceNotFound):
            await reembed(core, name="corpora/absent")
        with pytest.raises(ResourceNotFound):
            await core.reembed_corpus(pb.ReembedCorpusRequest(name=NAME), STRANGER)
        assert not (await corpus(core)).HasField("reembedding")


@pytest.mark.parametrize("status", [401, 404, 429, 503])
async def test_an_embedder_that_fails_pauses_the_work_and_fails_no_document(tmp_path: Path, status: int) -> None:
    async with embedding_server() as server, serving_with(tmp_path, server) as core:
        await fill(core, "noon", "dawn")
        begun = len(server.requests)
        await reembed_when_possible(core, server, "e0/m")
        server.always = Refusal(status)
        await until(lambda: len(server.requests) > begun + 4)
        assert await found(core, "noon") == ["noon"]
        assert (await corpus(core)).embedder == BUILTIN_EMBEDDER
        server.always = None
        assert (await reembedded(core)).passage_count == 2
        assert await found(core, "noon") == ["noon"]


async def test_a_document_that_the_new_embedder_refuses_is_failed_when_it_takes_over(tmp_path: Path) -> None:
    async with embedding_server(refuses=lambda text: "dawn" in text) as server, serving_with(tmp_path, server) as core:
        await fill(core, "noon", "dawn")
        await reembed(core, "e0/m")
        done = await reembedded(core)
        assert (done.document_count, done.passage_count) == (2, 1)
        failed = await get_document(core, f"{NAME}/documents/dawn")
        assert (failed.state, failed.passage_count) == (FAILED, 0)
        assert "input is not to my taste" in failed.error.message
        assert [hit.document for hit in await sources(core, "bell", mode=DENSE)] == [f"{NAME}/documents/noon"]


async def test_a_full_disk_pauses_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FaultyStore, "faults", [])
    async with embedding_server() as server:
        opened = open_retrieval(tmp_path, config(server), make_embedder=HarmfulEmbedder, open_store=FaultyStore.open)
        async with opened as core:
            await fill(core, "noon", "dawn")
            FaultyStore.faults.extend(StoreFull("the disk is full") for _ in range(3))
            await reembed(core, "e0/m")
            await until(lambda: not FaultyStore.faults)
            assert (await reembedded(core)).embedder == "e0/m"
            assert await found(core, "noon") == ["noon"]


async def test_a_disk_with_little_room_pauses_the_work_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def little(path: object) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(total=1 << 40, free=1 << 20)

    async with embedding_server() as server, serving_with(tmp_path, server) as core:
        await fill(core, "noon", "dawn")
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "disk_usage", little)
            await reembed(core, "e0/m")
            await until(lambda: len(asked) >= 6)
            assert (await corpus(core)).embedder == BUILTIN_EMBEDDER
            texts = {text for texts in server.texts for text in texts}
            assert not texts & {f"The bell rings at {word}." for word in ("noon", "dawn")}
        assert (await reembedded(core)).passage_count == 2
        assert await found(core, "noon") == ["noon"]


async def test_the_work_goes_on_after_the_service_was_stopped(tmp_path: Path) -> None:
    async with embedding_server() as server:
        async with serving_with(tmp_path, server) as core:
            await fill(core, *(f"hour{number}" for number in range(10)))
            server.delay = 0.05
            await reembed(core, "e0/m")
            await until(lambda: len(server.requests) >= 5)
        server.delay = 0
        done = len(server.requests)
        async with serving_with(tmp_path, server) as core:
            assert (await reembedded(core)).embedder == "e0/m"
            for number in range(10):
                assert await found(core, f"hour{number}") == [f"hour{number}"]
        texts = [text for texts in server.texts[done:] for text in texts]
    assert len(set(texts) & {f"The bell rings at hour{number}." for number in range(10)}) == 10  # by the questions
    assert len(texts) < 10 + 10, "what was done before was done again"


@pytest.mark.parametrize("after_the_store", [False, True])
async def test_a_takeover_that_was_cut_in_two_is_finished_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_the_store: bool
) -> None:
    reached = anyio.Event()

    async def stop_here(*_: object, **__: object) -> int:
        reached.set()
        await anyio.sleep_forever()
        raise AssertionError

    owner: Any = SqliteCatalog if after_the_store else EmbeddedStore
    method = "finish_takeover" if after_the_store else "replace_corpus"
    async with embedding_server() as server:
        with monkeypatch.context() as patched:
            async with serving_with(tmp_path, server) as core:
                await fill(core, "noon", "dawn")
                patched.setattr(owner, method, stop_here)
                await reembed(core, "e0/m")
                with anyio.fail_after(WAIT_SECONDS):
                    await reached.wait()
        async with serving_with(tmp_path, server) as core:
            done = await corpus(core)
            assert not done.HasField("reembedding")
            assert (done.embedder, done.passage_count) == ("e0/m", 2)
            assert await found(core, "noon") == ["noon"]
            await fill(core, "dusk")
            assert await found(core, "dusk") == ["dusk"]


async def test_a_document_that_is_just_being_stored_when_the_new_takes_over_is_stored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, go_on = anyio.Event(), anyio.Event()
    wait_applied = EmbeddedStore.wait_applied

    async def wait(self: EmbeddedStore, version: int) -> None:
        if not stored.is_set():
            stored.set()
            await go_on.wait()
        await wait_applied(self, version)

    async with embedding_server() as server, serving_with(tmp_path, server) as core:
        await fill(core, "noon")
        monkeypatch.setattr(EmbeddedStore, "wait_applied", wait)
        made = await create_document(core, "The bell rings at dawn.", "dawn")
        with anyio.fail_after(WAIT_SECONDS):
            await stored.wait()
        await reembed(core, "e0/m")
        assert (await reembedded(core)).embedder == "e0/m"
        go_on.set()
        assert (await ended(core, made.name)).state == READY
        assert await found(core, "dawn") == ["dawn"]
        assert await found(core, "noon") == ["noon"]


async def test_a_search_never_fails_and_never_misses_while_embedders_change(tmp_path: Path) -> None:
    async with (
        embedding_server() as one,
        embedding_server(dimension=12) as other,
        serving_with(tmp_path, one, other) as core,
    ):
        await fill(core, "noon", "dawn")
        searches, changing = 0, True

        async def search() -> None:
            nonlocal searches
            while changing:
                assert await found(core, "noon") == ["noon"]
                searches += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(search)
            for number in range(6):
                await reembed(core, f"e{number % 2}/m{number}")
                await reembedded(core)
            changing = False
        assert searches > 6


async def test_any_changes_at_any_moment_leave_what_the_catalog_says(tmp_path: Path) -> None:
    chance = random.Random(4)  # noqa: S311 (chooses what happens)
    async with (
        embedding_server(delay=0.01) as one,
        embedding_server(dimension=12, delay=0.01) as other,
        serving_with(tmp_path, one, other) as core,
    ):
        await fill(core, "start")
        expected: dict[str, str] = {"start": "start"}
        for number in range(60):
            document = f"d{chance.randrange(8)}"
            match chance.choice(["import", "import", "delete", "reembed", "wait"]):
                case "import":
                    expected[document] = f"hour{number}"
                    await import_text(core, f"The bell rings at hour{number}.", document)
                case "delete" if document in expected:
                    del expected[document]
                    await core.delete_document(pb.DeleteDocumentRequest(name=f"{NAME}/documents/{document}"), ME)
                case "reembed":
                    await reembed(core, chance.choice(["e0/m", "e1/m", BUILTIN_EMBEDDER]))
                case _:
                    await anyio.sleep(chance.uniform(0, 0.1))
        done = await reembedded(core)
        hits = await sources(core, "The bell rings.", mode=DENSE, top_k=100)
        said = {hit.document.rpartition("/")[2]: hit.content.split()[-1].rstrip(".") for hit in hits}
        assert said == expected
        assert (done.document_count, done.passage_count) == (len(expected), len(expected))


# Imports, begins to make the corpus anew, says how far it is, and is killed in the middle.
SERVICE = """
import sys
from pathlib import Path
import anyio
from tests.retrieval.service.support import import_text
from tests.retrieval.service.test_reembedding import NAME, corpus, reembed, serving_at

async def main(folder, url):
    async with serving_at(folder, url) as core:
        for number in range(30):
            await import_text(core, f"The bell rings at hour{number}.", f"hour{number}")
        await reembed(core, "e0/m")
        while True:
            print("done", (await corpus(core)).reembedding.done_documents, flush=True)
            await anyio.sleep(0.02)

anyio.run(main, Path(sys.argv[1]), sys.argv[2])
"""


def serving_at(folder: Path, url: str) -> Any:
    table = NamedEmbedder(api="openai", base_url=url, concurrency=1)
    embedding = EmbeddingConfig(embedders={"e0": table}, environ={})
    return open_retrieval(folder, RetrievalConfig(workers=1, embedding=embedding), make_embedder=HarmfulEmbedder)


async def test_after_a_kill_the_corpus_is_as_it_was_and_the_work_goes_on(tmp_path: Path) -> None:
    async with embedding_server(delay=0.05) as server:
        await anyio.to_thread.run_sync(_run_until_killed, tmp_path, server.url)
        server.gate = asyncio.Event()
        async with serving_at(tmp_path, server.url) as core:
            now = await corpus(core)
            assert now.embedder == BUILTIN_EMBEDDER
            assert 5 <= now.reembedding.done_documents < 30
            assert await found(core, "hour3") == ["hour3"]
            server.gate.set()
            assert (await reembedded(core)).embedder == "e0/m"
            for number in range(30):
                assert await found(core, f"hour{number}") == [f"hour{number}"]


def _run_until_killed(folder: Path, url: str) -> None:
    command = [sys.executable, "-c", SERVICE, str(folder), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as service:
        assert service.stdout is not None
        for line in service.stdout:
            if line.startswith("done ") and int(line.split()[1]) >= 5:
                service.kill()
