"""Following a document until it is READY or FAILED."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

import anyio

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server import names
from headwater_server.errors import Overloaded, ResourceNotFound
from headwater_server.interfaces import Caller
from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.calls.wire import document_message, progress_message
from headwater_server.retrieval.catalog import Document, DocumentKey, DocumentState
from headwater_server.retrieval.jobs.progress import Progress, Stage, Watch

_ENDED = (DocumentState.READY, DocumentState.FAILED)
_LOOK_SECONDS = 30.0
"""The catalog is asked this often, should no word come."""

_RETRY_SECONDS = 5.0


class Following:
    """Streams how the work on a document goes on; for a bounded number of watchers, each of whom costs little."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._watchers = 0

    def check_room(self) -> None:
        """Refuses one more watcher where there are too many.

        Raises:
            Overloaded: There are.
        """
        most = self._parts.config.max_watchers
        if self._watchers >= most:
            raise Overloaded(
                f"{most:,} calls follow documents, which is as many as the server serves",
                retry_after=_RETRY_SECONDS,
                metadata={"limit": "watchers", "maximum": str(most)},
            )

    async def watch(self, request: pb.WatchDocumentRequest, caller: Caller) -> AsyncGenerator[pb.WatchDocumentResponse]:
        """WatchDocument."""
        self.check_room()
        key = DocumentKey(caller.tenant, *names.document_ids(request.name))
        async with aclosing(self.follow(key)) as events:
            async for event in events:
                if isinstance(event, document_pb2.Document):
                    yield pb.WatchDocumentResponse(document=event)
                else:
                    yield pb.WatchDocumentResponse(progress=event)

    async def follow(self, key: DocumentKey) -> AsyncGenerator[document_pb2.DocumentProgress | document_pb2.Document]:
        """Yields the progress at once and at each change, and last the document, READY or FAILED.

        A document that gets other content meanwhile is followed until that is ready.

        Raises:
            ResourceNotFound: It does not exist, or was deleted meanwhile.
        """
        with self._counted(), self._parts.board.watch(key) as watch:
            document = await self._look(key)
            shown = self._progress(document)
            yield progress_message(shown)
            while document.state not in _ENDED:
                step = await _next(watch)
                if step is None:
                    document = await self._look(key)
                elif step != shown:
                    shown = step
                    yield progress_message(step)
        yield document_message(document, Progress())

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    async def _look(self, key: DocumentKey) -> Document:
        document = await self._parts.catalog.get_document(key)
        if document is None:
            raise ResourceNotFound(names.document_name(key.corpus_id, key.document_id))
        return document

    def _progress(self, document: Document) -> Progress:
        if document.state is DocumentState.READY:
            return Progress(Stage.STORED, document.passage_count, document.passage_count)
        return self._parts.board.latest(document.key)


async def _next(watch: Watch) -> Progress | None:
    with anyio.move_on_after(_LOOK_SECONDS):
        return await watch.next()
    return None
