"""How the services see each other, in one process or apart.

Each interface has one method an RPC, takes and returns the messages of `headwater.v1`, and raises the errors of
`headwater_server.errors`. In one process its implementation is the other service's core itself; apart it is a gRPC
client (`headwater_server.runtime.remote`). Requests have passed the rules declared in the protos before they get here.

Streams are async generators. Whoever iterates one closes it (`contextlib.aclosing`), whether it was exhausted or not;
closing one, or cancelling the task that iterates it, stops the work behind it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.empty_pb2 import Empty
from headwater.v1 import answer_pb2, answer_service_pb2, assistant_service_pb2, chat_pb2, document_pb2
from headwater.v1 import retrieval_service_pb2 as retrieval_pb2

LOCAL_TENANT = "local"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. It comes from the credential, never from a field of a request."""

    tenant: str = LOCAL_TENANT
    """Whose resources the caller sees."""
    request_id: str = ""
    """The id under which logs mention this call."""


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


class Answers(Protocol):
    """The orchestrator, as `headwater.v1.AnswerService` describes it."""

    def stream_answer(
        self, request: answer_service_pb2.StreamAnswerRequest, caller: Caller
    ) -> AsyncGenerator[answer_pb2.AnswerChunk]: ...
    async def generate_answer(
        self, request: answer_service_pb2.StreamAnswerRequest, caller: Caller
    ) -> answer_pb2.Answer: ...
    def resume_answer(
        self, request: answer_service_pb2.ResumeAnswerRequest, caller: Caller
    ) -> AsyncGenerator[answer_pb2.AnswerChunk]: ...
    async def cancel_answer(
        self, request: answer_service_pb2.CancelAnswerRequest, caller: Caller
    ) -> answer_pb2.Answer: ...
    async def get_answer(self, request: answer_service_pb2.GetAnswerRequest, caller: Caller) -> answer_pb2.Answer: ...
    async def list_answers(
        self, request: answer_service_pb2.ListAnswersRequest, caller: Caller
    ) -> answer_service_pb2.ListAnswersResponse: ...
    async def delete_answer(self, request: answer_service_pb2.DeleteAnswerRequest, caller: Caller) -> Empty: ...
    async def create_chat(self, request: answer_service_pb2.CreateChatRequest, caller: Caller) -> chat_pb2.Chat: ...
    async def get_chat(self, request: answer_service_pb2.GetChatRequest, caller: Caller) -> chat_pb2.Chat: ...
    async def list_chats(
        self, request: answer_service_pb2.ListChatsRequest, caller: Caller
    ) -> answer_service_pb2.ListChatsResponse: ...
    async def update_chat(self, request: answer_service_pb2.UpdateChatRequest, caller: Caller) -> chat_pb2.Chat: ...
    async def delete_chat(self, request: answer_service_pb2.DeleteChatRequest, caller: Caller) -> Empty: ...
    async def get_turn(self, request: answer_service_pb2.GetTurnRequest, caller: Caller) -> chat_pb2.Turn: ...
    async def list_turns(
        self, request: answer_service_pb2.ListTurnsRequest, caller: Caller
    ) -> answer_service_pb2.ListTurnsResponse: ...
