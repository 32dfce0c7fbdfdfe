"""How the services see each other, in one process or apart.

Each interface has one method an RPC, takes and returns the messages of `headwater.v1`, and raises the errors of
`headwater_server.errors`. In one process its implementation is the other service's core itself; apart it is a gRPC
client (`headwater_server.runtime.remote`). Requests have passed the rules declared in the protos before they get here.

Streams are async generators. Whoever iterates one closes it (`contextlib.aclosing`), whether it was exhausted or not;
closing one, or cancelling the task that iterates it, stops the work behind it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.empty_pb2 import Empty

from headwater.v1 import answer_pb2, assistant_service_pb2, document_pb2
from headwater.v1 import retrieval_service_pb2 as retrieval_pb2

LOCAL_TENANT = "local"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. It comes from the credential, never from a field of a request."""

    tenant: str = LOCAL_TENANT
    """Whose resources the caller sees."""
    request_id: str = ""
    """The id under which logs mention this call."""
    credential: str = field(default="", repr=False)
    """The token the caller showed, to be shown to the other services on its behalf. Never logged."""


class Retrieval(Protocol):
    """The retrieval service, as `headwater.v1.RetrievalService` describes it."""

    async def create_corpus(
        self, request: retrieval_pb2.CreateCorpusRequest, caller: Caller
    ) -> document_pb2.Corpus: ...
    async def get_corpus(self, request: retrieval_pb2.GetCorpusRequest, caller: Caller) -> document_pb2.Corpus: ...
    async def list_corpora(
        self, request: retrieval_pb2.ListCorporaRequest, caller: Caller
    ) -> retrieval_pb2.ListCorporaResponse: ...
    async def update_corpus(
        self, request: retrieval_pb2.UpdateCorpusRequest, caller: Caller
    ) -> document_pb2.Corpus: ...
    async def reembed_corpus(
        self, request: retrieval_pb2.ReembedCorpusRequest, caller: Caller
    ) -> document_pb2.Corpus: ...
    async def delete_corpus(self, request: retrieval_pb2.DeleteCorpusRequest, caller: Caller) -> Empty: ...
    def import_document(
        self, requests: AsyncIterator[retrieval_pb2.ImportDocumentRequest], caller: Caller
    ) -> AsyncGenerator[retrieval_pb2.ImportDocumentResponse]: ...
    async def create_document(
        self, request: retrieval_pb2.CreateDocumentRequest, caller: Caller
    ) -> document_pb2.Document: ...
    def watch_document(
        self, request: retrieval_pb2.WatchDocumentRequest, caller: Caller
    ) -> AsyncGenerator[retrieval_pb2.WatchDocumentResponse]: ...
    async def get_document(
        self, request: retrieval_pb2.GetDocumentRequest, caller: Caller
    ) -> document_pb2.Document: ...
    async def list_documents(
        self, request: retrieval_pb2.ListDocumentsRequest, caller: Caller
    ) -> retrieval_pb2.ListDocumentsResponse: ...
    async def update_document(
        self, request: retrieval_pb2.UpdateDocumentRequest, caller: Caller
    ) -> document_pb2.Document: ...
    async def delete_document(self, request: retrieval_pb2.DeleteDocumentRequest, caller: Caller) -> Empty: ...
    def download_document(
        self, request: retrieval_pb2.DownloadDocumentRequest, caller: Caller
    ) -> AsyncGenerator[retrieval_pb2.DownloadDocumentResponse]: ...
    def retrieve(
        self, request: retrieval_pb2.RetrieveRequest, caller: Caller
    ) -> AsyncGenerator[retrieval_pb2.RetrieveResponse]: ...


class Assistants(Protocol):
    """The assistant service, as `headwater.v1.AssistantService` describes it."""

    async def list_assistants(
        self, request: assistant_service_pb2.ListAssistantsRequest, caller: Caller
    ) -> assistant_service_pb2.ListAssistantsResponse: ...
    async def get_assistant(
        self, request: assistant_service_pb2.GetAssistantRequest, caller: Caller
    ) -> assistant_service_pb2.Assistant: ...
    def stream_generate(
        self, request: assistant_service_pb2.StreamGenerateRequest, caller: Caller
    ) -> AsyncGenerator[answer_pb2.AnswerChunk]: ...
