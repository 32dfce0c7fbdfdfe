from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from headwater_server.retrieval.catalog import (
    Accepted,
    BeingDeleted,
    CatalogFull,
    CatalogNewerError,
    CorpusChanges,
    CorpusExists,
    CorpusMissing,
    CorpusNotEmpty,
    CorpusSetup,
    Document,
    DocumentChanges,
    DocumentKey,
    DocumentMissing,
    DocumentState,
    EmbedderIdentity,
    OtherContent,
    RequestIdReused,
    RequestMark,
    SqliteCatalog,
    Submission,
    requests,
    rows,
)
from headwater_server.retrieval.catalog.contents import ContentFolder
from headwater_server.retrieval.catalog.database import Database
from headwater_server.retrieval.catalog.schema import MIGRATIONS, ensure_settings, migrate
from headwater_server.retrieval.store.protocol import CorpusKey

pytestmark = pytest.mark.anyio

CORPUS = CorpusKey("acme", "handbook")
SETUP = CorpusSetup(EmbedderIdentity("builtin/e", "e", 4))
KEY = DocumentKey("acme", "handbook", "leave")
OTHER_KEY = DocumentKey("acme", "handbook", "other")


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncGenerator[SqliteCatalog]:
    async with SqliteCatalog.open(tmp_path) as opened:
        await opened.create_corpus(CORPUS, display_name="", labels={}, setup=SETUP)
        yield opened


async def submit(
    catalog: SqliteCatalog,
    data: bytes = b"hello",
    *,
    key: DocumentKey = KEY,
    title: str = "",
    replace: bool = True,
    mark: RequestMark | None = None,
) -> Accepted:
    content = await catalog.stage_content()
    try:
        await content.write(data)
        return await catalog.accept_document(Submission(key, title=title), content, replace=replace, mark=mark)
    finally:
        await content.discard()


async def claim(catalog: SqliteCatalog) -> Document:
    document = await catalog.claim_job()
    assert document is not None
    return document


async def make_ready(catalog: SqliteCatalog) -> None:
    document = await claim(catalog)
    done = await catalog.finish_job(
        document.key, document.revision, title="t", media_type="text/plain", passage_count=3
    )
    assert done


