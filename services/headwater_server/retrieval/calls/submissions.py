"""Taking documents in: what the unary call and the upload have in common."""

from __future__ import annotations

from google.protobuf.message import Message

from headwater.v1 import document_pb2
from headwater_server import names
from headwater_server.errors import AlreadyExists, InvalidRequest, Overloaded, Reason, ServiceError
from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.calls.reporting import reported
from headwater_server.retrieval.calls.requests import mark_of
from headwater_server.retrieval.catalog import (
    Accepted,
    BeingDeleted,
    DocumentKey,
    OtherContent,
    RequestIdReused,
    RequestMark,
    StagedContent,
    Submission,
)
from headwater_server.retrieval.jobs.progress import Progress
from headwater_server.retrieval.jobs.room import require_room
from headwater_server.retrieval.store.metadata_values import metadata_from_proto

_RETRY_SECONDS = 10.0


class Submissions:
    """Hands documents to the catalog and their work to the runner."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def identify(
        self, tenant: str, *, parent: str, document_id: str, request: Message, request_id: str
    ) -> tuple[DocumentKey, RequestMark | None]:
        """Which document a request means, and what its request id stands for.

        A request that was sent before means the document that it made then, also where the server has made its id.

        Raises:
            ServiceError: The request id belongs to another request (REQUEST_ID_REUSED).
        """
        corpus_id = names.corpus_id(parent)
        key = DocumentKey(tenant, corpus_id, document_id or names.new_id())
        mark = mark_of(request, request_id, resource=names.document_name(corpus_id, key.document_id))
        recorded = await self._parts.catalog.find_request(tenant, mark.request_id) if mark else None
        if mark is None or recorded is None:
            return key, mark
        if recorded.fingerprint != mark.fingerprint:
            with reported(recorded.resource):
                raise RequestIdReused(f"the request_id {request_id} belongs to another request")
        return DocumentKey(tenant, *names.document_ids(recorded.resource)), recorded

    def submission(self, key: DocumentKey, document: document_pb2.Document, *, field: str) -> Submission:
        """What a caller says of a document.

        Args:
            key: Which document.
            document: The caller's words; fields that the server sets are ignored.
            field: Where they stand in the request, for the error.

        Raises:
            InvalidRequest: A metadata value has no meaning.
        """
        return Submission(
            key=key,
            title=document.title,
            uri=document.uri,
            media_type=document.media_type,
            metadata=packed_metadata(document, field=f"{field}.metadata"),
        )

    def check_size(self, size_bytes: int, *, name: str) -> None:
        """Refuses content that is too large.

        Raises:
            ServiceError: It is (DOCUMENT_TOO_LARGE).
        """
        maximum = self._parts.config.max_document_bytes
        if size_bytes > maximum:
            raise ServiceError(
                Reason.DOCUMENT_TOO_LARGE,
                f"the content has {size_bytes:,} bytes; the server takes at most {maximum:,}",
                metadata={"document": name, "limit": "content", "maximum_bytes": str(maximum)},
            )

    async def check_room(self, key: DocumentKey, size_bytes: int) -> None:
        """Refuses one more document where too many wait already, or the disk has no room for it.

        Raises:
            Overloaded: Too many wait.
            StoreFull: There is no room.
        """
        await require_room(self._parts.catalog, key.tenant, size_bytes=size_bytes)
        most = self._parts.config.max_waiting_documents
        if await self._parts.catalog.count_jobs(most=most) >= most:
            raise Overloaded(
                f"{most:,} documents wait to be read, which is as many as the server keeps",
                retry_after=_RETRY_SECONDS,
                metadata={"limit": "waiting documents", "maximum": str(most)},
            )

    async def accept(
        self, submission: Submission, content: StagedContent, *, replace: bool, mark: RequestMark | None
    ) -> Accepted:
        """Makes a document durable and gives its work to the runner; done to its end whatever becomes of the caller.

        The content is discarded, unless it was accepted.

        Raises:
            AlreadyExists: The id is taken by other content, and `replace` is not set.
            ResourceNotFound: The corpus was deleted, or the document that an earlier call with this request id made.
            Overloaded: Too many documents wait; of an upload that was asked before its bytes came.
            ServiceError: REQUEST_ID_REUSED, or QUOTA_EXCEEDED where the disk is full.
        """
        key = submission.key
        name = names.document_name(key.corpus_id, key.document_id)

        async def work() -> Accepted:
            try:
                if not replace and await self._parts.catalog.get_document(key) is None:
                    await self.check_room(key, content.size_bytes)
                accepted = await self._accept(submission, content, replace=replace, mark=mark)
            finally:
                await content.discard()
            if accepted.changed:
                self._parts.runner.withdraw(lambda document: document == key)
                self._parts.board.publish(key, Progress())
                self._parts.board.state_changed(key)
                self._parts.runner.wake()
            return accepted

        with reported(name):
            try:
                return await self._parts.operations.complete(work)
            except OtherContent as error:
                raise AlreadyExists(
                    name, f"{name} exists already, with other content: ImportDocument replaces it"
                ) from error

    async def _accept(
        self, submission: Submission, content: StagedContent, *, replace: bool, mark: RequestMark | None
    ) -> Accepted:
        catalog, key = self._parts.catalog, submission.key
        try:
            return await catalog.accept_document(submission, content, replace=replace, mark=mark)
        except BeingDeleted:
            async with self._parts.locks.hold(key.corpus):  # whoever deletes it is done by then, or has failed
                await self._parts.store.delete_document(key.corpus, key.document_id)
                await catalog.finish_delete_document(key)
            return await catalog.accept_document(submission, content, replace=replace, mark=mark)


def packed_metadata(document: document_pb2.Document, *, field: str) -> bytes:
    """A document's metadata as the catalog keeps them.

    Raises:
        InvalidRequest: A value has nothing set, or a moment is outside of the years 1 to 9999.
    """
    for key, value in document.metadata.items():
        try:
            metadata_from_proto({key: value})
        except (ValueError, OverflowError) as error:
            raise InvalidRequest(f"{field}[{key!r}]", str(error)) from error
    packed: bytes = document_pb2.Document(metadata=document.metadata).SerializeToString(deterministic=True)
    return packed
