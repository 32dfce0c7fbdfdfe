from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.errors import (
    AlreadyExists,
    InvalidRequest,
    PreconditionFailed,
    Reason,
    ResourceNotFound,
    ServiceError,
)
from headwater_server.interfaces import Retrieval
from headwater_server.retrieval.opening import open_retrieval
from headwater_server.retrieval.service import RetrievalCore
from tests.retrieval.service.embedders import OtherEmbedder
from tests.retrieval.service.support import (
    ME,
    STRANGER,
    create_corpus,
    create_document,
    ended,
    get_document,
    import_text,
    retrieve,
    serving,
    sources,
)

pytestmark = pytest.mark.anyio


async def get_corpus(core: RetrievalCore, name: str) -> document_pb2.Corpus:
    return await core.get_corpus(pb.GetCorpusRequest(name=name), ME)


async def test_the_core_is_what_the_other_services_expect(core: RetrievalCore) -> None:
    retrieval: Retrieval = core  # which the type checker proves
    assert (await retrieval.list_corpora(pb.ListCorporaRequest(), ME)).corpora == []


async def test_a_corpus_has_the_id_that_its_maker_chose(core: RetrievalCore) -> None:
    corpus = document_pb2.Corpus(name="corpora/ignored", display_name="The handbook", labels={"team": "people"})
    made = await core.create_corpus(pb.CreateCorpusRequest(corpus_id="handbook", corpus=corpus), ME)
    assert made.name == "corpora/handbook"
    assert (made.display_name, dict(made.labels)) == ("The handbook", {"team": "people"})
    assert made.embedder
    assert made.create_time == made.update_time
    assert await get_corpus(core, "corpora/handbook") == made


async def test_a_corpus_without_an_id_gets_one_that_cannot_be_guessed(core: RetrievalCore) -> None:
    first = await core.create_corpus(pb.CreateCorpusRequest(), ME)
    second = await core.create_corpus(pb.CreateCorpusRequest(), ME)
    assert first.name != second.name
    assert len(first.name.removeprefix("corpora/")) == 32


async def test_an_id_that_is_taken_is_refused(core: RetrievalCore) -> None:
    await create_corpus(core, "handbook")
    with pytest.raises(AlreadyExists) as refused:
        await create_corpus(core, "handbook")
    assert refused.value.resource == "corpora/handbook"


async def test_a_request_id_makes_creating_idempotent(core: RetrievalCore) -> None:
    request = pb.CreateCorpusRequest(request_id=str(uuid.uuid4()))
    first = await core.create_corpus(request, ME)
    assert await core.create_corpus(request, ME) == first
    other = pb.CreateCorpusRequest(request_id=request.request_id, corpus_id="other")
    with pytest.raises(ServiceError) as reused:
        await core.create_corpus(other, ME)
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    assert await core.create_corpus(request, STRANGER) != first


async def test_corpora_are_listed_by_name_in_pages(core: RetrievalCore) -> None:
    for corpus_id in ("b", "a", "c"):
        await create_corpus(core, corpus_id)
    await create_corpus(core, "x", caller=STRANGER)
    first = await core.list_corpora(pb.ListCorporaRequest(page_size=2), ME)
    assert [corpus.name for corpus in first.corpora] == ["corpora/a", "corpora/b"]
    rest = await core.list_corpora(pb.ListCorporaRequest(page_size=2, page_token=first.next_page_token), ME)
    assert [corpus.name for corpus in rest.corpora] == ["corpora/c"]
    assert rest.next_page_token == ""
    with pytest.raises(InvalidRequest) as refused:
        await core.list_corpora(pb.ListCorporaRequest(page_token=first.next_page_token), STRANGER)
    assert refused.value.violations[0].field == "page_token"


async def test_a_page_of_large_corpora_ends_at_its_bound(core: RetrievalCore) -> None:
    labels = {f"{number:064}": "v" * 256 for number in range(64)}
    for number in range(160):
        request = pb.CreateCorpusRequest(corpus_id=f"c{number:03}", corpus=document_pb2.Corpus(labels=labels))
        await core.create_corpus(request, ME)
    token, seen = "", []
    while True:
        page = await core.list_corpora(pb.ListCorporaRequest(page_size=1000, page_token=token), ME)
        assert page.ByteSize() <= 3 * 1024 * 1024 + 1024
        seen += [corpus.name for corpus in page.corpora]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"corpora/c{number:03}" for number in range(160)]
    assert len(page.corpora) < 160


