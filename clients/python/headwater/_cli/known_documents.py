"""What the server has of a corpus already, asked once rather than for each file."""

from __future__ import annotations

from collections.abc import Mapping

from headwater._client import Client
from headwater._values import MetadataInput, to_metadata
from headwater.v1 import document_pb2

_MOST = 500_000
_WORTH = 20
_PAGE = 1000


class KnownDocuments:
    """The documents that were READY when the import began, some 200 bytes each.

    A file whose document is among them, with the same content, need not be spoken of to the server.
    """

    def __init__(self) -> None:
        self._documents: dict[str, tuple[bytes, int]] = {}

    def __contains__(self, document_id: str) -> bool:
        return document_id in self._documents

    def passages(self, document_id: str, sha256: bytes) -> int | None:
        """How many passages a document has. None: it is not known, or not with this content."""
        known = self._documents.get(document_id)
        return known[1] if known is not None and known[0] == sha256 else None

    def add(self, document: document_pb2.Document) -> None:
        """Keeps a document that is READY."""
        document_id = document.name.rpartition("/")[2]
        self._documents[document_id] = (bytes.fromhex(document.sha256), document.passage_count)


def known_documents(
    client: Client, corpus: str, *, documents: int, files: int, metadata: Mapping[str, MetadataInput]
) -> KnownDocuments:
    """Lists a corpus, where that costs less than to ask about each file.

    Args:
        client: The server.
        corpus: The corpus.
        documents: How many documents it has.
        files: How many files are to be imported.
        metadata: What the documents are to say; one that says otherwise is not counted as known.

    Raises:
        CallError: The server does not answer as it should.
    """
    known = KnownDocuments()
    if not documents or documents > min(_MOST, _WORTH * files):
        return known
    wanted = dict(document_pb2.Document(metadata=to_metadata(metadata)).metadata)
    for document in client.documents.list(corpus, page_size=_PAGE):
        ready = document.state == document_pb2.DOCUMENT_STATE_READY
        if ready and (not wanted or dict(document.metadata) == wanted):
            known.add(document)
    return known
