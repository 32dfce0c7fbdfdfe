from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from headwater_server.retrieval.catalog import (
    CorpusChanges,
    CorpusMissing,
    CorpusSetup,
    Document,
    DocumentChanges,
    DocumentKey,
    DocumentState,
    EmbedderIdentity,
    Reembedding,
    ReembeddingWork,
    Splitting,
    SqliteCatalog,
    Submission,
)
from headwater_server.retrieval.store.protocol import CorpusKey

pytestmark = pytest.mark.anyio

CORPUS = CorpusKey("acme", "handbook")
OLD = EmbedderIdentity("builtin/e", "e", 4)
NEW = EmbedderIdentity("there/f", "f", 8)


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncGenerator[SqliteCatalog]:
    async with SqliteCatalog.open(tmp_path) as opened:
        await opened.create_corpus(CORPUS, display_name="", labels={}, setup=CorpusSetup(OLD))
        yield opened


def key(document_id: str) -> DocumentKey:
    return DocumentKey("acme", "handbook", document_id)


async def submit(catalog: SqliteCatalog, document_id: str, text: str = "hello") -> Document:
    content = await catalog.stage_content()
    try:
        await content.write(text.encode())
        return (await catalog.accept_document(Submission(key(document_id)), content, replace=True)).document
    finally:
        await content.discard()


async def ready(catalog: SqliteCatalog, document_id: str, text: str = "hello", *, passages: int = 1) -> Document:
    """A document that was submitted and finished."""
    await submit(catalog, document_id, text)
    claimed = await catalog.claim_job()
    assert claimed is not None
    assert await catalog.finish_job(
        claimed.key, claimed.revision, title="", media_type="text/plain", passage_count=passages
    )
    return await get(catalog, document_id)


async def get(catalog: SqliteCatalog, document_id: str) -> Document:
    document = await catalog.get_document(key(document_id))
    assert document is not None
    return document


async def begin(catalog: SqliteCatalog, embedder: EmbedderIdentity = NEW, shadow_id: str = "handbook!1") -> Reembedding:
    return await catalog.begin_reembedding(CORPUS, embedder=embedder, shadow_id=shadow_id)


async def work(catalog: SqliteCatalog, reembedding: Reembedding) -> list[tuple[str, ReembeddingWork]]:
    steps = await catalog.reembedding_steps(reembedding, after="", limit=100)
    return [(step.key.document_id, step.work) for step in steps]


async def progress(catalog: SqliteCatalog) -> tuple[int, int] | None:
    corpus = await catalog.get_corpus(CORPUS)
    assert corpus is not None
    found = corpus.reembedding
    return None if found is None else (found.done_documents, found.document_count)


async def test_every_document_that_is_ready_is_to_be_made_anew(catalog: SqliteCatalog) -> None:
    for name in ("a", "b", "c"):
        await ready(catalog, name, name)
    await submit(catalog, "waiting", "waiting")
    reembedding = await begin(catalog)
    assert reembedding == Reembedding(CORPUS, CorpusKey("acme", "handbook!1"), NEW)
    assert await work(catalog, reembedding) == [(name, ReembeddingWork.REMAKE) for name in ("a", "b", "c")]
    steps = await catalog.reembedding_steps(reembedding, after="a", limit=1)
    assert [step.key.document_id for step in steps] == ["b"]
    assert await progress(catalog) == (0, 4)
    await catalog.record_reembedded(reembedding.shadow, await get(catalog, "a"), passage_count=3)
    assert await progress(catalog) == (1, 4)
    assert await work(catalog, reembedding) == [(name, ReembeddingWork.REMAKE) for name in ("b", "c")]


async def test_what_changes_afterwards_is_work_again(catalog: SqliteCatalog) -> None:
    reembedding = await begin(catalog)
    for name in ("replaced", "described", "deleted", "kept"):
        document = await ready(catalog, name, name)
        await catalog.record_reembedded(reembedding.shadow, document, passage_count=1)
    assert await work(catalog, reembedding) == []
    await ready(catalog, "replaced", "other")
    await catalog.update_document(key("described"), DocumentChanges(title="A title"))
    await catalog.begin_delete_document(key("deleted"))
    expected = [
        ("deleted", ReembeddingWork.REMOVE),
        ("described", ReembeddingWork.DESCRIBE),
        ("replaced", ReembeddingWork.REMAKE),
    ]
    assert await work(catalog, reembedding) == expected
    await catalog.finish_delete_document(key("deleted"))
    assert await work(catalog, reembedding) == expected
    assert not await catalog.begin_takeover(reembedding)
    await catalog.forget_reembedded(reembedding.shadow, "deleted")
    await catalog.record_reembedded(reembedding.shadow, await get(catalog, "described"), passage_count=None)
    await catalog.record_reembedded(reembedding.shadow, await get(catalog, "replaced"), passage_count=1)
    assert await catalog.begin_takeover(reembedding)


async def test_a_document_that_failed_meanwhile_is_removed(catalog: SqliteCatalog) -> None:
    reembedding = await begin(catalog)
    await catalog.record_reembedded(reembedding.shadow, await ready(catalog, "a", "a"), passage_count=1)
    await submit(catalog, "a", "other")
    assert await work(catalog, reembedding) == []  # what is there is found by its earlier content until then
    claimed = await catalog.claim_job()
    assert claimed is not None
    await catalog.fail_job(claimed.key, claimed.revision, error=b"why")
    assert await work(catalog, reembedding) == [("a", ReembeddingWork.REMOVE)]


