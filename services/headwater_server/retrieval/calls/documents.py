"""The unary calls about documents."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server import names
from headwater_server.errors import InvalidRequest, ResourceNotFound
from headwater_server.interfaces import Caller
from headwater_server.paging import MAX_PAGE_BYTES, page_size
from headwater_server.retrieval.calls.corpora import CorpusCalls
from headwater_server.retrieval.calls.naming import DOCUMENT_NAME
from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.calls.reporting import reported
from headwater_server.retrieval.calls.submissions import Submissions, packed_metadata
from headwater_server.retrieval.calls.wire import document_message
from headwater_server.retrieval.catalog import Document, DocumentChanges, DocumentKey
from headwater_server.retrieval.jobs.room import require_room
from headwater_server.retrieval.presentation import record_of
from headwater_server.retrieval.store.protocol import CorpusKey
from headwater_server.update_masks import fields_to_update

_UPDATABLE = ("title", "uri", "metadata")


class DocumentCalls:
    """Creates, shows, changes and deletes documents."""

    def __init__(self, parts: Parts, *, corpora: CorpusCalls, submissions: Submissions) -> None:
        self._parts = parts
        self._corpora = corpora
        self._submissions = submissions

    async def create(self, request: pb.CreateDocumentRequest, caller: Caller) -> document_pb2.Document:
        """CreateDocument."""
        key, mark = await self._submissions.identify(
            caller.tenant,
            parent=request.parent,
            document_id=request.document_id,
            request=request,
            request_id=request.request_id,
        )
        name = names.document_name(key.corpus_id, key.document_id)
        self._submissions.check_size(len(request.content), name=name)
        submission = self._submissions.submission(key, request.document, field="document")
        with reported(name):
            await self._corpora.ensure(key.corpus)
            content = await self._parts.catalog.stage_content()
            try:
                await content.write(request.content)
            except BaseException:
                await content.discard()
                raise
        accepted = await self._submissions.accept(submission, content, replace=False, mark=mark)
        return self._message(accepted.document)

    async def get(self, request: pb.GetDocumentRequest, caller: Caller) -> document_pb2.Document:
        """GetDocument."""
        document = await self._parts.catalog.get_document(_key(request.name, caller))
        if document is None:
            raise ResourceNotFound(request.name)
        return self._message(document)

    async def list(self, request: pb.ListDocumentsRequest, caller: Caller) -> pb.ListDocumentsResponse:
        """ListDocuments."""
        corpus = CorpusKey(caller.tenant, names.corpus_id(request.parent))
        scope = ("documents", caller.tenant, corpus.corpus_id)
        after = self._parts.tokens.read(request.page_token, *scope)
        with reported(request.parent):
            documents, more = await self._parts.catalog.list_documents(
                corpus, after=after, limit=page_size(request.page_size), max_bytes=MAX_PAGE_BYTES
            )
        response = pb.ListDocumentsResponse(documents=[self._message(document) for document in documents])
        if more:
            response.next_page_token = self._parts.tokens.make(*scope, last=documents[-1].key.document_id)
        return response

    async def update(self, request: pb.UpdateDocumentRequest, caller: Caller) -> document_pb2.Document:
        """UpdateDocument."""
        given = request.document
        if not DOCUMENT_NAME.fullmatch(given.name):
            raise InvalidRequest("document.name", "must be `corpora/{corpus}/documents/{document}`")
        present = [name for name in _UPDATABLE if getattr(given, name)]
        fields = fields_to_update(request.update_mask, allowed=_UPDATABLE, present=present)
        changes = DocumentChanges(
            title=given.title if "title" in fields else None,
            uri=given.uri if "uri" in fields else None,
            metadata=packed_metadata(given, field="document.metadata") if "metadata" in fields else None,
        )
        key = _key(given.name, caller)
        with reported(given.name):
            await require_room(self._parts.catalog, key.tenant)
            document = await self._parts.operations.complete(lambda: self._update(key, changes))
        return self._message(document)

    async def delete(self, request: pb.DeleteDocumentRequest, caller: Caller) -> Empty:
        """DeleteDocument."""
        key = _key(request.name, caller)
        with reported(request.name):
            await self._parts.operations.complete(lambda: self._delete(key))
        return Empty()

    async def _update(self, key: DocumentKey, changes: DocumentChanges) -> Document:
        async with self._parts.locks.hold(key.corpus):
            document = await self._parts.catalog.update_document(key, changes)
            await self._parts.store.update_document(key.corpus, record_of(document))
            await self._parts.catalog.mark_stored(document)
            return document

    async def _delete(self, key: DocumentKey) -> None:
        async with self._parts.locks.hold(key.corpus):
            await self._parts.catalog.begin_delete_document(key)
            self._parts.runner.withdraw(lambda document: document == key)
            await self._parts.store.delete_document(key.corpus, key.document_id)
            await self._parts.catalog.finish_delete_document(key)
        self._parts.board.state_changed(key)

    def _message(self, document: Document) -> document_pb2.Document:
        return document_message(document, self._parts.board.latest(document.key))


def _key(name: str, caller: Caller) -> DocumentKey:
    return DocumentKey(caller.tenant, *names.document_ids(name))
