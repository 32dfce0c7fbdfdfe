from __future__ import annotations

import errno
import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import anyio
import pytest
from google.rpc import error_details_pb2

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.errors import Overloaded, PreconditionFailed, Reason, ResourceNotFound, ServiceError
from headwater_server.retrieval.calls.downloads import ContentDamagedError
from headwater_server.retrieval.catalog import DocumentChanges, DocumentKey, SqliteCatalog
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.jobs import runner
from headwater_server.retrieval.opening import open_retrieval
from headwater_server.retrieval.service import RetrievalCore
from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.protocol import CorpusUnknown, StoreFull, StoreUnavailable
from headwater_server.retrieval.workers import pool
from headwater_server.retrieval.workers.limits import WorkerLimits
from headwater_server.retrieval.workers.probe import probe
from headwater_server.retrieval.workers.sandbox import Deed
from tests.retrieval.service.embedders import OtherEmbedder, embedder_unless
from tests.retrieval.service.faulty_store import FaultyStore
from tests.retrieval.service.support import (
    FAILED,
    ME,
    PENDING,
    READY,
    create_document,
    download,
    ended,
    get_document,
    import_text,
    serving,
    sources,
)

pytestmark = pytest.mark.anyio

NAME = "corpora/default/documents/leave"


@pytest.fixture
async def faulty(tmp_path: Path) -> AsyncGenerator[RetrievalCore]:
    FaultyStore.faults.clear()
    async with open_retrieval(tmp_path, RetrievalConfig(workers=1), open_store=FaultyStore.open) as core:
        yield core
    assert FaultyStore.faults == []


def reason_of(document: document_pb2.Document) -> str:
    info = error_details_pb2.ErrorInfo()
    assert document.error.details[0].Unpack(info)
    reason: str = info.reason
    return reason


@pytest.mark.parametrize(
    ("word", "reason", "message"),
    [
        ("CRASH", "DOCUMENT_UNREADABLE", "crashed 3 times"),
        ("GLUTTONY", "DOCUMENT_TOO_LARGE", "memory"),
        ("ABORT", "DOCUMENT_UNREADABLE", "SIGABRT"),
        ("HANG", "DOCUMENT_TOO_LARGE", "time"),
        ("SPIN", "DOCUMENT_TOO_LARGE", "time"),
        ("DEFECT", "DOCUMENT_UNREADABLE", "reader failed"),
    ],
)
async def test_a_poisoned_document_ends_as_a_failed_one_and_harms_no_other(
    tmp_path: Path, word: str, reason: str, message: str
) -> None:
    async with serving(tmp_path, silence_seconds=6 if word in {"HANG", "SPIN"} else 60) as core:
        await create_document(core, f"This document says {word}.", "poison")
        others = [await create_document(core, f"Room {n} is good.", f"d{n}") for n in range(3)]
        for other in others:
            assert (await ended(core, other.name)).state == READY
        document = await ended(core, "corpora/default/documents/poison")
        assert document.state == FAILED
        assert reason_of(document) == reason
        assert message in document.error.message
        assert "secret" not in document.error.message
        assert (await import_text(core, "This one is good again.", "poison")).state == READY


async def test_a_document_that_has_taken_over_its_worker_does_not_get_at_the_others(tmp_path: Path) -> None:
    if not {each.deed: each.by for each in probe()}[Deed.READ_FILES]:
        pytest.skip("this system has nothing that keeps a worker from reading files")
    async with serving(tmp_path) as core:
        assert (await import_text(core, "This is secret.", "victim")).state == READY
        (content,) = (tmp_path / "contents").glob("*/*/*")
        assert content.read_bytes() == b"This is secret."
        for number, path in enumerate((content, tmp_path / "catalog.sqlite", Path("/etc/passwd"))):
            failed = await import_text(core, f"SPY {path}", f"spy{number}")
            assert (failed.state, reason_of(failed)) == (FAILED, "DOCUMENT_UNREADABLE")
        assert (await import_text(core, f"SPY {os.__file__}", "harmless")).state == READY


async def test_a_document_that_takes_too_much_memory_to_read_is_too_large(tmp_path: Path) -> None:
    # 18 million characters in a million paragraphs, of which the parser makes far more than the 100 MB left to it.
    limits = WorkerLimits(memory_bytes=300_000_000)
    async with serving(tmp_path, worker_limits=limits, max_crashes=1) as core:
        failed = await import_text(core, "<p>a short one</p>\n" * 1_000_000, "large", media_type="text/html")
        assert (failed.state, reason_of(failed)) == (FAILED, "DOCUMENT_TOO_LARGE")
        assert "memory" in failed.error.message
        assert (await import_text(core, "A short one.", "short")).state == READY


