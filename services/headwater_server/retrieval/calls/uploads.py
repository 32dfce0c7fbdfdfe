"""ImportDocument: a document uploaded in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager

import anyio

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server import names
from headwater_server.errors import InvalidRequest, Overloaded, Reason, ServiceError
from headwater_server.interfaces import Caller
from headwater_server.retrieval.calls.corpora import CorpusCalls
from headwater_server.retrieval.calls.following import Following
from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.calls.reporting import reported
from headwater_server.retrieval.calls.submissions import Submissions
from headwater_server.retrieval.catalog import DocumentKey, DocumentState, StagedContent

Requests = AsyncIterator[pb.ImportDocumentRequest]

_REPORT_BYTES = 1024 * 1024
"""`committed_bytes` is sent after so many more bytes."""
_RETRY_SECONDS = 5.0


class Uploads:
    """Takes uploads; a bounded number at a time."""

    def __init__(self, parts: Parts, *, corpora: CorpusCalls, submissions: Submissions, following: Following) -> None:
        self._parts = parts
        self._corpora = corpora
        self._submissions = submissions
        self._following = following
        self._running = 0

    async def run(self, requests: Requests, caller: Caller) -> AsyncGenerator[pb.ImportDocumentResponse]:
        """ImportDocument."""
        header = await self._header(requests)
        key, mark = await self._submissions.identify(
            caller.tenant,
            parent=header.parent,
            document_id=header.document_id,
            request=header,
            request_id=header.request_id,
        )
        name = names.document_name(key.corpus_id, key.document_id)
        self._submissions.check_size(header.size_bytes, name=name)
        submission = self._submissions.submission(key, header.document, field="header.document")
        with reported(name):
            await self._corpora.ensure(key.corpus)
        if await self._has_content(key, header):
            yield pb.ImportDocumentResponse(committed_bytes=header.size_bytes)
        else:
            with self._slot(), reported(name):
                await self._submissions.check_room(key, header.size_bytes)
                self._following.check_room()
                content = await self._parts.catalog.stage_content()
                try:
                    yield pb.ImportDocumentResponse(committed_bytes=0)
                    async with aclosing(self._receive(requests, header, content)) as received:
                        async for committed in received:
                            yield pb.ImportDocumentResponse(committed_bytes=committed)
                    _check_whole(header, content)
                except BaseException:
                    await content.discard()
                    raise
                await self._submissions.accept(submission, content, replace=True, mark=mark)
        async with aclosing(self._following.follow(key)) as events:
            async for event in events:
                if isinstance(event, document_pb2.Document):
                    yield pb.ImportDocumentResponse(document=event)
                else:
                    yield pb.ImportDocumentResponse(progress=event)

    async def _header(self, requests: Requests) -> pb.ImportDocumentHeader:
        request = await self._next(requests)
        if request is None or request.WhichOneof("part") != "header":
            raise InvalidRequest("header", "must be the first message")
        return request.header

    async def _has_content(self, key: DocumentKey, header: pb.ImportDocumentHeader) -> bool:
        """Whether nothing need be sent, because the document has this content and is, or will be, READY."""
        document = await self._parts.catalog.get_document(key)
        return (
            document is not None
            and document.state is not DocumentState.FAILED
            and document.sha256 == header.sha256.lower()
            and document.size_bytes == header.size_bytes
        )

    async def _receive(
        self, requests: Requests, header: pb.ImportDocumentHeader, content: StagedContent
    ) -> AsyncGenerator[int]:
        """Takes the content until the caller has closed its side; yields how much there is, now and then."""
        reported_bytes = 0
        while (request := await self._next(requests)) is not None:
            if request.WhichOneof("part") != "data":
                raise InvalidRequest("header", "must be sent once only; after it comes the content, in data")
            if content.size_bytes + len(request.data) > header.size_bytes:
                raise InvalidRequest("header.size_bytes", f"is {header.size_bytes}, and more bytes than that were sent")
            await content.write(request.data)
            complete = content.size_bytes == header.size_bytes
            if complete or content.size_bytes - reported_bytes >= _REPORT_BYTES:
                reported_bytes = content.size_bytes
                yield reported_bytes

    async def _next(self, requests: Requests) -> pb.ImportDocumentRequest | None:
        """The next message, or None where the caller has closed its side."""
        seconds = self._parts.config.upload_silence_seconds
        try:
            with anyio.fail_after(seconds):
                return await anext(requests, None)
        except TimeoutError as error:
            raise ServiceError(
                Reason.STREAM_STALLED,
                f"the upload said nothing for {seconds:g} s; nothing was stored",
                metadata={"limit_seconds": f"{seconds:g}"},
            ) from error

    @contextmanager
    def _slot(self) -> Iterator[None]:
        maximum = self._parts.config.max_uploads
        if self._running >= maximum:
            raise Overloaded(
                f"{maximum} uploads are running, which is as many as the server takes",
                retry_after=_RETRY_SECONDS,
                metadata={"limit": "uploads", "maximum": str(maximum)},
            )
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1


def _check_whole(header: pb.ImportDocumentHeader, content: StagedContent) -> None:
    if content.size_bytes != header.size_bytes:
        raise InvalidRequest("header.size_bytes", f"is {header.size_bytes}, but {content.size_bytes} bytes were sent")
    if header.sha256 and header.sha256.lower() != content.sha256:
        raise InvalidRequest("header.sha256", f"does not match the content, whose SHA-256 is {content.sha256}")
