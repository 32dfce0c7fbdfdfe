"""The catalog in a folder: SQLite for everything but the documents' bytes, which are files."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from anyio import CancelScope, to_thread

from headwater_server.retrieval.catalog import checksums, corpora, documents, job_table, reembeddings, requests
from headwater_server.retrieval.catalog.contents import ContentFolder, StagedFile
from headwater_server.retrieval.catalog.database import Database
from headwater_server.retrieval.catalog.protocol import StagedContent
from headwater_server.retrieval.catalog.records import (
    Accepted,
    ContentKey,
    Corpus,
    CorpusChanges,
    CorpusSetup,
    Document,
    DocumentChanges,
    DocumentKey,
    EmbedderIdentity,
    Reembedding,
    ReembeddingStep,
    RequestMark,
    Submission,
    Unfinished,
)
from headwater_server.retrieval.catalog.schema import ensure_settings, migrate
from headwater_server.retrieval.store.protocol import CorpusKey


class SqliteCatalog:
    """A catalog in a folder that this process alone uses; implements `Catalog`.

    A write survives a loss of power: SQLite runs in WAL mode with `synchronous=FULL`, and a document's file and its
    folders are synced before the row that refers to it is committed. What a crash leaves of the two is removed at
    opening.
    """

    def __init__(self, database: Database, contents: ContentFolder, *, token_key: bytes) -> None:
        self._database = database
        self._contents = contents
        self._token_key = token_key

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncGenerator[SqliteCatalog]:
        """Opens the catalog in a folder, or makes one there.

        Raises:
            CatalogNewerError: It was written by a newer version of this program.
        """
        catalog = await to_thread.run_sync(cls._open, folder)
        try:
            yield catalog
        finally:
            with CancelScope(shield=True):  # waits for the one write that may be under way
                await catalog._database.aclose()

    @classmethod
    def _open(cls, folder: Path) -> SqliteCatalog:
        folder.mkdir(parents=True, exist_ok=True)
        database = Database(folder / "catalog.sqlite")
        try:
            migrate(database.writer)
            checksums.ensure_sealed(database.writer)
            token_key = ensure_settings(database.writer)
            contents = ContentFolder(folder)
            contents.sweep({ContentKey(*pair) for pair in documents.referenced_contents(database.writer)})
        except BaseException:
            database.close()
            raise
        return cls(database, contents, token_key=token_key)

    @property
    def token_key(self) -> bytes:
        """See `Catalog`."""
        return self._token_key

    async def recover(self) -> Unfinished:
        """See `Catalog`."""

        def work(connection: sqlite3.Connection) -> Unfinished:
            job_table.recover(connection)
            return Unfinished(
                deleted_corpora=corpora.being_deleted(connection),
                deleted_documents=documents.being_deleted(connection),
                updated_documents=documents.not_stored(connection),
            )

        return await self._database.write(work)

    async def create_corpus(
        self,
        key: CorpusKey,
        *,
        display_name: str,
        labels: Mapping[str, str],
        setup: CorpusSetup,
        mark: RequestMark | None = None,
    ) -> Corpus:
        """See `Catalog`."""
        work = partial(corpora.create, key=key, display_name=display_name, labels=labels, setup=setup, mark=mark)
        return await self._database.write(work)

    async def get_corpus(self, key: CorpusKey) -> Corpus | None:
        """See `Catalog`."""
        return await self._database.read(partial(corpora.get, key=key))

    async def corpus_setup(self, key: CorpusKey) -> CorpusSetup | None:
        """See `Catalog`."""
        return await self._database.read(partial(corpora.setup, key=key))

    async def list_corpora(self, tenant: str, *, after: str, limit: int) -> Sequence[Corpus]:
        """See `Catalog`."""
        return await self._database.read(partial(corpora.page, tenant=tenant, after=after, limit=limit))

    async def update_corpus(self, key: CorpusKey, changes: CorpusChanges) -> Corpus:
        """See `Catalog`."""
        return await self._database.write(partial(corpora.update, key=key, changes=changes))

    async def begin_delete_corpus(self, key: CorpusKey, *, force: bool) -> None:
        """See `Catalog`."""
        await self._database.write(partial(corpora.begin_delete, key=key, force=force))

    async def finish_delete_corpus(self, key: CorpusKey) -> None:
        """See `Catalog`."""

        def work(connection: sqlite3.Connection) -> None:
            self._remove_unreferenced(connection, key.tenant, corpora.finish_delete(connection, key))

        await self._database.write(work)

    async def stage_content(self) -> StagedContent:
        """See `Catalog`."""
        return await to_thread.run_sync(self._contents.stage)

    async def accept_document(
        self,
        submission: Submission,
        content: StagedContent,
        *,
        replace: bool,
        mark: RequestMark | None = None,
    ) -> Accepted:
        """See `Catalog`."""
        if not isinstance(content, StagedFile):
            raise TypeError("the content was staged by another catalog")
        await content.seal()

        def work(connection: sqlite3.Connection) -> Accepted:
            key = ContentKey(submission.key.tenant, content.sha256)
            placed = False

            def place() -> None:
                nonlocal placed
                placed = True
                self._contents.place(content, key)

            try:
                accepted, replaced = documents.accept(
                    connection,
                    submission,
                    size_bytes=content.size_bytes,
                    sha256=content.sha256,
                    replace=replace,
                    mark=mark,
                    place=place,
                )
            except BaseException:
                if placed:
                    self._remove_unreferenced(connection, key.tenant, [key.sha256])
                raise
            if replaced:
                self._remove_unreferenced(connection, key.tenant, [replaced])
            return accepted

        return await self._database.write(work)

    async def find_request(self, tenant: str, request_id: str) -> RequestMark | None:
        """See `Catalog`."""
        return await self._database.read(partial(requests.find, tenant=tenant, request_id=request_id))

    async def get_document(self, key: DocumentKey) -> Document | None:
        """See `Catalog`."""
        return await self._database.read(partial(documents.get, key=key))

    async def list_documents(
        self, corpus: CorpusKey, *, after: str, limit: int, max_bytes: int
    ) -> tuple[Sequence[Document], bool]:
        """See `Catalog`."""
        work = partial(documents.page, corpus=corpus, after=after, limit=limit, max_bytes=max_bytes)
        return await self._database.read(work)

    async def update_document(self, key: DocumentKey, changes: DocumentChanges) -> Document:
        """See `Catalog`."""
        return await self._database.write(partial(documents.update, key=key, changes=changes))

    async def mark_stored(self, document: Document) -> None:
        """See `Catalog`."""
        await self._database.write(partial(documents.mark_stored, document=document))

    async def begin_delete_document(self, key: DocumentKey) -> None:
        """See `Catalog`."""
        await self._database.write(partial(documents.begin_delete, key=key))

    async def finish_delete_document(self, key: DocumentKey) -> None:
        """See `Catalog`."""

        def work(connection: sqlite3.Connection) -> None:
            self._remove_unreferenced(connection, key.tenant, documents.finish_delete(connection, key))

        await self._database.write(work)

    def content_path(self, content: ContentKey) -> Path:
        """See `Catalog`."""
        return self._contents.path(content)

    def tenant_folder(self, tenant: str) -> Path:
        """See `Catalog`."""
        return self._contents.tenant_folder(tenant)

    async def count_jobs(self, *, most: int) -> int:
        """See `Catalog`."""
        return await self._database.read(partial(job_table.count, most=most))

    async def claim_job(self, *, skip: Collection[CorpusKey] = ()) -> Document | None:
        """See `Catalog`."""
        return await self._database.write(partial(job_table.claim, skip=skip))

    async def finish_job(
        self, key: DocumentKey, revision: int, *, title: str, media_type: str, passage_count: int
    ) -> bool:
        """See `Catalog`."""
        work = partial(
            job_table.finish,
            key=key,
            revision=revision,
            title=title,
            media_type=media_type,
            passage_count=passage_count,
        )
        return await self._database.write(work)

    async def fail_job(self, key: DocumentKey, revision: int, *, error: bytes) -> bool:
        """See `Catalog`."""
        return await self._database.write(partial(job_table.fail, key=key, revision=revision, error=error))

    async def return_job(self, key: DocumentKey, revision: int, *, crashed: bool) -> Document | None:
        """See `Catalog`."""
        return await self._database.write(partial(job_table.give_back, key=key, revision=revision, crashed=crashed))

    async def begin_reembedding(self, key: CorpusKey, *, embedder: EmbedderIdentity, shadow_id: str) -> Reembedding:
        """See `Catalog`."""
        work = partial(reembeddings.begin, key=key, embedder=embedder, shadow_id=shadow_id)
        return await self._database.write(work)

    async def list_reembeddings(self) -> Sequence[Reembedding]:
        """See `Catalog`."""
        return await self._database.read(reembeddings.under_way)

    async def given_up_shadows(self) -> Sequence[CorpusKey]:
        """See `Catalog`."""
        return await self._database.read(reembeddings.given_up)

    async def forget_shadow(self, shadow: CorpusKey) -> None:
        """See `Catalog`."""
        await self._database.write(partial(reembeddings.forget, shadow=shadow))

    async def reembedding_steps(self, reembedding: Reembedding, *, after: str, limit: int) -> Sequence[ReembeddingStep]:
        """See `Catalog`."""
        work = partial(reembeddings.steps, reembedding=reembedding, after=after, limit=limit)
        return await self._database.read(work)

    async def record_reembedded(
        self, shadow: CorpusKey, document: Document, *, passage_count: int | None, error: bytes = b""
    ) -> bool:
        """See `Catalog`."""
        work = partial(reembeddings.record, shadow=shadow, document=document, passage_count=passage_count, error=error)
        return await self._database.write(work)

    async def forget_reembedded(self, shadow: CorpusKey, document_id: str) -> None:
        """See `Catalog`."""
        await self._database.write(partial(reembeddings.unrecord, shadow=shadow, document_id=document_id))

    async def begin_takeover(self, reembedding: Reembedding) -> bool:
        """See `Catalog`."""
        return await self._database.write(partial(reembeddings.begin_takeover, reembedding=reembedding))

    async def cancel_takeover(self, shadow: CorpusKey) -> None:
        """See `Catalog`."""
        await self._database.write(partial(reembeddings.cancel_takeover, shadow=shadow))

    async def finish_takeover(self, reembedding: Reembedding) -> None:
        """See `Catalog`."""
        await self._database.write(partial(reembeddings.finish_takeover, reembedding=reembedding))

    def _remove_unreferenced(self, connection: sqlite3.Connection, tenant: str, contents: Iterable[str]) -> None:
        """Removes contents that no document refers to any more; in the thread that writes, so none is added now."""
        for sha256 in contents:
            if not documents.is_referenced(connection, tenant, sha256):
                self._contents.remove(ContentKey(tenant, sha256))
