"""Why a document is FAILED, as its `error` says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.any_pb2 import Any
from google.rpc import code_pb2, error_details_pb2, status_pb2

from headwater_server import names
from headwater_server.errors import Reason
from headwater_server.retrieval.catalog import Document
from headwater_server.retrieval.presentation import media_type_of
from headwater_server.retrieval.workers.errors import WorkerHung, WorkerLost, WorkerOutOfMemory

_DOMAIN = "headwater"
_CODES: Mapping[Reason, int] = {  # as `headwater.v1.ErrorReason` has them
    Reason.DOCUMENT_UNREADABLE: code_pb2.FAILED_PRECONDITION,
    Reason.DOCUMENT_UNSUPPORTED: code_pb2.INVALID_ARGUMENT,
    Reason.DOCUMENT_TOO_LARGE: code_pb2.INVALID_ARGUMENT,
    Reason.QUOTA_EXCEEDED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.PROVIDER_REJECTED: code_pb2.FAILED_PRECONDITION,
    Reason.PROVIDER_UNAUTHENTICATED: code_pb2.FAILED_PRECONDITION,
    Reason.PROVIDER_PROTOCOL: code_pb2.INTERNAL,
    Reason.CONTEXT_TOO_LARGE: code_pb2.INVALID_ARGUMENT,
    Reason.INTERNAL: code_pb2.INTERNAL,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a document cannot be made READY."""

    reason: Reason
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    def status_of(self, document: Document) -> bytes:
        """The failure as a serialized `google.rpc.Status` with an ErrorInfo."""
        key = document.key
        metadata = {"document": names.document_name(key.corpus_id, key.document_id), **self.metadata}
        if media_type := media_type_of(document):
            metadata["media_type"] = media_type
        detail = Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason=self.reason, domain=_DOMAIN, metadata=metadata))
        status = status_pb2.Status(code=_CODES[self.reason], message=self.message, details=[detail])
        serialized: bytes = status.SerializeToString()
        return serialized


def lost_workers(error: WorkerLost, *, crashes: int) -> Failure:
    """The failure of a document that has cost too many workers, the last of them by `error`."""
    times = "time" if crashes == 1 else "times"
    match error:
        case WorkerOutOfMemory():
            message = "reading the document takes more memory than it may"
            return Failure(Reason.DOCUMENT_TOO_LARGE, message, {"limit": "memory"})
        case WorkerHung():
            message = "reading the document takes more time than it may"
            return Failure(Reason.DOCUMENT_TOO_LARGE, message, {"limit": "time"})
        case _:
            message = f"the document's reader crashed {crashes} {times}, last because {error}"
            return Failure(Reason.DOCUMENT_UNREADABLE, message)


def interrupted(times: int) -> Failure:
    """The failure of a document whose import has so often ended with the whole service."""
    message = f"the service ended {times} times while it read the document"
    return Failure(Reason.DOCUMENT_UNREADABLE, message)


def no_embedder(message: str) -> Failure:
    """The failure of a document whose corpus has an embedder that this server has not."""
    return Failure(Reason.INTERNAL, message)


CONTENT_MISSING = Failure(Reason.INTERNAL, "the document's stored content is missing: import it again")
READER_FAILED = Failure(Reason.DOCUMENT_UNREADABLE, "the document's reader failed on it: it is damaged, or unusual")
DISK_FULL = Failure(
    Reason.QUOTA_EXCEEDED,
    "there is no room on the disk for the document's passages: free some, and import it again",
    {"quota": "disk"},
)
OTHER_EMBEDDER = Failure(
    Reason.INTERNAL,
    "the corpus was made with another embedder than the server has now: import the document into a new corpus",
)
DEFECT = Failure(Reason.INTERNAL, "the import failed because of a defect; the server's log says more")
