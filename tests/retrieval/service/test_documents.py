from __future__ import annotations

import anyio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from headwater.v1 import document_pb2, filter_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.errors import InvalidRequest, ResourceNotFound
from headwater_server.retrieval.service import RetrievalCore
from tests.retrieval.service.support import (
    ME,
    READY,
    STRANGER,
    create_document,
    download,
    ended,
    get_document,
    import_text,
    sha256,
    sources,
    string,
    watch,
)

pytestmark = pytest.mark.anyio

NAME = "corpora/default/documents/leave"


async def list_documents(core: RetrievalCore, **rest: object) -> pb.ListDocumentsResponse:
    return await core.list_documents(pb.ListDocumentsRequest(parent="corpora/default", **rest), ME)  # type: ignore[arg-type]  # fields by name


async def test_documents_are_listed_by_name_in_pages(core: RetrievalCore) -> None:
    for document_id in ("b", "a", "c"):
        await create_document(core, "Text.", document_id)
    first = await list_documents(core, page_size=2)
    assert [document.name.rpartition("/")[2] for document in first.documents] == ["a", "b"]
    rest = await list_documents(core, page_token=first.next_page_token)
    assert [document.name.rpartition("/")[2] for document in rest.documents] == ["c"]
    assert rest.next_page_token == ""


async def test_a_page_of_large_documents_ends_at_its_bound(core: RetrievalCore) -> None:
    metadata = {f"key{number}": string("v" * 1024) for number in range(64)}
    for number in range(60):
        document = document_pb2.Document(metadata=metadata)
        await create_document(core, "Text.", f"d{number:02}", document=document)
    token, seen, pages = "", [], 0
    while True:
        page = await list_documents(core, page_size=1000, page_token=token)
        assert page.ByteSize() <= 3 * 1024 * 1024 + 1024
        seen += [document.name.rpartition("/")[2] for document in page.documents]
        pages += 1
        token = page.next_page_token
        if not token:
            break
    assert pages == 2
    assert seen == [f"d{number:02}" for number in range(60)]


@pytest.mark.parametrize("token", ["x", "!", "AAAA", "ä", "A" * 200])
async def test_a_token_that_is_not_ours_is_refused(core: RetrievalCore, token: str) -> None:
    await create_document(core, "Text.")
    with pytest.raises(InvalidRequest) as refused:
        await list_documents(core, page_token=token)
    assert refused.value.violations[0].field == "page_token"


async def test_a_token_is_good_for_its_own_list_only(core: RetrievalCore) -> None:
    await core.create_corpus(pb.CreateCorpusRequest(corpus_id="other"), ME)
    for document_id in ("a", "b"):
        await create_document(core, "Text.", document_id)
    token = (await list_documents(core, page_size=1)).next_page_token
    tampered = ("B" if token[0] == "A" else "A") + token[1:]
    for request in (
        pb.ListDocumentsRequest(parent="corpora/other", page_token=token),
        pb.ListDocumentsRequest(parent="corpora/default", page_token=tampered),
    ):
        with pytest.raises(InvalidRequest):
            await core.list_documents(request, ME)
    with pytest.raises(InvalidRequest):
        await core.list_corpora(pb.ListCorporaRequest(page_token=token), ME)


async def test_listing_a_corpus_that_does_not_exist_is_not_found(core: RetrievalCore) -> None:
    with pytest.raises(ResourceNotFound):
        await list_documents(core)


async def test_a_title_is_the_callers_or_the_contents_or_the_last_part_of_the_uri(core: RetrievalCore) -> None:
    found = await import_text(
        core, "# Leave of absence\n\nThirty days.", "a", uri="https://x.org/p/leave%20rules.md?v=1"
    )
    assert found.title == "Leave of absence"
    given = await import_text(core, "# Leave of absence\n\nThirty days.", "b", title="Rules", uri="leave.md")
    assert given.title == "Rules"
    named = await create_document(
        core, "Thirty days.", "c", document=document_pb2.Document(uri="https://x.org/p/leave%20rules.txt?v=1")
    )
    assert named.title == "leave rules.txt"


async def test_an_update_changes_what_is_set_and_what_is_found(core: RetrievalCore) -> None:
    await import_text(core, "# Found\n\nThirty days of leave.", "leave", title="Given", uri="leave.md")
    metadata = {"team": string("people"), "year": filter_pb2.MetadataValue(int64_value=2026)}
    updated = await core.update_document(
        pb.UpdateDocumentRequest(document=document_pb2.Document(name=NAME, metadata=metadata)), ME
    )
    assert (updated.title, updated.uri, updated.state) == ("Given", "leave.md", READY)
    (source,) = await sources(core, "leave")
    assert source.metadata["team"] == metadata["team"]
    mask = FieldMask(paths=["title", "metadata"])
    updated = await core.update_document(
        pb.UpdateDocumentRequest(document=document_pb2.Document(name=NAME), update_mask=mask), ME
    )
    assert (updated.title, dict(updated.metadata)) == ("Found", {})
    (source,) = await sources(core, "leave")
    assert (source.title, source.uri, dict(source.metadata)) == ("Found", "leave.md", {})
    assert await get_document(core, NAME) == updated


