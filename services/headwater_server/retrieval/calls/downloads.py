"""DownloadDocument: a document as it was uploaded."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

from anyio import to_thread

from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server import names
from headwater_server.errors import ResourceNotFound
from headwater_server.interfaces import Caller
from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.calls.wire import document_message
from headwater_server.retrieval.catalog import Document, DocumentKey

_PIECE_BYTES = 256 * 1024
_TRIES = 3


class ContentDamagedError(Exception):
    """Stored bytes are not what was stored: the disk has changed them."""


class Downloads:
    """Streams documents' contents."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(
        self, request: pb.DownloadDocumentRequest, caller: Caller
    ) -> AsyncGenerator[pb.DownloadDocumentResponse]:
        """DownloadDocument.

        A document that is replaced or deleted meanwhile is sent whole as it was when the call began.
        """
        document, file = await self._open(DocumentKey(caller.tenant, *names.document_ids(request.name)), request.name)
        try:
            progress = self._parts.board.latest(document.key)
            yield pb.DownloadDocumentResponse(document=document_message(document, progress))
            digest = hashlib.sha256()
            sent = 0
            while data := await to_thread.run_sync(file.read, _PIECE_BYTES):
                digest.update(data)
                sent += len(data)
                yield pb.DownloadDocumentResponse(data=data)
            if digest.hexdigest() != document.sha256:
                raise ContentDamagedError(f"the stored content of {request.name} is damaged")
            yield pb.DownloadDocumentResponse(complete=pb.DownloadComplete(size_bytes=sent, sha256=document.sha256))
        finally:
            await to_thread.run_sync(file.close)

    async def _open(self, key: DocumentKey, name: str) -> tuple[Document, BinaryIO]:
        for _ in range(_TRIES):  # between looking and opening it may get other content
            document = await self._parts.catalog.get_document(key)
            if document is None:
                break
            path = self._parts.catalog.content_path(document.content)
            try:
                return document, await to_thread.run_sync(_open_binary, path)
            except FileNotFoundError:
                continue
        else:
            raise ContentDamagedError(f"the stored content of {name} is missing")
        raise ResourceNotFound(name)


def _open_binary(path: Path) -> BinaryIO:
    return path.open("rb")
