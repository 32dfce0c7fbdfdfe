from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest
from google.rpc import error_details_pb2

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.errors import AlreadyExists, InvalidRequest, Overloaded, Reason, ResourceNotFound, ServiceError
from headwater_server.retrieval.service import RetrievalCore
from tests.retrieval.service.support import (
    FAILED,
    ME,
    PENDING,
    READY,
    create_corpus,
    create_document,
    download,
    ended,
    get_document,
    header,
    import_events,
    import_text,
    retrieve,
    serving,
    sha256,
    sources,
    upload,
    watch,
)

pytestmark = pytest.mark.anyio

TEXT = b"Every employee has thirty days of leave a year.\n"
STAGES = [
    document_pb2.DOCUMENT_STAGE_RECEIVED,
    document_pb2.DOCUMENT_STAGE_PARSED,
    document_pb2.DOCUMENT_STAGE_SPLIT,
    document_pb2.DOCUMENT_STAGE_EMBEDDED,
    document_pb2.DOCUMENT_STAGE_STORED,
]


async def test_an_upload_reports_bytes_then_stages_then_the_document(core: RetrievalCore) -> None:
    document = document_pb2.Document(title="Leave", uri="https://example.com/leave.md")
    events = await import_events(core, header(TEXT, "leave", document=document), TEXT[:10], TEXT[10:])
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["committed_bytes"] * 2 + ["progress"] * 5 + ["document"]
    assert [event.committed_bytes for event in events[:2]] == [0, len(TEXT)]
    assert [event.progress.stage for event in events[2:7]] == STAGES
    assert events[5].progress.embedded_passages == events[5].progress.passage_count == 1
    ready = events[-1].document
    assert ready.name == "corpora/default/documents/leave"
    assert (ready.state, ready.title, ready.media_type) == (READY, "Leave", "text/markdown")
    assert (ready.size_bytes, ready.sha256) == (len(TEXT), sha256(TEXT))
    assert ready.passage_count == 1
    assert not ready.HasField("error")
    assert not ready.HasField("progress")
    assert await get_document(core, ready.name) == ready


async def test_large_content_is_committed_step_by_step(core: RetrievalCore) -> None:
    pieces = [b"one line of some text or other\n" * 20_000] * 5
    content = b"".join(pieces)
    responses = core.import_document(upload(header(content, sha256=sha256(content)), *pieces), ME)
    committed = []
    async with aclosing(responses):
        async for response in responses:
            if response.WhichOneof("event") != "committed_bytes":
                break
            committed.append(response.committed_bytes)
    assert committed == [0, 2 * len(pieces[0]), 4 * len(pieces[0]), len(content)]


async def test_the_default_corpus_is_made_by_the_first_document_and_no_other_is(core: RetrievalCore) -> None:
    with pytest.raises(ResourceNotFound):
        await core.get_corpus(pb.GetCorpusRequest(name="corpora/default"), ME)
    await import_text(core, "Text.")
    assert (await core.get_corpus(pb.GetCorpusRequest(name="corpora/default"), ME)).document_count == 1
    with pytest.raises(ResourceNotFound) as missing:
        await import_text(core, "Text.", corpus="nowhere")
    assert missing.value.resource == "corpora/nowhere"
    with pytest.raises(ResourceNotFound):
        await create_document(core, "Text.", corpus="nowhere")


async def test_a_document_without_an_id_gets_one(core: RetrievalCore) -> None:
    first, second = await import_text(core, "Text."), await import_text(core, "Text.")
    assert first.name != second.name
    assert len(first.name.rpartition("/")[2]) == 32


async def requests(*messages: pb.ImportDocumentRequest) -> AsyncGenerator[pb.ImportDocumentRequest]:
    for message in messages:
        yield message


async def exhaust(responses: AsyncGenerator[pb.ImportDocumentResponse]) -> None:
    async with aclosing(responses):
        async for _ in responses:
            pass


