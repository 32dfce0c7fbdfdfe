"""The retrieval service's core: every call of `headwater.v1.RetrievalService`, without gRPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from google.protobuf.empty_pb2 import Empty

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.interfaces import Caller
from headwater_server.retrieval.calls.corpora import CorpusCalls
from headwater_server.retrieval.calls.documents import DocumentCalls
from headwater_server.retrieval.calls.downloads import Downloads
from headwater_server.retrieval.calls.following import Following
from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.calls.retrieving import Retrieving
from headwater_server.retrieval.calls.submissions import Submissions
from headwater_server.retrieval.calls.uploads import Uploads


class RetrievalCore:
    """The retrieval service in this process; implements `interfaces.Retrieval`.

    The comments in `retrieval_service.proto` say what each call does. Beyond them:

    - A document replaced by other content keeps its old passages findable until the new ones are. If the new content
      FAILS, the old passages go: a source never rests on bytes that its document no longer has.
    - The same content sent again for a FAILED document is tried again.
    - `update_mask` takes `*` for all that can be changed.

    Made by `opening.open_retrieval`.
    """

    def __init__(self, parts: Parts) -> None:
        self._corpora = CorpusCalls(parts)
        submissions = Submissions(parts)
        self._documents = DocumentCalls(parts, corpora=self._corpora, submissions=submissions)
        self._following = Following(parts)
        self._uploads = Uploads(parts, corpora=self._corpora, submissions=submissions, following=self._following)
        self._downloads = Downloads(parts)
        self._retrieving = Retrieving(parts)

    async def create_corpus(self, request: pb.CreateCorpusRequest, caller: Caller) -> document_pb2.Corpus:
        """CreateCorpus."""
        return await self._corpora.create(request, caller)

    async def get_corpus(self, request: pb.GetCorpusRequest, caller: Caller) -> document_pb2.Corpus:
        """GetCorpus."""
        return await self._corpora.get(request, caller)

    async def list_corpora(self, request: pb.ListCorporaRequest, caller: Caller) -> pb.ListCorporaResponse:
        """ListCorpora."""
        return await self._corpora.list(request, caller)

    async def update_corpus(self, request: pb.UpdateCorpusRequest, caller: Caller) -> document_pb2.Corpus:
        """UpdateCorpus."""
        return await self._corpora.update(request, caller)

    async def reembed_corpus(self, request: pb.ReembedCorpusRequest, caller: Caller) -> document_pb2.Corpus:
        """ReembedCorpus."""
        return await self._corpora.reembed(request, caller)

    async def delete_corpus(self, request: pb.DeleteCorpusRequest, caller: Caller) -> Empty:
        """DeleteCorpus."""
        return await self._corpora.delete(request, caller)

    def import_document(
        self, requests: AsyncIterator[pb.ImportDocumentRequest], caller: Caller
    ) -> AsyncGenerator[pb.ImportDocumentResponse]:
        """ImportDocument."""
        return self._uploads.run(requests, caller)

    async def create_document(self, request: pb.CreateDocumentRequest, caller: Caller) -> document_pb2.Document:
        """CreateDocument."""
        return await self._documents.create(request, caller)

    def watch_document(
        self, request: pb.WatchDocumentRequest, caller: Caller
    ) -> AsyncGenerator[pb.WatchDocumentResponse]:
        """WatchDocument."""
        return self._following.watch(request, caller)

    async def get_document(self, request: pb.GetDocumentRequest, caller: Caller) -> document_pb2.Document:
        """GetDocument."""
        return await self._documents.get(request, caller)

    async def list_documents(self, request: pb.ListDocumentsRequest, caller: Caller) -> pb.ListDocumentsResponse:
        """ListDocuments."""
        return await self._documents.list(request, caller)

    async def update_document(self, request: pb.UpdateDocumentRequest, caller: Caller) -> document_pb2.Document:
        """UpdateDocument."""
        return await self._documents.update(request, caller)

    async def delete_document(self, request: pb.DeleteDocumentRequest, caller: Caller) -> Empty:
        """DeleteDocument."""
        return await self._documents.delete(request, caller)

    def download_document(
        self, request: pb.DownloadDocumentRequest, caller: Caller
    ) -> AsyncGenerator[pb.DownloadDocumentResponse]:
        """DownloadDocument."""
        return self._downloads.run(request, caller)

    def retrieve(self, request: pb.RetrieveRequest, caller: Caller) -> AsyncGenerator[pb.RetrieveResponse]:
        """Retrieve."""
        return self._retrieving.run(request, caller)