async def test_the_event_loop_goes_on_while_a_document_is_imported(core: RetrievalCore) -> None:
    ticks = 0

    async def count() -> None:
        nonlocal ticks
        while True:
            await anyio.sleep(0.001)
            ticks += 1

    text = "\n\n".join(f"SLOW paragraph {number}. " + "More words. " * 70 for number in range(20))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        document = await import_text(core, text)
        tasks.cancel_scope.cancel()
    assert document.state == READY
    # The worker sleeps for 4 s in one batch: a loop that waited for it would count a few dozen.
    assert ticks > 500


async def test_a_store_without_room_fails_the_document_with_its_reason(tmp_path: Path) -> None:
    open_store = partial(EmbeddedStore.open, max_bytes=300_000)
    async with open_retrieval(tmp_path, RetrievalConfig(workers=1), open_store=open_store) as core:
        kept = await import_text(core, "A short text about leave.", "short")
        assert kept.state == READY
        long = "\n\n".join(f"Paragraph {number}. " + "Many words again. " * 50 for number in range(200))
        failed = await import_text(core, long, "long")
        assert (failed.state, reason_of(failed)) == (FAILED, "QUOTA_EXCEEDED")
        assert [source.document for source in await sources(core, "leave")] == [kept.name]


async def test_a_document_whose_passages_would_fill_the_disk_fails_and_leaves_the_reserve(
    core: RetrievalCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = (64 + 1) << 20
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1 << 40, free=free))
    kept = await import_text(core, "A short text about leave.", "short")
    assert kept.state == READY
    long = "\n\n".join(f"Paragraph {number}. " + "Many words again. " * 50 for number in range(400))
    failed = await import_text(core, long, "long")
    assert (failed.state, reason_of(failed)) == (FAILED, "QUOTA_EXCEEDED")
    assert [source.document for source in await sources(core, "leave")] == [kept.name]