HEADER = pb.ImportDocumentRequest(header=header(TEXT, "leave"))
DATA = pb.ImportDocumentRequest(data=TEXT)


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "header"),
        ([DATA], "header"),
        ([HEADER, HEADER], "header"),
        ([HEADER, DATA, HEADER], "header"),
        ([HEADER], "header.size_bytes"),
        ([HEADER, DATA, DATA], "header.size_bytes"),
        ([HEADER, pb.ImportDocumentRequest(data=TEXT[1:])], "header.size_bytes"),
        ([pb.ImportDocumentRequest(header=header(TEXT, "leave", sha256="0" * 64)), DATA], "header.sha256"),
    ],
)
async def test_an_upload_that_is_not_as_it_must_be_is_refused_and_leaves_nothing(
    core: RetrievalCore, tmp_path: Path, messages: list[pb.ImportDocumentRequest], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await exhaust(core.import_document(requests(*messages), ME))
    assert refused.value.violations[0].field == field
    with pytest.raises(ResourceNotFound):
        await get_document(core, "corpora/default/documents/leave")
    assert list((tmp_path / "uploads").iterdir()) == []
    assert list((tmp_path / "contents").glob("*/*/*")) == []


async def test_content_that_is_too_large_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with serving(tmp_path, max_document_bytes=100) as core:
        for call in (
            import_events(core, header(b"", size_bytes=101)),
            create_document(core, "x" * 101),
        ):
            with pytest.raises(ServiceError) as refused:
                await call
            assert refused.value.reason is Reason.DOCUMENT_TOO_LARGE
            assert refused.value.metadata["maximum_bytes"] == "100"


async def test_a_silent_upload_is_ended(tmp_path: Path) -> None:
    async def begin() -> AsyncGenerator[pb.ImportDocumentRequest]:
        yield HEADER
        await anyio.sleep_forever()

    async with serving(tmp_path, upload_silence_seconds=0.05) as core:
        with pytest.raises(ServiceError) as stalled:
            await exhaust(core.import_document(begin(), ME))
        assert stalled.value.reason is Reason.STREAM_STALLED
        assert list((tmp_path / "uploads").iterdir()) == []


async def test_more_uploads_than_there_may_be_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, max_uploads=1) as core:
        async with aclosing(core.import_document(upload(header(TEXT), TEXT), ME)) as first:
            assert (await anext(first)).committed_bytes == 0
            with pytest.raises(Overloaded) as refused:
                await import_events(core, header(TEXT), TEXT)
            assert refused.value.retry_after is not None
        assert (await import_events(core, header(TEXT), TEXT))[-1].document.state == READY


async def test_more_documents_than_may_wait_are_refused_until_there_are_fewer(tmp_path: Path) -> None:
    async with serving(tmp_path, max_waiting_documents=2) as core:
        slow = "\n\n".join("SLOW words. " * 80 for _ in range(10))
        accepted: list[str] = []

        async def create_many() -> None:
            for number in range(10):
                document = await create_document(core, slow, f"d{number}")
                accepted.append(document.name)

        with pytest.raises(Overloaded) as refused:
            await create_many()
        assert refused.value.retry_after is not None
        assert refused.value.metadata == {"limit": "waiting documents", "maximum": "2"}
        with pytest.raises(Overloaded):
            await import_text(core, "New words.", "new")
        assert list((tmp_path / "uploads").iterdir()) == []
        assert (await create_document(core, slow, "d0")).name == accepted[0], "what is there already is no more work"
        for name in accepted:
            assert (await ended(core, name)).state == READY
        assert (await import_text(core, "New words.", "new")).state == READY


async def test_a_document_for_which_the_disk_has_no_room_is_refused_before_it_is_sent(
    core: RetrievalCore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = b"The office has a green door."
    kept = await import_text(core, old.decode(), "kept")
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(ServiceError) as refused:
            await import_events(core, header(TEXT, "leave"))
        assert (refused.value.reason, refused.value.metadata) == (Reason.QUOTA_EXCEEDED, {"quota": "disk"})
        with pytest.raises(ServiceError) as refused:
            await create_document(core, TEXT.decode(), "leave")
        assert refused.value.reason is Reason.QUOTA_EXCEEDED
        changed = pb.UpdateDocumentRequest(document=document_pb2.Document(name=kept.name, title="Another title"))
        with pytest.raises(ServiceError) as refused:
            await core.update_document(changed, ME)
        assert refused.value.reason is Reason.QUOTA_EXCEEDED
        assert (await import_events(core, header(old, "kept", sha256=sha256(old))))[-1].document == kept
        assert len(await sources(core, "door")) == 1
    assert list((tmp_path / "uploads").iterdir()) == []
    assert (await import_text(core, TEXT.decode(), "leave")).state == READY


async def test_every_watcher_is_told_every_stage(core: RetrievalCore) -> None:
    slow = "\n\n".join(f"SLOW paragraph {number}. " + "More words. " * 70 for number in range(40))
    document = await create_document(core, slow)
    seen: list[list[pb.WatchDocumentResponse]] = []

    async def follow() -> None:
        seen.append(await watch(core, document.name))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(follow)
    assert len(seen) == 100
    for events in seen:
        stages = [event.progress.stage for event in events[:-1]]
        assert stages == sorted(stages)
        assert set(stages) == set(STAGES)
        assert events[-1].document.state == READY


async def test_more_watchers_than_there_may_be_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, max_watchers=1) as core:
        ready = await import_text(core, TEXT.decode(), "leave")
        slow = await create_document(core, "\n\n".join("SLOW words. " * 80 for _ in range(40)))
        async with aclosing(core.watch_document(pb.WatchDocumentRequest(name=slow.name), ME)) as first:
            await anext(first)
            with pytest.raises(Overloaded) as refused:
                await watch(core, ready.name)
            assert refused.value.retry_after is not None
            with pytest.raises(Overloaded):
                await import_text(core, "New words.", "new")
        assert (await watch(core, ready.name))[-1].document == ready