async def test_an_update_during_the_import_is_not_lost(core: RetrievalCore) -> None:
    text = "# Found\n\n" + "\n\n".join(f"SLOW paragraph {number}. " + "More words. " * 70 for number in range(6))
    await create_document(core, text, "leave", document=document_pb2.Document(uri="leave.md"))
    metadata = {"team": string("people")}
    await core.update_document(
        pb.UpdateDocumentRequest(document=document_pb2.Document(name=NAME, metadata=metadata)), ME
    )
    ready = await ended(core, NAME)
    assert (ready.title, ready.metadata["team"]) == ("Found", string("people"))
    found = await sources(core, "paragraph")
    assert {(source.title, source.metadata["team"].string_value) for source in found} == {("Found", "people")}


@pytest.mark.parametrize(
    ("document", "path", "field"),
    [
        (document_pb2.Document(name=NAME), "media_type", "update_mask.paths[0]"),
        (document_pb2.Document(name="leave"), "title", "document.name"),
    ],
)
async def test_an_update_that_makes_no_sense_is_refused(
    core: RetrievalCore, document: document_pb2.Document, path: str, field: str
) -> None:
    await create_document(core, "Text.", "leave")
    with pytest.raises(InvalidRequest) as refused:
        await core.update_document(pb.UpdateDocumentRequest(document=document, update_mask=FieldMask(paths=[path])), ME)
    assert refused.value.violations[0].field == field


async def test_a_deleted_document_is_no_longer_found(core: RetrievalCore) -> None:
    await import_text(core, "Thirty days of leave.", "leave")
    await import_text(core, "Other words about leave.", "other")
    await core.delete_document(pb.DeleteDocumentRequest(name=NAME), ME)
    assert [source.document for source in await sources(core, "leave")] == ["corpora/default/documents/other"]
    for call in (get_document(core, NAME), download(core, NAME), watch(core, NAME)):
        with pytest.raises(ResourceNotFound):
            await call
    with pytest.raises(ResourceNotFound):
        await core.delete_document(pb.DeleteDocumentRequest(name=NAME), ME)


async def test_a_document_deleted_during_its_import_stays_deleted_and_its_watchers_are_told(
    core: RetrievalCore,
) -> None:
    text = "\n\n".join(f"SLOW paragraph {number}. " + "More words. " * 70 for number in range(50))
    await create_document(core, text, "leave")
    told = anyio.Event()

    async def follow() -> None:
        with pytest.raises(ResourceNotFound):
            await watch(core, NAME)
        told.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        await core.delete_document(pb.DeleteDocumentRequest(name=NAME), ME)
        with anyio.fail_after(30):
            await told.wait()
    assert (await import_text(core, "After that.", "other")).state == READY
    assert [source.content for source in await sources(core, "paragraph")] == ["After that."]


async def test_a_download_is_what_was_uploaded(core: RetrievalCore) -> None:
    text = "".join(f"line {number}\n" for number in range(100_000))
    document = await create_document(core, text, "leave")
    first, *middle, last = await download(core, NAME)
    assert first.document.name == document.name
    assert b"".join(part.data for part in middle) == text.encode()
    assert all(64 * 1024 <= len(part.data) <= 1024 * 1024 for part in middle[:-1])
    assert (last.complete.size_bytes, last.complete.sha256) == (len(text), sha256(text.encode()))


async def test_an_empty_document_is_downloaded_whole(core: RetrievalCore) -> None:
    await create_document(core, "", "leave")
    parts = await download(core, NAME)
    assert [part.WhichOneof("part") for part in parts] == ["document", "complete"]


async def test_another_tenants_documents_do_not_exist(core: RetrievalCore) -> None:
    await import_text(core, "Thirty days of leave.", "leave")
    assert await sources(core, "leave", caller=STRANGER) == []
    for call in (
        get_document(core, NAME, STRANGER),
        download(core, NAME, STRANGER),
        watch(core, NAME, STRANGER),
        core.delete_document(pb.DeleteDocumentRequest(name=NAME), STRANGER),
        core.update_document(pb.UpdateDocumentRequest(document=document_pb2.Document(name=NAME, title="x")), STRANGER),
        core.list_documents(pb.ListDocumentsRequest(parent="corpora/default"), STRANGER),
        core.get_corpus(pb.GetCorpusRequest(name="corpora/default"), STRANGER),
        core.delete_corpus(pb.DeleteCorpusRequest(name="corpora/default", force=True), STRANGER),
    ):
        with pytest.raises(ResourceNotFound):
            await call
    theirs = await import_text(core, "Twenty days of leave.", "leave", caller=STRANGER)
    assert theirs.name == NAME
    assert [source.content for source in await sources(core, "leave")] == ["Thirty days of leave."]
    assert [source.content for source in await sources(core, "leave", caller=STRANGER)] == ["Twenty days of leave."]
