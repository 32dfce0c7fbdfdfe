"""The retrieval service and the list of assistants, through the one address that callers have."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from headwater import AlreadyExists, AsyncClient, FailedPrecondition, InvalidRequest, NotFound, field
from headwater.v1 import document_pb2
from headwater.v1.retrieval_service_pb2 import ImportDocumentHeader, ImportDocumentRequest
from tests.arrangements.processes import TOKEN, Arrangement
from tests.runtime.serving import connected, exhaust, info
from tests.serving import HANDBOOK

pytestmark = pytest.mark.anyio


async def test_corpora_are_created_listed_changed_and_deleted(client: AsyncClient) -> None:
    created = await client.corpora.create("forwarded", display_name="One")
    with pytest.raises(AlreadyExists) as taken:
        await client.corpora.create("forwarded")
    assert taken.value.resource == "corpora/forwarded"
    changed = await client.corpora.update("forwarded", display_name="Two")
    assert (created.display_name, changed.display_name) == ("One", "Two")
    assert "corpora/forwarded" in [corpus.name async for corpus in client.corpora.list(page_size=1)]
    await client.documents.create("some text", corpus="forwarded", document_id="d")
    with pytest.raises(FailedPrecondition):
        await client.corpora.delete("forwarded")
    await client.corpora.delete("forwarded", force=True)
    with pytest.raises(NotFound):
        await client.corpora.get("forwarded")


async def test_a_document_goes_up_is_watched_and_comes_down_byte_for_byte(client: AsyncClient) -> None:
    stages: list[str] = []
    path = HANDBOOK / "equipment.pdf"
    await client.corpora.create("shelf", exist_ok=True)
    imported = await client.documents.import_file(
        path, corpus="shelf", document_id="pdf", on_progress=lambda progress: stages.append(str(progress.stage))
    )
    assert imported.state == document_pb2.DOCUMENT_STATE_READY
    assert imported.passage_count > 0
    assert stages
    assert await client.documents.download("pdf", corpus="shelf") == path.read_bytes()
    pending = await client.documents.create("Yaks eat hay. " * 50, corpus="shelf", document_id="text", title="Yaks")
    watched = await client.documents.watch(pending.name)
    assert watched.state == document_pb2.DOCUMENT_STATE_READY
    updated = await client.documents.update("text", corpus="shelf", metadata={"kind": "yak"})
    assert updated.metadata["kind"].string_value == "yak"
    assert {document.name async for document in client.documents.list("shelf", page_size=1)} == {
        imported.name,
        pending.name,
    }
    found = await client.retrieve("What do yaks eat?", corpus="shelf", filter=field("kind") == "yak", mode="lexical")
    assert {source.document for source in found} == {pending.name}
    await client.documents.delete("text", corpus="shelf")
    with pytest.raises(NotFound) as gone:
        await client.documents.get("text", corpus="shelf")
    assert gone.value.resource == pending.name


async def test_searches_are_forwarded_with_their_statistics_and_errors(client: AsyncClient) -> None:
    found = await client.retrieve("password manager", corpus="handbook", top_k=3)
    assert len(found) == 3
    assert found.statistics.candidates >= 3
    with pytest.raises(InvalidRequest) as invalid:
        await client.retrieve("x", corpus="handbook", mode="lexical", min_score=0.5)
    assert invalid.value.violations
    with pytest.raises(NotFound):
        await client.retrieve("x", corpus="absent")


async def test_a_rule_broken_in_an_upload_is_refused_by_its_field(arrangement: Arrangement) -> None:
    async def requests() -> AsyncIterator[ImportDocumentRequest]:
        yield ImportDocumentRequest(header=ImportDocumentHeader(parent="nowhere", size_bytes=1))

    async with connected(arrangement.target) as stubs:
        call = stubs.retrieval.ImportDocument(requests(), metadata=(("authorization", f"Bearer {TOKEN}"),))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exhaust(call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info(caught.value).metadata["field"] == "header.parent"


async def test_assistants_are_listed(client: AsyncClient) -> None:
    assistants = {assistant.name: assistant async for assistant in client.assistants(page_size=1)}
    assert {"assistants/builtin/extractive", "assistants/scripted/echo"} <= set(assistants)
    assert [name for name, assistant in assistants.items() if assistant.default_assistant] == [
        "assistants/builtin/extractive"
    ]