async def test_nothing_takes_over_while_an_earlier_content_would_go(catalog: SqliteCatalog) -> None:
    await ready(catalog, "a", "a")
    reembedding = await begin(catalog)
    await submit(catalog, "a", "other")
    assert await work(catalog, reembedding) == []
    assert not await catalog.begin_takeover(reembedding)
    claimed = await catalog.claim_job()
    assert claimed is not None
    await catalog.finish_job(claimed.key, claimed.revision, title="", media_type="", passage_count=1)
    await catalog.record_reembedded(reembedding.shadow, await get(catalog, "a"), passage_count=1)
    await submit(catalog, "new", "new")  # nobody finds anything of it yet
    assert await catalog.begin_takeover(reembedding)


async def test_taking_over_gives_the_corpus_the_embedder_and_documents_their_counts(catalog: SqliteCatalog) -> None:
    for name in ("a", "b", "c"):
        await ready(catalog, name, name)
    reembedding = await begin(catalog)
    await catalog.record_reembedded(reembedding.shadow, await get(catalog, "a"), passage_count=5)
    await catalog.record_reembedded(reembedding.shadow, await get(catalog, "b"), passage_count=0, error=b"why")
    await catalog.record_reembedded(reembedding.shadow, await get(catalog, "c"), passage_count=7)
    assert await catalog.begin_takeover(reembedding)
    assert [each.taking_over for each in await catalog.list_reembeddings()] == [True]
    replaced = await submit(catalog, "c", "other")  # what is received meanwhile is not touched
    await catalog.finish_takeover(reembedding)
    await catalog.finish_takeover(reembedding)
    corpus = await catalog.get_corpus(CORPUS)
    assert corpus is not None
    assert corpus.setup.embedder == NEW
    assert (corpus.passage_count, corpus.reembedding) == (5, None)
    failed = await get(catalog, "b")
    assert (failed.state, failed.error, failed.passage_count) == (DocumentState.FAILED, b"why", 0)
    assert await get(catalog, "c") == replaced
    assert await catalog.list_reembeddings() == []
    assert await catalog.given_up_shadows() == []


async def test_the_same_goes_on_and_another_gives_the_first_up(catalog: SqliteCatalog) -> None:
    first = await begin(catalog)
    assert await begin(catalog, shadow_id="handbook!2") == first
    await catalog.record_reembedded(first.shadow, await ready(catalog, "a"), passage_count=1)
    other = await begin(catalog, OLD, "handbook!3")
    assert (other.shadow.corpus_id, other.embedder) == ("handbook!3", OLD)
    assert await catalog.given_up_shadows() == [first.shadow]
    assert not await catalog.record_reembedded(first.shadow, await get(catalog, "a"), passage_count=1)
    assert not await catalog.begin_takeover(first)
    assert await progress(catalog) == (0, 1)
    await catalog.forget_shadow(first.shadow)
    await catalog.forget_shadow(other.shadow)  # which was not given up
    assert await catalog.given_up_shadows() == []
    assert await catalog.list_reembeddings() == [other]


@pytest.mark.parametrize("changes", [CorpusChanges(splitting=Splitting(100, 10)), CorpusChanges(language="de")])
async def test_other_settings_of_the_corpus_begin_it_anew(catalog: SqliteCatalog, changes: CorpusChanges) -> None:
    first = await begin(catalog)
    await catalog.update_corpus(CORPUS, changes)
    assert (await begin(catalog, shadow_id="handbook!2")).shadow != first.shadow


async def test_a_takeover_can_be_taken_back(catalog: SqliteCatalog) -> None:
    reembedding = await begin(catalog)
    assert await catalog.begin_takeover(reembedding)
    assert not await catalog.begin_takeover(reembedding)
    await catalog.cancel_takeover(reembedding.shadow)
    assert await catalog.list_reembeddings() == [reembedding]
    assert await catalog.begin_takeover(reembedding)


async def test_a_corpus_that_is_deleted_gives_its_shadow_up(catalog: SqliteCatalog) -> None:
    reembedding = await begin(catalog)
    await catalog.record_reembedded(reembedding.shadow, await ready(catalog, "a"), passage_count=1)
    await catalog.begin_delete_corpus(CORPUS, force=True)
    await catalog.finish_delete_corpus(CORPUS)
    assert await catalog.given_up_shadows() == [reembedding.shadow]
    with pytest.raises(CorpusMissing):
        await begin(catalog)


async def test_what_was_noted_survives_reopening(tmp_path: Path) -> None:
    async with SqliteCatalog.open(tmp_path) as catalog:
        await catalog.create_corpus(CORPUS, display_name="", labels={}, setup=CorpusSetup(OLD, Splitting(90, 0), "en"))
        reembedding = await begin(catalog)
        await catalog.record_reembedded(reembedding.shadow, await ready(catalog, "a"), passage_count=1)
    async with SqliteCatalog.open(tmp_path) as catalog:
        assert await catalog.list_reembeddings() == [reembedding]
        assert await progress(catalog) == (1, 1)
        assert await catalog.corpus_setup(CORPUS) == CorpusSetup(OLD, Splitting(90, 0), "en")
