"""Headwater's client: streamed answers with sources, over gRPC.

    from headwater import Client

    with Client() as client:
        for piece in client.answer("What does the handbook say about leave?", corpus="handbook"):
            print(piece, end="", flush=True)

Names are imported when they are first used, so that `import headwater` costs next to nothing. The protobuf messages of
the wire are in `headwater.v1`; those that a caller meets often are here too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from headwater._version import __version__

if TYPE_CHECKING:
    from headwater._answer import Answer
    from headwater._async_answer import AsyncAnswer
    from headwater._async_client import AsyncClient
    from headwater._citations import citation_span, render_citations, render_with_citations
    from headwater._client import Client
    from headwater._collecting import ImportProgress
    from headwater._connection import TlsSettings
    from headwater._enums import AbstainReason, AnswerState, FinishReason
    from headwater._exceptions import (
        Aborted,
        AccessDenied,
        AlreadyExists,
        AnswerBusy,
        AnswerClosed,
        AnswerDiverged,
        AnswerNotFinished,
        ArgumentError,
        CallCancelled,
        CallError,
        ChatBusy,
        ClientClosed,
        ConnectionFailed,
        ConnectionLost,
        ContextTooLarge,
        DataLoss,
        DeadlineExceeded,
        DocumentError,
        DocumentTooLarge,
        DocumentUnreadable,
        DocumentUnsupported,
        FailedPrecondition,
        FieldViolation,
        FirstTokenTimeout,
        HeadwaterError,
        InternalError,
        InvalidRequest,
        NotFound,
        NotImplementedByServer,
        OutOfRange,
        Overloaded,
        OwnerLost,
        PermissionDenied,
        ProtocolError,
        ProviderError,
        ProviderProtocol,
        ProviderRateLimited,
        ProviderRejected,
        ProviderTruncated,
        ProviderUnauthenticated,
        ProviderUnavailable,
        QuotaExceeded,
        RequestIdReused,
        ResourceExhausted,
        ServerDraining,
        StreamConsumed,
        StreamStalled,
        Unauthenticated,
        Unavailable,
        UsageError,
    )
    from headwater._filters import Filter, field
    from headwater._requests import Limits
    from headwater._retrieval import RetrievalResult
    from headwater._status import exception_table
    from headwater._values import metadata_dict
    from headwater.v1.answer_pb2 import AnswerChunk, Citation, Usage
    from headwater.v1.assistant_service_pb2 import Assistant
    from headwater.v1.chat_pb2 import Chat, ChatMessage, Turn
    from headwater.v1.document_pb2 import Corpus, Document
    from headwater.v1.source_pb2 import Source

_MODULES = {
    "headwater._answer": ("Answer",),
    "headwater._async_answer": ("AsyncAnswer",),
    "headwater._async_client": ("AsyncClient",),
    "headwater._citations": ("citation_span", "render_citations", "render_with_citations"),
    "headwater._client": ("Client",),
    "headwater._collecting": ("ImportProgress",),
    "headwater._connection": ("TlsSettings",),
    "headwater._enums": ("AbstainReason", "AnswerState", "FinishReason"),
    "headwater._filters": ("Filter", "field"),
    "headwater._requests": ("Limits",),
    "headwater._retrieval": ("RetrievalResult",),
    "headwater._status": ("exception_table",),
    "headwater._values": ("metadata_dict",),
    "headwater.v1.answer_pb2": ("AnswerChunk", "Citation", "Usage"),
    "headwater.v1.assistant_service_pb2": ("Assistant",),
    "headwater.v1.chat_pb2": ("Chat", "ChatMessage", "Turn"),
    "headwater.v1.document_pb2": ("Corpus", "Document"),
    "headwater.v1.source_pb2": ("Source",),
}

__all__ = [
    "Aborted",
    "AbstainReason",
    "AccessDenied",
    "AlreadyExists",
    "Answer",
    "AnswerBusy",
    "AnswerChunk",
    "AnswerClosed",
    "AnswerDiverged",
    "AnswerNotFinished",
    "AnswerState",
    "ArgumentError",
    "Assistant",
    "AsyncAnswer",
    "AsyncClient",
    "CallCancelled",
    "CallError",
    "Chat",
    "ChatBusy",
    "ChatMessage",
    "Citation",
    "Client",
    "ClientClosed",
    "ConnectionFailed",
    "ConnectionLost",
    "ContextTooLarge",
    "Corpus",
    "DataLoss",
    "DeadlineExceeded",
    "Document",
    "DocumentError",
    "DocumentTooLarge",
    "DocumentUnreadable",
    "DocumentUnsupported",
    "FailedPrecondition",
    "FieldViolation",
    "Filter",
    "FinishReason",
    "FirstTokenTimeout",
    "HeadwaterError",
    "ImportProgress",
    "InternalError",
    "InvalidRequest",
    "Limits",
    "NotFound",
    "NotImplementedByServer",
    "OutOfRange",
    "Overloaded",
    "OwnerLost",
    "PermissionDenied",
    "ProtocolError",
    "ProviderError",
    "ProviderProtocol",
    "ProviderRateLimited",
    "ProviderRejected",
    "ProviderTruncated",
    "ProviderUnauthenticated",
    "ProviderUnavailable",
    "QuotaExceeded",
    "RequestIdReused",
    "ResourceExhausted",
    "RetrievalResult",
    "ServerDraining",
    "Source",
    "StreamConsumed",
    "StreamStalled",
    "TlsSettings",
    "Turn",
    "Unauthenticated",
    "Unavailable",
    "Usage",
    "UsageError",
    "__version__",
    "citation_span",
    "exception_table",
    "field",
    "metadata_dict",
    "render_citations",
    "render_with_citations",
]

_HOME = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:  # a type checker that saw this would believe in every name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'headwater' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOME.get(name, "headwater._exceptions")), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
