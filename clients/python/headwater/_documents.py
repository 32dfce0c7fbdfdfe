"""Documents, through a `Client`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

from headwater._checks import page
from headwater._collecting import DownloadCheck, ImportCheck, ImportProgress, report
from headwater._files import replaced_file
from headwater._names import corpus_name, document_name
from headwater._transport import Transport
from headwater._updates import update_document_request
from headwater._uploads import Content, OpenContent, create_document_request, import_header, open_content
from headwater._values import MetadataInput
from headwater.v1 import document_pb2, retrieval_service_pb2


class Documents:
    """The documents of a server: `client.documents`. Every method raises `CallError` if the call fails.

    A document is named in full, `corpora/…/documents/…`, or by its id together with `corpus`.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def import_file(
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
        timeout: float | None = None,
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
            on_progress: Called in this thread as the import goes on; an exception from it ends the upload.
            timeout: Seconds that all this may take. None: without limit.

        Returns:
            The document, READY.

        Raises:
            ArgumentError: The content cannot be read, or an argument is not as it must be.
            DocumentError: The document cannot be used.
            NotFound: There is no such corpus.
        """
        with open_content(content) as opened:
            header = import_header(
                opened,
                corpus=corpus,
                document_id=document_id,
                title=title,
                uri=uri,
                media_type=media_type,
                metadata=metadata,
            )
            return Upload(opened, header).run(self._transport, on_progress=on_progress, timeout=timeout)

    def create(
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
        return self._transport.unary(self._transport.retrieval.CreateDocument, request)

    def get(self, document: str, *, corpus: str | None = None) -> document_pb2.Document:
        """Returns a document, without its content.

        Raises:
            NotFound: There is no such document.
        """
        request = retrieval_service_pb2.GetDocumentRequest(name=document_name(document, corpus))
        return self._transport.unary(self._transport.retrieval.GetDocument, request)

    def list(self, corpus: str = "default", *, page_size: int = 0) -> Iterator[document_pb2.Document]:
        """Iterates over the documents of a corpus, by name, and fetches them a page at a time.

        Args:
            corpus: The corpus, by its name or bare id.
            page_size: How many to fetch at once, up to 1,000. 0: as the server likes.
        """
        request = retrieval_service_pb2.ListDocumentsRequest(parent=corpus_name(corpus), page_size=page(page_size))
        while True:
            found = self._transport.unary(self._transport.retrieval.ListDocuments, request)
            yield from found.documents
            if not found.next_page_token:
                return
            request.page_token = found.next_page_token

    def watch(
        self,
        document: str,
        *,
        corpus: str | None = None,
        on_progress: Callable[[ImportProgress], object] | None = None,
        timeout: float | None = None,
    ) -> document_pb2.Document:
        """Waits until a document can be found.

        Args:
            document: The document.
            corpus: Its corpus, where `document` is a bare id.
            on_progress: Called in this thread as the work goes on.
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
        with contextlib.closing(responses):
            for response in responses:
                report(check.accept(response), on_progress)
        return check.finish()

    def update(
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
        return self._transport.unary(self._transport.retrieval.UpdateDocument, request)

    def delete(self, document: str, *, corpus: str | None = None) -> None:
        """Deletes a document. Once this has returned, it is no longer found.

        Raises:
            NotFound: There is no such document.
        """
        request = retrieval_service_pb2.DeleteDocumentRequest(name=document_name(document, corpus))
        self._transport.unary(self._transport.retrieval.DeleteDocument, request)

    def download(self, document: str, *, corpus: str | None = None, timeout: float | None = None) -> bytes:
        """Returns a document's content as it was uploaded, verified.

        Raises:
            NotFound: There is no such document.
            DataLoss: The content did not come whole.
        """
        check = DownloadCheck()
        content = b"".join(self._blocks(check, document_name(document, corpus), timeout=timeout))
        check.finish()
        return content

    def download_to(
        self, path: str | Path, document: str, *, corpus: str | None = None, timeout: float | None = None
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
        blocks = self._blocks(check, document_name(document, corpus), timeout=timeout)
        with replaced_file(path) as file, contextlib.closing(blocks):
            for block in blocks:
                file.write(block)
            return check.finish()

    def _blocks(self, check: DownloadCheck, name: str, *, timeout: float | None) -> Generator[bytes, None, None]:
        request = retrieval_service_pb2.DownloadDocumentRequest(name=name)
        responses = self._transport.stream(self._transport.retrieval.DownloadDocument, request, timeout=timeout)
        with contextlib.closing(responses):
            for response in responses:
                yield check.accept(response)


class Upload:
    """One upload: grpcio's thread takes the requests, while the caller's reads what comes back."""

    def __init__(self, content: OpenContent, header: retrieval_service_pb2.ImportDocumentRequest) -> None:
        self._content = content
        self._header = header
        self._check = ImportCheck(content.size)
        self._may_send = threading.Event()
        self._over = threading.Event()
        self._error: OSError | None = None

    def run(
        self, transport: Transport, *, on_progress: Callable[[ImportProgress], object] | None, timeout: float | None
    ) -> document_pb2.Document:
        """Uploads, and returns the document, READY; raises as `Documents.import_file` does."""
        responses = transport.upload(transport.retrieval.ImportDocument, self._requests(), timeout=timeout)
        try:
            with contextlib.closing(responses):
                for response in responses:
                    progress = self._check.accept(response)
                    if self._check.committed is not None:
                        self._may_send.set()
                    report(progress, on_progress)
        except Exception:
            if self._error is not None:
                raise self._error from None
            raise
        finally:
            self._over.set()
            self._may_send.set()
        return self._check.finish()

    @property
    def document(self) -> document_pb2.Document | None:
        """The document, READY or FAILED. None while it has not come."""
        return self._check.document

    def _requests(self) -> Iterator[retrieval_service_pb2.ImportDocumentRequest]:
        yield self._header
        self._may_send.wait()
        if self._over.is_set():
            return
        try:
            self._content.seek(self._check.committed or 0)
            while not self._over.is_set() and (block := self._content.block()):
                yield retrieval_service_pb2.ImportDocumentRequest(data=block)
        except OSError as error:  # ends the upload early, which the server refuses
            self._error = error
        except ValueError:
            if not self._over.is_set():  # otherwise the caller has closed the file, because the call has ended
                raise
