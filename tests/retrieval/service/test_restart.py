from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.retrieval.catalog import SqliteCatalog
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
    watch,
)

ROOT = Path(__file__).resolve().parents[3]

# Acknowledges documents on its standard output, one line each, until it is killed.
SERVICE = """
import sys
from pathlib import Path
import anyio
from tests.retrieval.service.support import create_document, serving

async def main(folder, first):
    async with serving(folder) as core:
        for number in range(first, first + 1000):
            await create_document(core, f"Room {number} has {number} chairs.", f"d{number}")
            print("stored", number, flush=True)

anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
"""


def import_until_killed(folder: Path, *, first: int, acknowledged: int) -> list[int]:
    """Runs the service, kills it (-9) once so many documents are acknowledged, and returns all that were."""
    command = [sys.executable, "-c", SERVICE, str(folder), str(first)]
    stored = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as service:
        assert service.stdout is not None
        for line in service.stdout:
            if line.startswith("stored "):
                stored.append(int(line.split()[1]))
                if len(stored) == acknowledged:
                    service.kill()
    return stored


@pytest.mark.anyio
async def test_no_acknowledged_document_is_lost_by_kills_and_unfinished_work_goes_on(tmp_path: Path) -> None:
    chance = random.Random(20261122)  # noqa: S311 (chooses when to kill)
    stored: list[int] = []
    for round_ in range(5):
        stored += import_until_killed(tmp_path, first=1000 * round_, acknowledged=chance.randint(1, 60))
    async with serving(tmp_path, workers=2) as core:
        for number in stored:
            document = await ended(core, f"corpora/default/documents/d{number}")
            assert document.state == READY
        for number in chance.sample(stored, 5):
            name = f"corpora/default/documents/d{number}"
            (source,) = [
                source
                for source in await sources(core, f"Room {number} has {number} chairs")
                if source.document == name
            ]
            assert source.content == f"Room {number} has {number} chairs."
            assert (await download(core, name))[1].data == source.content.encode()


@pytest.mark.anyio
async def test_an_import_under_way_stops_with_the_service_and_goes_on_with_the_next(tmp_path: Path) -> None:
    text = "\n\n".join(f"SLOW paragraph {number}. " + "More words. " * 70 for number in range(20))
    async with serving(tmp_path) as core:
        document = await create_document(core, text, "leave")
        async for event in core.watch_document(pb.WatchDocumentRequest(name=document.name), ME):
            if event.progress.stage == document_pb2.DOCUMENT_STAGE_SPLIT:
                break
    async with SqliteCatalog.open(tmp_path) as catalog:
        job = await catalog.claim_job()
        assert job is not None
        assert (job.crashes, job.interruptions) == (0, 0)
    async with serving(tmp_path) as core:
        assert (await ended(core, document.name)).state == READY


@pytest.mark.anyio
async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path) as core:
        ready = await import_text(core, "Thirty days of leave.", "leave")
        failed = await import_text(core, "", "empty")
        page = await core.list_documents(pb.ListDocumentsRequest(parent="corpora/default", page_size=1), ME)
    async with serving(tmp_path) as core:
        assert await get_document(core, ready.name) == ready
        assert await get_document(core, failed.name) == failed
        assert failed.state == FAILED
        assert [source.document for source in await sources(core, "leave")] == [ready.name]
        request = pb.ListDocumentsRequest(parent="corpora/default", page_token=page.next_page_token)
        assert [document.name for document in (await core.list_documents(request, ME)).documents] == [ready.name]


@pytest.mark.anyio
async def test_a_document_that_always_takes_the_service_with_it_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path) as core:
        await create_document(core, "\n\n".join("SLOW words. " * 80 for _ in range(50)), "poison")
    for _ in range(3):
        async with SqliteCatalog.open(tmp_path) as catalog:
            job = await catalog.claim_job()  # the service ends here, without a farewell
            assert job is not None
            await catalog.recover()
    async with serving(tmp_path, max_interruptions=3) as core:
        events = await watch(core, "corpora/default/documents/poison")
        assert events[-1].document.state == FAILED
        assert "3 times" in events[-1].document.error.message
        assert (await create_document(core, "New words.", "poison2")).state == PENDING