async def test_the_same_content_again_does_nothing_and_need_not_be_sent(core: RetrievalCore) -> None:
    first = await import_text(core, TEXT.decode(), "leave", title="one")
    again = await import_events(
        core, header(TEXT, "leave", sha256=sha256(TEXT).upper(), document=document_pb2.Document(title="two"))
    )
    assert again[0].committed_bytes == len(TEXT)
    assert again[-1].document == first
    without_checksum = await import_text(core, TEXT.decode(), "leave", title="two")
    assert without_checksum == first


async def test_a_failed_document_is_tried_again_with_the_same_content(core: RetrievalCore) -> None:
    first = await import_text(core, "   \n", "leave")
    assert first.state == FAILED
    events = await import_events(core, header(b"   \n", "leave", sha256=sha256(b"   \n")), b"   \n")
    assert events[0].committed_bytes == 0
    again = events[-1].document
    assert again.state == FAILED
    assert again.update_time.ToMicroseconds() > first.update_time.ToMicroseconds()


async def test_other_content_takes_the_place_of_the_old(core: RetrievalCore) -> None:
    await import_text(core, "The office has a green door.", "leave", uri="a.txt")
    second = await import_text(core, "The office has a red door.", "leave")
    assert second.state == READY
    assert second.uri == ""
    found = await sources(core, "which colour is the door of the office?")
    assert [source.content for source in found] == ["The office has a red door."]
    assert [part.data for part in await download(core, second.name) if part.data] == [b"The office has a red door."]


async def test_the_old_passages_are_found_until_the_new_are_ready(core: RetrievalCore) -> None:
    await import_text(core, "The office has a green door.", "leave")
    slow = "\n\n".join(f"SLOW paragraph {number} about the red door. " + "More words. " * 70 for number in range(20))
    async with aclosing(core.import_document(upload(header(slow.encode(), "leave"), slow.encode()), ME)) as events:
        async for event in events:
            if event.progress.stage == document_pb2.DOCUMENT_STAGE_SPLIT:
                break
    assert [source.content for source in await sources(core, "door")] == ["The office has a green door."]
    assert (await ended(core, "corpora/default/documents/leave")).state == READY
    assert all("SLOW" in source.content for source in await sources(core, "door"))


async def test_content_that_fails_takes_the_old_passages_with_it(core: RetrievalCore) -> None:
    await import_text(core, "The office has a green door.", "leave")
    failed = await import_text(core, "   ", "leave")
    assert failed.state == FAILED
    assert failed.passage_count == 0
    assert await sources(core, "door") == []


async def test_work_outdated_by_other_content_is_thrown_away(core: RetrievalCore) -> None:
    slow = "\n\n".join(f"SLOW paragraph {number} about the green door. " + "More words. " * 70 for number in range(50))
    await create_document(core, slow, "leave")
    async with aclosing(
        core.watch_document(pb.WatchDocumentRequest(name="corpora/default/documents/leave"), ME)
    ) as events:
        async for event in events:
            if event.progress.stage == document_pb2.DOCUMENT_STAGE_PARSED:
                break
    replaced = await import_text(core, "The office has a red door.", "leave")
    assert (replaced.state, replaced.passage_count) == (READY, 1)
    assert [source.content for source in await sources(core, "door")] == ["The office has a red door."]


async def test_a_caller_who_leaves_before_the_end_leaves_nothing(core: RetrievalCore, tmp_path: Path) -> None:
    async def stuck() -> AsyncGenerator[pb.ImportDocumentRequest]:
        yield HEADER
        yield pb.ImportDocumentRequest(data=TEXT[:5])
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(exhaust, core.import_document(stuck(), ME))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert list((tmp_path / "uploads").iterdir()) == []
    with pytest.raises(ResourceNotFound):
        await get_document(core, "corpora/default/documents/leave")


async def test_a_caller_who_leaves_once_the_content_is_complete_does_not_stop_the_work(core: RetrievalCore) -> None:
    async with aclosing(core.import_document(upload(header(TEXT, "leave"), TEXT), ME)) as responses:
        async for response in responses:
            if response.WhichOneof("event") == "progress":
                break
    document = await ended(core, "corpora/default/documents/leave")
    assert document.state == READY
    assert len(await sources(core, "leave")) == 1


