"""What becomes of a call whose task is cancelled as grpc cancels it: from outside of every scope, at any step."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.errors import ResourceNotFound
from headwater_server.retrieval.service import RetrievalCore
from tests.arrangements.process_tree import tree
from tests.retrieval.service.support import (
    ME,
    READY,
    create_document,
    ended,
    get_document,
    import_text,
    sources,
    until,
)

pytestmark = pytest.mark.anyio

NAME = "corpora/default/documents/leave"
STEPS = [0, 1, 2, 4, 8, 32, 128]


async def cancel_after(call: Coroutine[Any, Any, Any], milliseconds: int) -> None:
    """Starts a call and cancels it after so long, wherever it is by then."""
    task = asyncio.get_running_loop().create_task(call)
    await asyncio.sleep(milliseconds / 1000)
    task.cancel()
    await asyncio.wait([task])


async def exists_after_all(core: RetrievalCore) -> bool:
    """Whether the document is there, once the work that was cut off has ended: an update waits for it."""
    request = pb.UpdateDocumentRequest(document=document_pb2.Document(name=NAME, title="touched"))
    try:
        await core.update_document(request, ME)
    except ResourceNotFound:
        return False
    return True


@pytest.mark.parametrize("milliseconds", STEPS)
async def test_a_deletion_that_is_cancelled_happens_as_a_whole_or_not_at_all(
    core: RetrievalCore, milliseconds: int
) -> None:
    await import_text(core, "A text about leave.", "leave")
    await cancel_after(core.delete_document(pb.DeleteDocumentRequest(name=NAME), ME), milliseconds)
    there = await exists_after_all(core)
    assert len(await sources(core, "leave")) == there


@pytest.mark.parametrize("milliseconds", STEPS)
async def test_a_creation_that_is_cancelled_happens_as_a_whole_or_not_at_all(
    core: RetrievalCore, tmp_path: Path, milliseconds: int
) -> None:
    await import_text(core, "Another text.", "other")
    await cancel_after(create_document(core, "A text about leave.", "leave"), milliseconds)
    await until(lambda: not list((tmp_path / "uploads").iterdir()))
    if await exists_after_all(core):
        assert (await ended(core, NAME)).state == READY
    else:
        with pytest.raises(ResourceNotFound):
            await get_document(core, NAME)
        assert len(list((tmp_path / "contents").glob("*/*/*"))) == 1


@pytest.mark.parametrize("milliseconds", STEPS)
async def test_a_cancelled_deletion_of_a_corpus_leaves_no_ghosts(core: RetrievalCore, milliseconds: int) -> None:
    await import_text(core, "A text about leave.", "leave")
    request = pb.DeleteCorpusRequest(name="corpora/default", force=True)
    await cancel_after(core.delete_corpus(request, ME), milliseconds)
    there = await exists_after_all(core)
    await import_text(core, "Another text.", "other")
    assert len(await sources(core, "text")) == 1 + there


SLOW = "\n\n".join(f"SLOW paragraph {number} about leave. " + "More words. " * 70 for number in range(100))


def workers() -> list[int]:
    """The worker processes of this service that still run; other tests' servers may have some, too."""
    return [
        each
        for each in tree(os.getpid())[1:]
        if b"workers.process" in command_line(each) and parent_of(each) == os.getpid()
    ]


def parent_of(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return 0


def command_line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


async def being_embedded(core: RetrievalCore) -> None:
    """Returns once a worker embeds the document."""
    async with aclosing(core.watch_document(pb.WatchDocumentRequest(name=NAME), ME)) as events:
        async for event in events:
            if event.progress.stage == document_pb2.DOCUMENT_STAGE_SPLIT:
                return


@pytest.mark.skipif(sys.platform != "linux", reason="finds workers by way of /proc")
async def test_a_document_deleted_while_it_is_read_stops_its_worker_and_leaves_nothing(
    core: RetrievalCore, tmp_path: Path
) -> None:
    await create_document(core, SLOW, "leave")
    await being_embedded(core)
    (worker,) = workers()
    await core.delete_document(pb.DeleteDocumentRequest(name=NAME), ME)
    await until(lambda: worker not in workers())
    with pytest.raises(ResourceNotFound):
        await get_document(core, NAME)
    assert await sources(core, "leave") == []
    assert list((tmp_path / "contents").glob("*/*/*")) == []
    corpus = await core.get_corpus(pb.GetCorpusRequest(name="corpora/default"), ME)
    assert (corpus.document_count, corpus.passage_count) == (0, 0)
    assert (await import_text(core, "A text about leave.", "other")).state == READY


async def test_who_watches_a_document_is_told_that_it_was_deleted(core: RetrievalCore) -> None:
    await create_document(core, SLOW, "leave")
    await being_embedded(core)

    async def delete() -> None:
        await core.delete_document(pb.DeleteDocumentRequest(name=NAME), ME)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(delete)
        with pytest.raises(ResourceNotFound):
            await ended(core, NAME)


@pytest.mark.skipif(sys.platform != "linux", reason="finds workers by way of /proc")
async def test_a_document_replaced_while_it_is_read_stops_its_worker(core: RetrievalCore) -> None:
    await create_document(core, SLOW, "leave")
    await being_embedded(core)
    (worker,) = workers()
    document = await import_text(core, "Another text about leave.", "leave")
    assert (document.state, document.passage_count) == (READY, 1)
    assert worker not in workers()
    assert [source.content for source in await sources(core, "leave")] == ["Another text about leave."]
