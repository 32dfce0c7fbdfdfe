"""The calls about corpora."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server import names
from headwater_server.errors import AlreadyExists, InvalidRequest, PreconditionFailed, ResourceNotFound
from headwater_server.interfaces import Caller
from headwater_server.retrieval.calls.masks import fields_to_update
from headwater_server.retrieval.calls.naming import CORPUS_NAME
from headwater_server.retrieval.calls.paging import MAX_PAGE_BYTES, page_size
from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.calls.reporting import reported
from headwater_server.retrieval.calls.requests import mark_of
from headwater_server.retrieval.calls.wire import corpus_message
from headwater_server.retrieval.catalog import BeingDeleted, Corpus, CorpusExists, CorpusNotEmpty, RequestMark
from headwater_server.retrieval.embedding.protocol import Embedder
from headwater_server.retrieval.store.protocol import CorpusKey

_UPDATABLE = ("display_name", "labels")


class CorpusCalls:
    """Creates, shows, changes and deletes corpora."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def create(self, request: pb.CreateCorpusRequest, caller: Caller) -> document_pb2.Corpus:
        """CreateCorpus."""
        key = CorpusKey(caller.tenant, request.corpus_id or names.new_id())
        name = names.corpus_name(key.corpus_id)
        mark = mark_of(request, request.request_id, resource=name)
        with reported(name):
            try:
                corpus = await self._parts.operations.complete(lambda: self._create(key, request.corpus, mark))
            except CorpusExists as error:
                raise AlreadyExists(name) from error
        return corpus_message(corpus)

    async def get(self, request: pb.GetCorpusRequest, caller: Caller) -> document_pb2.Corpus:
        """GetCorpus."""
        corpus = await self._parts.catalog.get_corpus(CorpusKey(caller.tenant, names.corpus_id(request.name)))
        if corpus is None:
            raise ResourceNotFound(request.name)
        return corpus_message(corpus)

    async def list(self, request: pb.ListCorporaRequest, caller: Caller) -> pb.ListCorporaResponse:
        """ListCorpora."""
        tokens, size = self._parts.tokens, page_size(request.page_size)
        after = tokens.read(request.page_token, "corpora", caller.tenant)
        corpora = await self._parts.catalog.list_corpora(caller.tenant, after=after, limit=size + 1)
        response = pb.ListCorporaResponse()
        room = MAX_PAGE_BYTES
        for number, corpus in enumerate(corpora):
            message = corpus_message(corpus)
            room -= message.ByteSize() + 8
            if number == size or (number and room < 0):
                last = corpora[number - 1].key.corpus_id
                response.next_page_token = tokens.make("corpora", caller.tenant, last=last)
                break
            response.corpora.append(message)
        return response

    async def update(self, request: pb.UpdateCorpusRequest, caller: Caller) -> document_pb2.Corpus:
        """UpdateCorpus."""
        changes = request.corpus
        if not CORPUS_NAME.fullmatch(changes.name):
            raise InvalidRequest("corpus.name", "must be `corpora/{corpus}`")
        present = [name for name in _UPDATABLE if getattr(changes, name)]
        fields = fields_to_update(request.update_mask, allowed=_UPDATABLE, present=present)
        with reported(changes.name):
            corpus = await self._parts.catalog.update_corpus(
                CorpusKey(caller.tenant, names.corpus_id(changes.name)),
                display_name=changes.display_name if "display_name" in fields else None,
                labels=dict(changes.labels) if "labels" in fields else None,
            )
        return corpus_message(corpus)

    async def delete(self, request: pb.DeleteCorpusRequest, caller: Caller) -> Empty:
        """DeleteCorpus."""
        key = CorpusKey(caller.tenant, names.corpus_id(request.name))
        with reported(request.name):
            try:
                await self._parts.operations.complete(lambda: self._delete(key, force=request.force))
            except CorpusNotEmpty as error:
                raise PreconditionFailed(
                    f"{request.name} has {error.documents} documents: delete them first, or set force"
                ) from error
        return Empty()

    async def ensure(self, key: CorpusKey) -> None:
        """Sees to it that documents can be put into a corpus; `default` is created where it is missing.

        Raises:
            ResourceNotFound: There is no such corpus.
            PreconditionFailed: Its vectors were made by another embedder.
        """
        corpus = await self._parts.catalog.get_corpus(key)
        if corpus is None and key.corpus_id == names.DEFAULT_CORPUS:
            try:
                await self._parts.operations.complete(lambda: self._create(key, document_pb2.Corpus(), None))
            except CorpusExists:
                pass  # by another call, in the meantime
            else:
                return
            corpus = await self._parts.catalog.get_corpus(key)
        if corpus is None:
            raise ResourceNotFound(names.corpus_name(key.corpus_id))
        await self.check_embedder(corpus)

    async def check_embedder(self, corpus: Corpus) -> None:
        """Refuses a corpus whose vectors cannot be compared with those that this server makes.

        Raises:
            PreconditionFailed: They cannot.
        """
        fingerprint = (await self._parts.embedder.load()).fingerprint
        if corpus.embedder != fingerprint:
            raise PreconditionFailed(
                f"{names.corpus_name(corpus.key.corpus_id)} was made with the embedder {corpus.embedder}, and this"
                f" server has {fingerprint}: import its documents into a new corpus"
            )

    async def _create(self, key: CorpusKey, corpus: document_pb2.Corpus, mark: RequestMark | None) -> Corpus:
        """Creates a corpus in the store first: what the catalog has can be searched."""
        catalog, store = self._parts.catalog, self._parts.store
        embedder = await self._parts.embedder.load()
        async with self._parts.locks.hold(key):
            if mark and await catalog.find_request(key.tenant, mark.request_id):
                return await self._record(key, corpus, embedder, mark)
            if await catalog.get_corpus(key):
                raise CorpusExists(key.corpus_id)
            await self._open_in_store(key, embedder)
            try:
                created = await self._record(key, corpus, embedder, mark)
            except BeingDeleted:
                await self._finish_deletion(key)
                await self._open_in_store(key, embedder)
                created = await self._record(key, corpus, embedder, mark)
            if created.key != key:  # the same request, sent twice at once, has made another
                await store.delete_corpus(key)
            return created

    async def _open_in_store(self, key: CorpusKey, embedder: Embedder) -> None:
        store = self._parts.store
        try:
            await store.create_corpus(key, dimension=embedder.dimension, embedder=embedder.fingerprint)
        except ValueError:  # left by a creation that was cut off, when the server had another embedder
            await store.delete_corpus(key)
            await store.create_corpus(key, dimension=embedder.dimension, embedder=embedder.fingerprint)

    async def _record(
        self, key: CorpusKey, corpus: document_pb2.Corpus, embedder: Embedder, mark: RequestMark | None
    ) -> Corpus:
        return await self._parts.catalog.create_corpus(
            key,
            display_name=corpus.display_name,
            labels=dict(corpus.labels),
            embedder=embedder.fingerprint,
            mark=mark,
        )

    async def _delete(self, key: CorpusKey, *, force: bool) -> None:
        async with self._parts.locks.hold(key):
            await self._parts.catalog.begin_delete_corpus(key, force=force)
            self._parts.runner.withdraw(lambda document: document.corpus == key)
            await self._finish_deletion(key)
        for document in self._parts.board.watched_in(key):
            self._parts.board.state_changed(document)

    async def _finish_deletion(self, key: CorpusKey) -> None:
        await self._parts.store.delete_corpus(key)
        await self._parts.catalog.finish_delete_corpus(key)