async def test_a_request_id_makes_uploading_idempotent(core: RetrievalCore) -> None:
    request_id = str(uuid.uuid4())
    first = await import_events(core, header(TEXT, request_id=request_id), TEXT)
    again = await import_events(core, header(TEXT, request_id=request_id), TEXT)
    assert again[-1] == first[-1]
    with pytest.raises(ServiceError) as reused:
        await import_events(core, header(TEXT, "other", request_id=request_id), TEXT)
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    other = TEXT.upper()
    with pytest.raises(ServiceError) as reused:
        await import_events(core, header(other, request_id=request_id), other)
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    assert await get_document(core, first[-1].document.name) == first[-1].document


async def test_a_created_document_is_durable_and_told_of_by_a_watch(core: RetrievalCore) -> None:
    created = await create_document(core, TEXT.decode(), "leave")
    assert created.state == PENDING
    events = await watch(core, created.name)
    stages = [event.progress.stage for event in events[:-1]]
    assert stages == STAGES[-len(stages) :]
    assert events[-1].document.state == READY
    assert events[-1].document == await get_document(core, created.name)


async def test_watching_what_is_done_says_so_at_once(core: RetrievalCore) -> None:
    ready = await import_text(core, TEXT.decode(), "leave")
    first, last = await watch(core, ready.name)
    assert first.progress.stage == document_pb2.DOCUMENT_STAGE_STORED
    assert (first.progress.embedded_passages, first.progress.passage_count) == (1, 1)
    assert last.document == ready
    with pytest.raises(ResourceNotFound):
        await watch(core, "corpora/default/documents/nothing")


async def test_creating_the_same_document_again_returns_it(core: RetrievalCore) -> None:
    ready = await import_text(core, TEXT.decode(), "leave")
    assert await create_document(core, TEXT.decode(), "leave") == ready


async def test_creating_a_document_does_not_replace_another(core: RetrievalCore, tmp_path: Path) -> None:
    ready = await import_text(core, TEXT.decode(), "leave")
    with pytest.raises(AlreadyExists) as refused:
        await create_document(core, "Other text.", "leave")
    assert refused.value.resource == ready.name
    assert await get_document(core, ready.name) == ready
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_a_request_id_makes_creating_a_document_idempotent(core: RetrievalCore) -> None:
    request_id = str(uuid.uuid4())
    first = await create_document(core, "Text.", request_id=request_id)
    again = await create_document(core, "Text.", request_id=request_id)
    assert again.name == first.name
    with pytest.raises(ServiceError) as reused:
        await create_document(core, "Other.", request_id=request_id)
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    await core.delete_document(pb.DeleteDocumentRequest(name=first.name), ME)
    with pytest.raises(ResourceNotFound):
        await create_document(core, "Text.", request_id=request_id)


async def test_metadata_without_a_meaning_is_refused(core: RetrievalCore) -> None:
    document = document_pb2.Document()
    document.metadata["when"].timestamp_value.seconds = 10**15
    with pytest.raises(InvalidRequest) as refused:
        await core.create_document(
            pb.CreateDocumentRequest(parent="corpora/default", content=TEXT, document=document), ME
        )
    assert refused.value.violations[0].field == "document.metadata['when']"


@pytest.mark.parametrize(
    ("content", "uri", "reason", "code"),
    [
        (b"", "", "DOCUMENT_UNREADABLE", 9),
        (b"%PDF-1.7 broken", "a.pdf", "DOCUMENT_UNREADABLE", 9),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "a.png", "DOCUMENT_UNSUPPORTED", 3),
    ],
)
async def test_what_cannot_be_read_fails_with_its_reason(
    core: RetrievalCore, content: bytes, uri: str, reason: str, code: int
) -> None:
    pieces = [content] if content else []
    events = await import_events(core, header(content, "x", document=document_pb2.Document(uri=uri)), *pieces)
    document = events[-1].document
    assert document.state == FAILED
    assert document.error.code == code
    assert document.error.message
    info = error_details_pb2.ErrorInfo()
    assert document.error.details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason, "headwater")
    assert info.metadata["document"] == document.name


async def test_many_documents_at_once_are_all_imported(core: RetrievalCore) -> None:
    await create_corpus(core, "many")

    async def import_one(number: int) -> None:
        await import_text(core, f"Room {number} is number {number}.", f"d{number}", corpus="many")

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(import_one, number)
    corpus = await core.get_corpus(pb.GetCorpusRequest(name="corpora/many"), ME)
    assert (corpus.document_count, corpus.passage_count) == (30, 30)
    statistics = (await retrieve(core, "room", "many", top_k=100))[-1].statistics
    assert statistics.candidates == 30