async def test_a_full_disk_refuses_a_document_and_nothing_is_stored(
    core: RetrievalCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await import_text(core, "A short text about leave.", "short")

    def no_room(_: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_room)
        for call in (create_document(core, "Text.", "leave"), import_text(core, "Text.", "leave")):
            with pytest.raises(ServiceError) as refused:
                await call
            assert refused.value.reason is Reason.QUOTA_EXCEEDED
            assert refused.value.metadata["quota"] == "disk"
    with pytest.raises(ResourceNotFound):
        await get_document(core, NAME)
    assert list((tmp_path / "uploads").iterdir()) == []
    assert (await import_text(core, "Text.", "leave")).state == READY


async def test_a_store_that_cannot_be_reached_delays_an_import(faulty: RetrievalCore) -> None:
    FaultyStore.faults.append(StoreUnavailable("gone"))
    assert (await import_text(faulty, "A short text about leave.", "leave")).state == READY
    assert len(await sources(faulty, "leave")) == 1


@pytest.mark.parametrize("lacking", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_a_system_that_has_no_descriptor_left_delays_an_import(
    core: RetrievalCore, monkeypatch: pytest.MonkeyPatch, lacking: int
) -> None:
    open_to_read, refusals = pool._open_to_read, [OSError(lacking, os.strerror(lacking)) for _ in range(2)]

    def open_unless_refused(path: Path) -> BinaryIO:
        if refusals:
            raise refusals.pop()
        return open_to_read(path)

    monkeypatch.setattr(runner, "_FIRST_DELAY", 0.05)
    monkeypatch.setattr(pool, "_open_to_read", open_unless_refused)
    assert (await import_text(core, "A short text about leave.", "leave")).state == READY
    assert not refusals


async def test_a_corpus_deleted_during_a_search_is_looked_up_again(faulty: RetrievalCore) -> None:
    await import_text(faulty, "A short text about leave.", "leave")
    FaultyStore.faults.append(CorpusUnknown("gone"))
    assert len(await sources(faulty, "leave")) == 1
    FaultyStore.faults.append(StoreUnavailable("gone"))
    with pytest.raises(Overloaded) as refused:
        await sources(faulty, "leave")
    assert refused.value.retry_after is not None


async def test_a_missing_embedder_is_said_to_callers_and_costs_no_document(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    make_embedder = partial(embedder_unless, missing)
    missing.touch()
    async with open_retrieval(tmp_path / "data", RetrievalConfig(workers=1), make_embedder=make_embedder) as core:
        with pytest.raises(PreconditionFailed, match="not installed"):
            await create_document(core, "A text about leave.", "leave")
        missing.unlink()
        await core.create_corpus(pb.CreateCorpusRequest(corpus_id="default"), ME)
        missing.touch()
        await create_document(core, "A text about leave.", "leave")
        async with aclosing(core.watch_document(pb.WatchDocumentRequest(name=NAME), ME)) as events:
            async for event in events:
                if event.progress.stage == document_pb2.DOCUMENT_STAGE_SPLIT:
                    break
        missing.unlink()
        assert (await ended(core, NAME)).state == READY


async def test_a_document_left_for_another_embedder_is_not_mixed_in(tmp_path: Path) -> None:
    async with serving(tmp_path) as core:
        await import_text(core, "Words about leave.", "first")
        await create_document(core, "\n\n".join("SLOW words about leave. " * 40 for _ in range(30)), "leave")
    async with open_retrieval(tmp_path, RetrievalConfig(workers=1), make_embedder=OtherEmbedder) as core:
        failed = await ended(core, NAME)
        assert failed.state == FAILED
        assert "another embedder" in failed.error.message


async def test_a_deletion_that_failed_is_done_by_the_next(faulty: RetrievalCore) -> None:
    await import_text(faulty, "A short text about leave.", "leave")
    FaultyStore.faults.append(StoreUnavailable("gone"))
    with pytest.raises(Overloaded):
        await faulty.delete_document(pb.DeleteDocumentRequest(name=NAME), ME)
    with pytest.raises(ResourceNotFound):
        await get_document(faulty, NAME)
    await faulty.delete_document(pb.DeleteDocumentRequest(name=NAME), ME)
    assert await sources(faulty, "leave") == []
    FaultyStore.faults.append(StoreFull("full"))
    with pytest.raises(ServiceError):
        await faulty.delete_corpus(pb.DeleteCorpusRequest(name="corpora/default", force=True), ME)
    await faulty.delete_corpus(pb.DeleteCorpusRequest(name="corpora/default", force=True), ME)
    assert await sources(faulty, "leave") == []


async def test_what_failed_to_be_deleted_does_not_come_back_under_its_name(faulty: RetrievalCore) -> None:
    await import_text(faulty, "A short text about leave.", "leave")
    await import_text(faulty, "Another text about leave.", "other")
    FaultyStore.faults.append(StoreUnavailable("gone"))
    with pytest.raises(Overloaded):
        await faulty.delete_document(pb.DeleteDocumentRequest(name=NAME), ME)
    assert (await import_text(faulty, "New words.", "leave")).state == READY
    FaultyStore.faults.append(StoreUnavailable("gone"))
    with pytest.raises(Overloaded):
        await faulty.delete_corpus(pb.DeleteCorpusRequest(name="corpora/default", force=True), ME)
    assert (await import_text(faulty, "Newer words.", "leave")).state == READY
    assert [source.content for source in await sources(faulty, "leave words")] == ["Newer words."]


async def test_what_a_crash_has_cut_in_two_is_finished_at_the_next_opening(tmp_path: Path) -> None:
    async with serving(tmp_path) as core:
        await import_text(core, "A text about leave.", "leave")
        await import_text(core, "A second text about leave.", "second")
        await import_text(core, "A third text about leave.", "third")
    async with SqliteCatalog.open(tmp_path) as catalog:  # as the service does it, up to the middle
        await catalog.begin_delete_document(DocumentKey("acme", "default", "leave"))
        await catalog.update_document(DocumentKey("acme", "default", "second"), DocumentChanges(title="New"))
    async with serving(tmp_path) as core:
        found = await sources(core, "leave")
        titles = {source.document.rpartition("/")[2]: source.title for source in found}
        assert titles.keys() == {"second", "third"}
        assert titles["second"] == "New"
    async with SqliteCatalog.open(tmp_path) as catalog:
        await catalog.begin_delete_corpus(DocumentKey("acme", "default", "leave").corpus, force=True)
    async with serving(tmp_path) as core:
        assert await sources(core, "leave") == []
        await import_text(core, "New words.", "leave")
        assert [source.content for source in await sources(core, "leave")] == ["New words."]


async def test_a_damaged_content_is_not_downloaded_as_if_it_were_whole(core: RetrievalCore, tmp_path: Path) -> None:
    document = await create_document(core, "A text about leave.", "leave")
    assert document.state == PENDING
    (path,) = (tmp_path / "contents").glob("*/*/*")
    path.write_bytes(b"A text about lease.")
    with pytest.raises(ContentDamagedError):
        await download(core, NAME)