def contents_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "contents").glob("*/*/*"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_an_accepted_document_is_pending_and_its_bytes_are_in_a_file_named_by_them(
    catalog: SqliteCatalog, tmp_path: Path
) -> None:
    accepted = await submit(catalog, title="Leave")
    assert accepted.changed
    assert accepted.document.state is DocumentState.PENDING
    assert accepted.document.title == "Leave"
    assert (accepted.document.size_bytes, accepted.document.sha256) == (5, sha256(b"hello"))
    assert catalog.content_path(accepted.document.content).read_bytes() == b"hello"
    assert contents_in(tmp_path) == [sha256(b"hello")]
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_what_was_accepted_is_there_after_reopening(tmp_path: Path) -> None:
    async with SqliteCatalog.open(tmp_path) as catalog:
        await catalog.create_corpus(CORPUS, display_name="The handbook", labels={"a": "ä"}, setup=SETUP)
        accepted = await submit(catalog)
        key = catalog.token_key
    async with SqliteCatalog.open(tmp_path) as catalog:
        assert await catalog.get_document(KEY) == accepted.document
        corpus = await catalog.get_corpus(CORPUS)
        assert corpus is not None
        assert (corpus.display_name, corpus.labels, corpus.document_count) == ("The handbook", {"a": "ä"}, 1)
        assert catalog.token_key == key


async def test_the_same_content_again_changes_nothing(catalog: SqliteCatalog) -> None:
    first = await submit(catalog, title="one")
    again = await submit(catalog, title="two")
    assert not again.changed
    assert again.document == first.document


async def test_the_same_content_is_tried_again_where_the_document_is_failed(catalog: SqliteCatalog) -> None:
    await submit(catalog)
    job = await claim(catalog)
    assert await catalog.fail_job(KEY, job.revision, error=b"why")
    again = await submit(catalog, title="two")
    assert again.changed
    assert (again.document.state, again.document.error, again.document.title) == (DocumentState.PENDING, b"", "two")
    assert again.document.revision > job.revision


async def test_other_content_replaces_the_old_and_its_file(catalog: SqliteCatalog, tmp_path: Path) -> None:
    first = await submit(catalog)
    await make_ready(catalog)
    second = await submit(catalog, b"other")
    assert second.changed
    assert second.document.state is DocumentState.PENDING
    assert second.document.passage_count == 0
    assert second.document.create_time == first.document.create_time
    assert contents_in(tmp_path) == [sha256(b"other")]


async def test_other_content_is_refused_where_it_must_not_replace(catalog: SqliteCatalog, tmp_path: Path) -> None:
    first = await submit(catalog)
    with pytest.raises(OtherContent):
        await submit(catalog, b"other", replace=False)
    assert await catalog.get_document(KEY) == first.document
    assert contents_in(tmp_path) == [sha256(b"hello")]


async def test_a_content_of_two_documents_stays_until_both_are_gone(catalog: SqliteCatalog, tmp_path: Path) -> None:
    await submit(catalog)
    await submit(catalog, key=OTHER_KEY)
    for key, left in ((KEY, 1), (OTHER_KEY, 0)):
        await catalog.begin_delete_document(key)
        await catalog.finish_delete_document(key)
        assert len(contents_in(tmp_path)) == left


async def test_tenants_share_neither_rows_nor_files(catalog: SqliteCatalog, tmp_path: Path) -> None:
    stranger = CorpusKey("globex", "handbook")
    await catalog.create_corpus(stranger, display_name="", labels={}, setup=SETUP)
    await submit(catalog)
    theirs = DocumentKey("globex", "handbook", "leave")
    assert await catalog.get_document(theirs) is None
    await submit(catalog, key=theirs)
    assert len(contents_in(tmp_path)) == 2
    await catalog.begin_delete_corpus(CORPUS, force=True)
    await catalog.finish_delete_corpus(CORPUS)
    assert await catalog.get_document(theirs) is not None
    assert [corpus.key for corpus in await catalog.list_corpora("globex", after="", limit=9)] == [stranger]
    assert await catalog.list_corpora("acme", after="", limit=9) == []
    assert len(contents_in(tmp_path)) == 1


async def test_a_document_needs_its_corpus(catalog: SqliteCatalog, tmp_path: Path) -> None:
    with pytest.raises(CorpusMissing):
        await submit(catalog, key=DocumentKey("acme", "nowhere", "leave"))
    assert contents_in(tmp_path) == []


async def test_discarded_content_leaves_nothing(catalog: SqliteCatalog, tmp_path: Path) -> None:
    content = await catalog.stage_content()
    await content.write(b"x" * 100)
    await content.discard()
    await content.discard()
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_opening_removes_what_a_crash_has_left(tmp_path: Path) -> None:
    async with SqliteCatalog.open(tmp_path) as catalog:
        await catalog.create_corpus(CORPUS, display_name="", labels={}, setup=SETUP)
        accepted = await submit(catalog)
        kept = catalog.content_path(accepted.document.content)
        (kept.parent / ("0" * 64)).write_bytes(b"placed, and never committed")
        (tmp_path / "uploads" / "left").write_bytes(b"half an upload")
    async with SqliteCatalog.open(tmp_path):
        assert contents_in(tmp_path) == [sha256(b"hello")]
        assert list((tmp_path / "uploads").iterdir()) == []


async def test_a_full_disk_is_reported_and_changes_nothing(
    catalog: SqliteCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await submit(catalog)

    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_room)
        with pytest.raises(CatalogFull):
            await submit(catalog, b"other")
    assert await catalog.get_document(KEY) == first.document
    assert contents_in(tmp_path) == [sha256(b"hello")]
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_a_full_database_is_reported_and_leaves_no_file(tmp_path: Path) -> None:
    database = Database(tmp_path / "catalog.sqlite")
    migrate(database.writer)
    catalog = SqliteCatalog(database, ContentFolder(tmp_path), token_key=ensure_settings(database.writer))
    await catalog.create_corpus(CORPUS, display_name="", labels={}, setup=SETUP)
    pages = database.writer.execute("PRAGMA page_count").fetchone()[0]
    database.writer.execute(f"PRAGMA max_page_count = {pages}")
    content = await catalog.stage_content()
    await content.write(b"hello")
    with pytest.raises(CatalogFull):
        await catalog.accept_document(Submission(KEY, metadata=b"m" * 1_000_000), content, replace=True)
    await content.discard()
    assert await catalog.get_document(KEY) is None
    assert contents_in(tmp_path) == []
    database.close()


async def test_a_corpus_is_made_once(catalog: SqliteCatalog) -> None:
    with pytest.raises(CorpusExists):
        await catalog.create_corpus(CORPUS, display_name="", labels={}, setup=SETUP)


async def test_a_request_id_returns_the_corpus_that_it_made(catalog: SqliteCatalog) -> None:
    mark = RequestMark("r1", "f", "corpora/new")
    made = await catalog.create_corpus(CorpusKey("acme", "new"), display_name="", labels={}, setup=SETUP, mark=mark)
    again = await catalog.create_corpus(
        CorpusKey("acme", "another"),
        display_name="",
        labels={},
        setup=SETUP,
        mark=RequestMark("r1", "f", "corpora/another"),
    )
    assert again == made
    assert await catalog.get_corpus(CorpusKey("acme", "another")) is None
    with pytest.raises(RequestIdReused):
        await catalog.create_corpus(
            CorpusKey("acme", "x"), display_name="", labels={}, setup=SETUP, mark=RequestMark("r1", "g", "corpora/x")
        )


async def test_a_request_id_returns_the_document_that_it_made(catalog: SqliteCatalog) -> None:
    mark = RequestMark("r1", "f", "corpora/handbook/documents/leave")
    first = await submit(catalog, mark=mark)
    again = await submit(catalog, key=OTHER_KEY, mark=RequestMark("r1", "f", "corpora/handbook/documents/other"))
    assert again == Accepted(first.document, changed=False)
    assert await catalog.get_document(OTHER_KEY) is None
    assert await catalog.find_request("acme", "r1") == mark
    assert await catalog.find_request("globex", "r1") is None
    with pytest.raises(RequestIdReused):
        await submit(catalog, b"other", mark=mark)
    await catalog.begin_delete_document(KEY)
    await catalog.finish_delete_document(KEY)
    with pytest.raises(DocumentMissing):
        await submit(catalog, mark=mark)


async def test_a_request_id_is_forgotten_after_an_hour(catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = RequestMark("r1", "f", "corpora/handbook/documents/leave")
    await submit(catalog, mark=mark)
    monkeypatch.setattr(requests, "now", lambda: rows.now() + 3599 * 1_000_000)
    assert await catalog.find_request("acme", "r1") == mark
    monkeypatch.setattr(requests, "now", lambda: rows.now() + 3601 * 1_000_000)
    assert await catalog.find_request("acme", "r1") is None
    again = await submit(catalog, b"other", mark=RequestMark("r1", "g", mark.resource))
    assert again.changed


async def test_jobs_are_claimed_once_the_oldest_first(catalog: SqliteCatalog) -> None:
    keys = [DocumentKey("acme", "handbook", name) for name in ("c", "a", "b")]
    for key in keys:
        await submit(catalog, key=key)
    claimed = [(await claim(catalog)).key for _ in keys]
    assert claimed == keys
    assert await catalog.claim_job() is None


async def test_a_job_that_cost_a_worker_waits_for_those_that_did_not(catalog: SqliteCatalog) -> None:
    await submit(catalog)
    job = await claim(catalog)
    returned = await catalog.return_job(KEY, job.revision, crashed=True)
    assert returned is not None
    assert (returned.state, returned.crashes) == (DocumentState.PENDING, 1)
    await submit(catalog, key=OTHER_KEY)
    assert [(await claim(catalog)).key, (await claim(catalog)).key] == [OTHER_KEY, KEY]


async def test_the_result_of_an_outdated_job_is_dropped(catalog: SqliteCatalog) -> None:
    await submit(catalog)
    job = await claim(catalog)
    replaced = await submit(catalog, b"other")
    assert not await catalog.finish_job(KEY, job.revision, title="", media_type="", passage_count=1)
    assert not await catalog.fail_job(KEY, job.revision, error=b"why")
    assert await catalog.return_job(KEY, job.revision, crashed=True) is None
    assert await catalog.get_document(KEY) == replaced.document


async def test_a_deleted_and_made_again_document_is_not_mistaken_for_the_old(catalog: SqliteCatalog) -> None:
    await submit(catalog)
    job = await claim(catalog)
    await catalog.begin_delete_document(KEY)
    await catalog.finish_delete_document(KEY)
    await submit(catalog)
    await claim(catalog)
    assert not await catalog.finish_job(KEY, job.revision, title="", media_type="", passage_count=1)


async def test_jobs_under_way_are_pending_again_after_a_crash(tmp_path: Path) -> None:
    async with SqliteCatalog.open(tmp_path) as catalog:
        await catalog.create_corpus(CORPUS, display_name="", labels={}, setup=SETUP)
        await submit(catalog)
        await claim(catalog)
    async with SqliteCatalog.open(tmp_path) as catalog:
        await catalog.recover()
        document = await claim(catalog)
        assert (document.interruptions, document.crashes) == (1, 0)


async def test_what_is_being_deleted_is_out_of_sight_and_named_after_a_crash(tmp_path: Path) -> None:
    gone = CorpusKey("acme", "gone")
    async with SqliteCatalog.open(tmp_path) as catalog:
        for key in (CORPUS, gone):
            await catalog.create_corpus(key, display_name="", labels={}, setup=SETUP)
        for document in (KEY, OTHER_KEY, DocumentKey("acme", "gone", "x")):
            await submit(catalog, key=document)
        await catalog.begin_delete_document(KEY)
        await catalog.begin_delete_corpus(gone, force=True)
        await catalog.update_document(OTHER_KEY, DocumentChanges(title="new"))
    async with SqliteCatalog.open(tmp_path) as catalog:
        unfinished = await catalog.recover()
        assert unfinished.deleted_corpora == [gone]
        assert unfinished.deleted_documents == [KEY]
        assert [document.title for document in unfinished.updated_documents] == ["new"]
        assert await catalog.get_document(KEY) is None
        assert await catalog.get_corpus(gone) is None
        with pytest.raises(BeingDeleted):
            await submit(catalog)
        with pytest.raises(BeingDeleted):
            await catalog.create_corpus(gone, display_name="", labels={}, setup=SETUP)
        corpus = await catalog.get_corpus(CORPUS)
        assert corpus is not None
        assert corpus.document_count == 1
        await catalog.mark_stored(unfinished.updated_documents[0])
        assert (await catalog.recover()).updated_documents == []


async def test_a_corpus_with_documents_is_deleted_by_force_only(catalog: SqliteCatalog) -> None:
    await submit(catalog)
    with pytest.raises(CorpusNotEmpty) as refused:
        await catalog.begin_delete_corpus(CORPUS, force=False)
    assert refused.value.documents == 1
    assert await catalog.get_document(KEY) is not None
    with pytest.raises(CorpusMissing):
        await catalog.begin_delete_corpus(CorpusKey("acme", "nowhere"), force=True)


async def test_finishing_a_deletion_spares_what_is_in_sight(catalog: SqliteCatalog) -> None:
    await submit(catalog)
    await catalog.finish_delete_document(KEY)
    await catalog.finish_delete_corpus(CORPUS)
    assert await catalog.get_document(KEY) is not None


async def test_documents_are_listed_by_id_in_pages_of_a_bounded_size(catalog: SqliteCatalog) -> None:
    for name in ("b", "a", "c", "B"):
        await submit(catalog, key=DocumentKey("acme", "handbook", name), title="t" * 500)

    async def page(after: str, limit: int, max_bytes: int = 10_000) -> tuple[list[str], bool]:
        found, more = await catalog.list_documents(CORPUS, after=after, limit=limit, max_bytes=max_bytes)
        return [document.key.document_id for document in found], more

    assert await page("", 9) == (["B", "a", "b", "c"], False)
    assert await page("", 4) == (["B", "a", "b", "c"], False)
    assert await page("B", 2) == (["a", "b"], True)
    assert await page("", 9, max_bytes=2_000) == (["B", "a"], True)
    assert await page("", 9, max_bytes=1) == (["B"], True)
    with pytest.raises(CorpusMissing):
        await catalog.list_documents(CorpusKey("acme", "nowhere"), after="", limit=1, max_bytes=1)


async def test_only_the_given_fields_change(catalog: SqliteCatalog) -> None:
    await submit(catalog, title="old")
    changed = await catalog.update_document(KEY, DocumentChanges(uri="https://x"))
    assert (changed.title, changed.uri) == ("old", "https://x")
    changed = await catalog.update_document(KEY, DocumentChanges(title=""))
    assert (changed.title, changed.uri) == ("", "https://x")
    with pytest.raises(DocumentMissing):
        await catalog.update_document(OTHER_KEY, DocumentChanges(title="x"))
    corpus = await catalog.update_corpus(CORPUS, CorpusChanges(display_name="The handbook"))
    assert (corpus.display_name, corpus.labels) == ("The handbook", {})


async def test_a_catalog_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    async with SqliteCatalog.open(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(CatalogNewerError, match="newer"):
        async with SqliteCatalog.open(tmp_path):
            pass


async def test_every_table_has_its_tenant_column(catalog: SqliteCatalog, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables >= {"corpora", "documents", "request_ids"}
    for table in tables - {"settings"}:  # which are the catalog's own, and nobody's
        assert "tenant" in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    connection.close()


async def test_jobs_of_corpora_that_wait_are_left_alone(catalog: SqliteCatalog) -> None:
    other = CorpusKey("acme", "other")
    await catalog.create_corpus(other, display_name="", labels={}, setup=SETUP)
    await submit(catalog)
    await submit(catalog, key=DocumentKey("acme", "other", "second"))
    claimed = await catalog.claim_job(skip=[CORPUS])
    assert claimed is not None
    assert claimed.key.corpus == other
    assert await catalog.claim_job(skip=[CORPUS, other]) is None
    claimed = await catalog.claim_job(skip=[other])
    assert claimed is not None
    assert claimed.key == KEY