@pytest.mark.parametrize(
    ("paths", "display_name", "labels"),
    [
        (None, "new", {"old": "label"}),  # what is set
        (["display_name"], "new", {"old": "label"}),
        (["labels"], "old", {}),
        (["*"], "new", {}),
    ],
)
async def test_an_update_changes_what_its_mask_names(
    core: RetrievalCore, paths: list[str] | None, display_name: str, labels: dict[str, str]
) -> None:
    old = document_pb2.Corpus(display_name="old", labels={"old": "label"})
    await core.create_corpus(pb.CreateCorpusRequest(corpus_id="handbook", corpus=old), ME)
    request = pb.UpdateCorpusRequest(
        corpus=document_pb2.Corpus(name="corpora/handbook", display_name="new"),
        update_mask=FieldMask(paths=paths) if paths is not None else None,
    )
    updated = await core.update_corpus(request, ME)
    assert (updated.display_name, dict(updated.labels)) == (display_name, labels)
    assert updated.update_time.ToMicroseconds() > updated.create_time.ToMicroseconds()
    assert await get_corpus(core, "corpora/handbook") == updated


@pytest.mark.parametrize(
    ("name", "path", "field"),
    [
        ("corpora/handbook", "embedder", "update_mask.paths[0]"),
        ("corpora/handbook", "labels.team", "update_mask.paths[0]"),
        ("handbook", "labels", "corpus.name"),
        ("corpora/handbook/documents/x", "labels", "corpus.name"),
    ],
)
async def test_an_update_that_makes_no_sense_is_refused(core: RetrievalCore, name: str, path: str, field: str) -> None:
    await create_corpus(core, "handbook")
    request = pb.UpdateCorpusRequest(corpus=document_pb2.Corpus(name=name), update_mask=FieldMask(paths=[path]))
    with pytest.raises(InvalidRequest) as refused:
        await core.update_corpus(request, ME)
    assert refused.value.violations[0].field == field


async def test_what_does_not_exist_is_not_found(core: RetrievalCore) -> None:
    name = "corpora/nowhere"
    with pytest.raises(ResourceNotFound):
        await get_corpus(core, name)
    with pytest.raises(ResourceNotFound):
        await core.update_corpus(pb.UpdateCorpusRequest(corpus=document_pb2.Corpus(name=name)), ME)
    with pytest.raises(ResourceNotFound) as missing:
        await core.delete_corpus(pb.DeleteCorpusRequest(name=name), ME)
    assert missing.value.resource == name


async def test_a_corpus_with_documents_is_deleted_by_force_only(core: RetrievalCore) -> None:
    await create_corpus(core, "handbook")
    document = await import_text(core, "Leave is thirty days.", "leave", corpus="handbook")
    with pytest.raises(PreconditionFailed, match="force"):
        await core.delete_corpus(pb.DeleteCorpusRequest(name="corpora/handbook"), ME)
    assert len(await sources(core, "leave", "handbook")) == 1
    await core.delete_corpus(pb.DeleteCorpusRequest(name="corpora/handbook", force=True), ME)
    with pytest.raises(ResourceNotFound):
        await retrieve(core, "leave", "handbook")
    with pytest.raises(ResourceNotFound):
        await get_document(core, document.name)
    await create_corpus(core, "handbook")
    assert await sources(core, "leave", "handbook") == []


async def test_a_corpus_counts_its_documents_and_passages(core: RetrievalCore) -> None:
    await create_corpus(core, "handbook")
    await import_text(core, "Leave is thirty days.", "leave", corpus="handbook")
    broken = await create_document(core, "", "broken", corpus="handbook")
    await ended(core, broken.name)
    corpus = await get_corpus(core, "corpora/handbook")
    assert (corpus.document_count, corpus.passage_count) == (2, 1)


async def test_a_corpus_never_mixes_embedders(tmp_path: Path) -> None:
    async with serving(tmp_path) as core:
        await import_text(core, "Leave is thirty days.", "leave")
    async with open_retrieval(tmp_path, make_embedder=OtherEmbedder) as core:
        with pytest.raises(PreconditionFailed, match="embedder"):
            await retrieve(core, "leave")
        with pytest.raises(PreconditionFailed, match="embedder"):
            await create_document(core, "Other text.", "other")
        assert len(await sources(core, "leave", mode=3)) == 1  # words need no embedder
