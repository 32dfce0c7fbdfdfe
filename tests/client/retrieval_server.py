"""A RetrievalService in memory, to try the client against: it keeps documents, and misbehaves where an id says so."""

# ruff: noqa: N802, ARG002 (the methods and their arguments are those of the generated servicers)

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from headwater.v1 import answer_pb2, assistant_service_pb2_grpc, document_pb2, retrieval_service_pb2_grpc, source_pb2
from headwater.v1 import assistant_service_pb2 as assistant
from headwater.v1 import retrieval_service_pb2 as wire

STAGES = [
    document_pb2.DOCUMENT_STAGE_RECEIVED,
    document_pb2.DOCUMENT_STAGE_PARSED,
    document_pb2.DOCUMENT_STAGE_SPLIT,
    document_pb2.DOCUMENT_STAGE_EMBEDDED,
    document_pb2.DOCUMENT_STAGE_STORED,
]
PAGE = 2


class MemoryRetrieval(retrieval_service_pb2_grpc.RetrievalServiceServicer):
    def __init__(self) -> None:
        self.corpora: dict[str, document_pb2.Corpus] = {}
        self.documents: dict[str, tuple[document_pb2.Document, bytes]] = {}
        self.retrieve_requests: list[wire.RetrieveRequest] = []
        self.update_requests: list[wire.UpdateDocumentRequest] = []
        self.committed: dict[str, bytes] = {}  # what an interrupted upload left, by document id

    def CreateCorpus(self, request: wire.CreateCorpusRequest, context: grpc.ServicerContext) -> document_pb2.Corpus:
        name = f"corpora/{request.corpus_id}"
        if name in self.corpora:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{name} exists already")
        self.corpora[name] = document_pb2.Corpus()
        self.corpora[name].CopyFrom(request.corpus)
        self.corpora[name].name = name
        return self.corpora[name]

    def ReembedCorpus(self, request: wire.ReembedCorpusRequest, context: grpc.ServicerContext) -> document_pb2.Corpus:
        corpus = self.corpora[request.name]
        corpus.reembedding.embedder = request.embedder or corpus.embedder
        return corpus

    def GetCorpus(self, request: wire.GetCorpusRequest, context: grpc.ServicerContext) -> document_pb2.Corpus:
        if request.name not in self.corpora:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{request.name} does not exist")
        return self.corpora[request.name]

    def ListCorpora(self, request: wire.ListCorporaRequest, context: grpc.ServicerContext) -> wire.ListCorporaResponse:
        names, following = _page(sorted(self.corpora), request.page_token)
        return wire.ListCorporaResponse(corpora=[self.corpora[name] for name in names], next_page_token=following)

    def UpdateCorpus(self, request: wire.UpdateCorpusRequest, context: grpc.ServicerContext) -> document_pb2.Corpus:
        request.update_mask.MergeMessage(request.corpus, self.corpora[request.corpus.name])
        return self.corpora[request.corpus.name]

    def DeleteCorpus(self, request: wire.DeleteCorpusRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        if not request.force and any(name.startswith(request.name + "/") for name in self.documents):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{request.name} has documents")
        del self.corpora[request.name]
        return empty_pb2.Empty()

    def ImportDocument(
        self, request_iterator: Iterator[wire.ImportDocumentRequest], context: grpc.ServicerContext
    ) -> Iterator[wire.ImportDocumentResponse]:
        header = next(request_iterator).header
        if header.document_id == "refused":
            context.abort(grpc.StatusCode.NOT_FOUND, f"{header.parent} does not exist")
        if header.document_id == "hasty":
            yield wire.ImportDocumentResponse(document=_ready(header, 0))
            return
        content = self.committed.pop(header.document_id, b"")
        yield wire.ImportDocumentResponse(committed_bytes=len(content))
        for request in request_iterator:
            content += request.data
            yield wire.ImportDocumentResponse(committed_bytes=len(content))
            if header.document_id == "breaks":
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        if hashlib.sha256(content).hexdigest() != header.sha256 or len(content) != header.size_bytes:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the content is not what the header says")
        for stage in STAGES:
            yield wire.ImportDocumentResponse(progress=document_pb2.DocumentProgress(stage=stage, passage_count=3))
        if header.document_id == "lossy":
            return
        document = _failed(header) if header.document_id == "broken" else _ready(header, len(content))
        self.documents[document.name] = (document, content)
        yield wire.ImportDocumentResponse(document=document)
        if header.document_id == "talkative":
            yield wire.ImportDocumentResponse(committed_bytes=0)

    def CreateDocument(
        self, request: wire.CreateDocumentRequest, context: grpc.ServicerContext
    ) -> document_pb2.Document:
        header = wire.ImportDocumentHeader(
            parent=request.parent, document_id=request.document_id, document=request.document
        )
        document = _ready(header, len(request.content))
        document.state = document_pb2.DOCUMENT_STATE_PENDING
        self.documents[document.name] = (document, request.content)
        return document

    def WatchDocument(
        self, request: wire.WatchDocumentRequest, context: grpc.ServicerContext
    ) -> Iterator[wire.WatchDocumentResponse]:
        document, _ = self.documents[request.name]
        for stage in STAGES:
            yield wire.WatchDocumentResponse(progress=document_pb2.DocumentProgress(stage=stage))
        document.state = document_pb2.DOCUMENT_STATE_READY
        yield wire.WatchDocumentResponse(document=document)

    def GetDocument(self, request: wire.GetDocumentRequest, context: grpc.ServicerContext) -> document_pb2.Document:
        if request.name not in self.documents:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{request.name} does not exist")
        return self.documents[request.name][0]

    def ListDocuments(
        self, request: wire.ListDocumentsRequest, context: grpc.ServicerContext
    ) -> wire.ListDocumentsResponse:
        all_names = sorted(name for name in self.documents if name.startswith(request.parent + "/"))
        names, following = _page(all_names, request.page_token)
        documents = [self.documents[name][0] for name in names]
        return wire.ListDocumentsResponse(documents=documents, next_page_token=following)

    def UpdateDocument(
        self, request: wire.UpdateDocumentRequest, context: grpc.ServicerContext
    ) -> document_pb2.Document:
        self.update_requests.append(request)
        document, _ = self.documents[request.document.name]
        request.update_mask.MergeMessage(request.document, document, replace_message_field=True)
        return document

    def DeleteDocument(self, request: wire.DeleteDocumentRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        del self.documents[request.name]
        return empty_pb2.Empty()

    def DownloadDocument(
        self, request: wire.DownloadDocumentRequest, context: grpc.ServicerContext
    ) -> Iterator[wire.DownloadDocumentResponse]:
        document, content = self.documents[request.name]
        yield wire.DownloadDocumentResponse(document=document)
        half = len(content) // 2
        yield wire.DownloadDocumentResponse(data=content[:half])
        if request.name.endswith("/cut"):
            return
        yield wire.DownloadDocumentResponse(data=content[half:])
        sent = content + b"!" if request.name.endswith("/altered") else content
        complete = wire.DownloadComplete(size_bytes=len(content), sha256=hashlib.sha256(sent).hexdigest())
        yield wire.DownloadDocumentResponse(complete=complete)

    def Retrieve(self, request: wire.RetrieveRequest, context: grpc.ServicerContext) -> Iterator[wire.RetrieveResponse]:
        self.retrieve_requests.append(request)
        for rank in (1, 2):
            yield wire.RetrieveResponse(sources=[source_pb2.Source(rank=rank, content=f"source {rank}")])
        if request.options.query != "lose the end":
            yield wire.RetrieveResponse(statistics=source_pb2.RetrievalStatistics(candidates=7))
        if request.options.query == "go on":
            yield wire.RetrieveResponse()


class TwoAssistants(assistant_service_pb2_grpc.AssistantServiceServicer):
    def ListAssistants(
        self, request: assistant.ListAssistantsRequest, context: grpc.ServicerContext
    ) -> assistant.ListAssistantsResponse:
        name = f"assistants/builtin/{request.page_token or 'first'}"
        return assistant.ListAssistantsResponse(
            assistants=[assistant.Assistant(name=name)], next_page_token="" if request.page_token else "second"
        )

    def GetAssistant(
        self, request: assistant.GetAssistantRequest, context: grpc.ServicerContext
    ) -> assistant.Assistant:
        return assistant.Assistant(name=request.name)

    def StreamGenerate(
        self, request: assistant.StreamGenerateRequest, context: grpc.ServicerContext
    ) -> Iterator[answer_pb2.AnswerChunk]:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "these assistants are only listed")


@contextmanager
def retrieval_server(retrieval: MemoryRetrieval) -> Iterator[str]:
    """Gives the address of a server with these services."""
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    retrieval_service_pb2_grpc.add_RetrievalServiceServicer_to_server(retrieval, server)
    assistant_service_pb2_grpc.add_AssistantServiceServicer_to_server(TwoAssistants(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait(10)


def _page(names: list[str], token: str) -> tuple[list[str], str]:
    start = int(token or 0)
    following = str(start + PAGE) if start + PAGE < len(names) else ""
    return names[start : start + PAGE], following


def _ready(header: wire.ImportDocumentHeader, size: int) -> document_pb2.Document:
    document = document_pb2.Document(
        name=f"{header.parent}/documents/{header.document_id}",
        size_bytes=size,
        state=document_pb2.DOCUMENT_STATE_READY,
    )
    for field in ("title", "uri", "media_type"):
        setattr(document, field, getattr(header.document, field))
    for key, value in header.document.metadata.items():
        document.metadata[key].CopyFrom(value)
    return document


def _failed(header: wire.ImportDocumentHeader) -> document_pb2.Document:
    document = _ready(header, 0)
    document.state = document_pb2.DOCUMENT_STATE_FAILED
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="DOCUMENT_UNREADABLE", domain="headwater"))
    document.error.CopyFrom(
        status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="the file is encrypted", details=[detail])
    )
    return document
