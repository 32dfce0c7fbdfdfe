"""Documents, through an `AsyncClient`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from pathlib import Path

from headwater._async_transport import AsyncTransport
from headwater._checks import page
from headwater._collecting import DownloadCheck, ImportCheck, ImportProgress, report
from headwater._files import replaced_file
from headwater._names import corpus_name, document_name
from headwater._updates import update_document_request
from headwater._uploads import Content, OpenContent, create_document_request, import_header, open_content
from headwater._values import MetadataInput
from headwater.v1 import document_pb2, retrieval_service_pb2


class AsyncDocuments:
    """The documents of a server: `client.documents`. Every method raises `CallError` if the call fails.

    A document is named in full, `corpora/…/documents/…`, or by its id together with `corpus`.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def import_file(
        self,
        content: Content,
        *,
        corpus: str = "default",
        document_id: str | None = None,
        title: str | None = None,
        uri: str | None = None,
        media_type: str | None = None,
        metadata: Mapping[str, MetadataInput] | None = None,
        on_progress: Callable[[ImportProgress], object] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (it goes with the call, as its deadline)
    ) -> document_pb2.Document:
        """Uploads a document and waits until it can be found.

        Once its bytes are durable (stage `received`) the work goes on at the server, whatever becomes of this call.
        The same content under the same id does nothing; other content replaces the document.

        Args:
            content: The path of a file, the bytes, or a file open for reading bytes.
            corpus: The corpus, by its name or bare id.
            document_id: The last part of the document's name. None: the server makes one, so a second import is a
                second document.
            title: Its title. None: taken from the document.
            uri: Where readers find it. None: the path, if there is one.
            media_type: Its media type. None: recognised.
            metadata: Values to filter by.
            on_progress: Called in this task as the import goes on; an exception from it ends the upload.
            timeout: Seconds that all this may take. None: without limit.

        Returns:
            The document, READY.

        Raises:
            ArgumentError: The content cannot be read, or an argument is not as it must be.
            DocumentError: The document cannot be used.
            NotFound: There is no such corpus.
        """
        with contextlib.ExitStack() as stack:
            opened = await asyncio.to_thread(stack.enter_context, open_content(content))
            header = import_header(
                opened,
                corpus=corpus,
                document_id=document_id,
                title=title,
                uri=uri,
                media_type=media_type,
                metadata=metadata,
            )
            return await _Upload(opened, header).run(self._transport, on_progress=on_progress, timeout=timeout)

    async def create(
        self,
        content: bytes | str,
        *,
        corpus: str = "default",
        document_id: str | None = None,
        title: str | None = None,
        uri: str | None = None,
        media_type: str | None = None,
        metadata: Mapping[str, MetadataInput] | None = None,
    ) -> document_pb2.Document:
        """Creates a document of at most 3 MiB, and returns as soon as it is durable.

        `watch` waits until it can be found.

        Args:
            content: Its bytes, or its text.
            corpus: The corpus, by its name or bare id.
            document_id: The last part of the document's name. None: the server makes one.
            title: Its title. None: taken from the document.
            uri: Where readers find it.
            media_type: Its media type. None: recognised; for text, `text/plain`.
            metadata: Values to filter by.

        Raises:
            AlreadyExists: The id is taken by other content.
            NotFound: There is no such corpus.
        """
        request = create_document_request(
            content,
            corpus=corpus,
            document_id=document_id,
            title=title,
            uri=uri,
            media_type=media_type,
            metadata=metadata,
        )
        return await self._transport.unary(self._transport.retrieval.CreateDocument, request)

    async def get(self, document: str, *, corpus: str | None = None) -> document_pb2.Document:
        """Returns a document, without its content.

        Raises:
            NotFound: There is no such document.
        """
        request = retrieval_service_pb2.GetDocumentRequest(name=document_name(document, corpus))
        return await self._transport.unary(self._transport.retrieval.GetDocument, request)

    async def list(self, corpus: str = "default", *, page_size: int = 0) -> AsyncIterator[document_pb2.Document]:
        """Iterates over the documents of a corpus, by name, and fetches them a page at a time.

        Args:
            corpus: The corpus, by its name or bare id.
            page_size: How many to fetch at once, up to 1,000. 0: as the server likes.
        """
        request = retrieval_service_pb2.ListDocumentsRequest(parent=corpus_name(corpus), page_size=page(page_size))
        while True:
            found = await self._transport.unary(self._transport.retrieval.ListDocuments, request)
            for document in found.documents:
                yield document
            if not found.next_page_token:
                return
            request.page_token = found.next_page_token

    async def watch(
        self,
        document: str,
        *,
        corpus: str | None = None,
        on_progress: Callable[[ImportProgress], object] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (it goes with the call, as its deadline)
    ) -> document_pb2.Document:
        """Waits until a document can be found.

        Args:
            document: The document.
            corpus: Its corpus, where `document` is a bare id.
            on_progress: Called in this task as the work goes on.
            timeout: Seconds that this may take. None: without limit.

        Returns:
            The document, READY.

        Raises:
            DocumentError: The document cannot be used.
            NotFound: There is no such document.
        """
        check = ImportCheck(0)
        request = retrieval_service_pb2.WatchDocumentRequest(name=document_name(document, corpus))
        responses = self._transport.stream(self._transport.retrieval.WatchDocument, request, timeout=timeout)
        async with contextlib.aclosing(responses):
            async for response in responses:
                report(check.accept(response), on_progress)
        return check.finish()

    async def update(
        self,
        document: str,
        *,
        corpus: str | None = None,
        title: str | None = None,
        uri: str | None = None,
        metadata: Mapping[str, MetadataInput] | None = None,
    ) -> document_pb2.Document:
        """Changes a document's title, uri or metadata (as a whole); what is None stays.

        Raises:
            ArgumentError: There is nothing to change.
            NotFound: There is no such document.
        """
        request = update_document_request(document, corpus=corpus, title=title, uri=uri, metadata=metadata)
        return await self._transport.unary(self._transport.retrieval.UpdateDocument, request)

    async def delete(self, document: str, *, corpus: str | None = None) -> None:
        """Deletes a document. Once this has returned, it is no longer found.

        Raises:
            NotFound: There is no such document.
        """
        request = retrieval_service_pb2.DeleteDocumentRequest(name=document_name(document, corpus))
        await self._transport.unary(self._transport.retrieval.DeleteDocument, request)

    async def download(self, document: str, *, corpus: str | None = None, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 (it goes with the call, as its deadline)
        """Returns a document's content as it was uploaded, verified.

        Raises:
            NotFound: There is no such document.
            DataLoss: The content did not come whole.
        """
        check = DownloadCheck()
        blocks = [block async for block in self._blocks(check, document_name(document, corpus), timeout=timeout)]
        check.finish()
        return b"".join(blocks)

    async def download_to(
        self,
        path: str | Path,
        document: str,
        *,
        corpus: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (it goes with the call, as its deadline)
    ) -> document_pb2.Document:
        """Writes a document's content to a file, verified. The file is not touched unless all of it has come.

        Returns:
            The document.

        Raises:
            NotFound: There is no such document.
            DataLoss: The content did not come whole.
            OSError: The file cannot be written.
        """
        check = DownloadCheck()
        with replaced_file(path) as file:
            async with contextlib.aclosing(
                self._blocks(check, document_name(document, corpus), timeout=timeout)
            ) as blocks:
                async for block in blocks:
                    await asyncio.to_thread(file.write, block)
            return check.finish()

    async def _blocks(self, check: DownloadCheck, name: str, *, timeout: float | None) -> AsyncGenerator[bytes, None]:  # noqa: ASYNC109 (it goes with the call, as its deadline)
        request = retrieval_service_pb2.DownloadDocumentRequest(name=name)
        responses = self._transport.stream(self._transport.retrieval.DownloadDocument, request, timeout=timeout)
        async with contextlib.aclosing(responses):
            async for response in responses:
                yield check.accept(response)


class _Upload:
    """One upload: a task sends the requests, while the caller's reads what comes back."""

    def __init__(self, content: OpenContent, header: retrieval_service_pb2.ImportDocumentRequest) -> None:
        self._content = content
        self._header = header
        self._check = ImportCheck(content.size)
        self._may_send = asyncio.Event()

    async def run(
        self,
        transport: AsyncTransport,
        *,
        on_progress: Callable[[ImportProgress], object] | None,
        timeout: float | None,  # noqa: ASYNC109 (it goes with the call, as its deadline)
    ) -> document_pb2.Document:
        """Sends the content, and waits for the document."""
        responses = transport.upload(transport.retrieval.ImportDocument, self._requests(), timeout=timeout)
        async with contextlib.aclosing(responses):
            async for response in responses:
                progress = self._check.accept(response)
                if self._check.committed is not None:
                    self._may_send.set()
                report(progress, on_progress)
        return self._check.finish()

    async def _requests(self) -> AsyncGenerator[retrieval_service_pb2.ImportDocumentRequest, None]:
        yield self._header
        await self._may_send.wait()
        await asyncio.to_thread(self._content.seek, self._check.committed or 0)
        while block := await asyncio.to_thread(self._content.block):
            yield retrieval_service_pb2.ImportDocumentRequest(data=block)
