"""The calls about corpora."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server import names
from headwater_server.errors import AlreadyExists, InvalidRequest, PreconditionFailed, ResourceNotFound
from headwater_server.interfaces import Caller
from headwater_server.paging import page_of, page_size
from headwater_server.retrieval.calls.naming import CORPUS_NAME
from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.calls.reporting import reported
from headwater_server.retrieval.calls.requests import mark_of
from headwater_server.retrieval.calls.wire import corpus_message
from headwater_server.retrieval.catalog import (
    BeingDeleted,
    Corpus,
    CorpusChanges,
    CorpusExists,
    CorpusNotEmpty,
    CorpusSetup,
    EmbedderIdentity,
    RequestMark,
    Splitting,
)
from headwater_server.retrieval.corpus_embedder import embedder_of
from headwater_server.retrieval.embedding.errors import EmbedderUnknown
from headwater_server.retrieval.store.protocol import CorpusKey
from headwater_server.update_masks import fields_to_update

_UPDATABLE = ("display_name", "labels", "splitting", "language")


class CorpusCalls:
    """Creates, shows, changes and deletes corpora."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def create(self, request: pb.CreateCorpusRequest, caller: Caller) -> document_pb2.Corpus:
        """CreateCorpus."""
        key = CorpusKey(caller.tenant, request.corpus_id or names.new_id())
        name = names.corpus_name(key.corpus_id)
        mark = mark_of(request, request.request_id, resource=name)
        setup = await self._setup(request.corpus)
        with reported(name):
            try:
                corpus = await self._parts.operations.complete(lambda: self._create(key, request.corpus, setup, mark))
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
        page, more = page_of(map(corpus_message, corpora), limit=size)
        response = pb.ListCorporaResponse(corpora=page)
        if more:
            last = corpora[len(page) - 1].key.corpus_id
            response.next_page_token = tokens.make("corpora", caller.tenant, last=last)
        return response

    async def update(self, request: pb.UpdateCorpusRequest, caller: Caller) -> document_pb2.Corpus:
        """UpdateCorpus."""
        given = request.corpus
        if not CORPUS_NAME.fullmatch(given.name):
            raise InvalidRequest("corpus.name", "must be `corpora/{corpus}`")
        present = [name for name in ("display_name", "labels", "language") if getattr(given, name)]
        present += ["splitting"] if given.HasField("splitting") else []
        fields = fields_to_update(request.update_mask, allowed=_UPDATABLE, present=present)
        changes = CorpusChanges(
            display_name=given.display_name if "display_name" in fields else None,
            labels=dict(given.labels) if "labels" in fields else None,
            splitting=self._splitting(given) if "splitting" in fields else None,
            language=given.language if "language" in fields else None,
        )
        key = CorpusKey(caller.tenant, names.corpus_id(given.name))
        with reported(given.name):
            corpus = await self._parts.catalog.update_corpus(key, changes)
        return corpus_message(corpus)

    async def reembed(self, request: pb.ReembedCorpusRequest, caller: Caller) -> document_pb2.Corpus:
        """ReembedCorpus."""
        key = CorpusKey(caller.tenant, names.corpus_id(request.name))
        setup = await self._parts.catalog.corpus_setup(key)
        if setup is None:
            raise ResourceNotFound(request.name)
        identity = await self._identity(request.embedder or setup.embedder.name, field="embedder")
        with reported(request.name):
            await self._parts.operations.complete(lambda: self._parts.reembedder.begin(key, identity))
            corpus = await self._parts.catalog.get_corpus(key)
        if corpus is None:
            raise ResourceNotFound(request.name)
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
            PreconditionFailed: This server has not the embedder that made its vectors.
        """
        setup = await self._parts.catalog.corpus_setup(key)
        if setup is None and key.corpus_id == names.DEFAULT_CORPUS:
            setup = await self._default_setup()
            try:
                created = setup
                await self._parts.operations.complete(lambda: self._create(key, document_pb2.Corpus(), created, None))
            except CorpusExists:  # made by another call, in the meantime
                setup = await self._parts.catalog.corpus_setup(key)
        if setup is None:
            raise ResourceNotFound(names.corpus_name(key.corpus_id))
        await embedder_of(self._parts.embedders, key, setup)

    async def _default_setup(self) -> CorpusSetup:
        return CorpusSetup(await self._identity("", field="corpus.embedder"))

    async def _setup(self, corpus: document_pb2.Corpus) -> CorpusSetup:
        """What a caller wants of a new corpus.

        Raises:
            InvalidRequest: There is no such embedder, or the sizes contradict each other.
            PreconditionFailed: The embedder cannot be used on this machine.
            ServiceError: The embedder's server does not answer, or refuses the model.
        """
        identity = await self._identity(corpus.embedder, field="corpus.embedder")
        return CorpusSetup(identity, self._splitting(corpus), corpus.language)

    async def _identity(self, name: str, *, field: str) -> EmbedderIdentity:
        try:
            embedder = self._parts.embedders.get(name)
        except EmbedderUnknown as error:
            raise InvalidRequest(field, str(error)) from error
        return EmbedderIdentity(embedder.name, await embedder.fingerprint(), await embedder.dimension())

    def _splitting(self, corpus: document_pb2.Corpus) -> Splitting:
        given = corpus.splitting
        longest = given.max_characters or self._parts.config.split.max_characters
        overlap = given.overlap_characters if given.HasField("overlap_characters") else None
        if overlap is not None and overlap > longest // 2:
            raise InvalidRequest(
                "corpus.splitting.overlap_characters",
                f"is {overlap}; it must be at most half of max_characters, which is {longest}",
            )
        return Splitting(given.max_characters, overlap)

    async def _create(
        self, key: CorpusKey, corpus: document_pb2.Corpus, setup: CorpusSetup, mark: RequestMark | None
    ) -> Corpus:
        """Creates a corpus in the store first: what the catalog has can be searched."""
        catalog, store = self._parts.catalog, self._parts.store
        async with self._parts.locks.hold(key):
            if mark and await catalog.find_request(key.tenant, mark.request_id):
                return await self._record(key, corpus, setup, mark)
            if await catalog.corpus_setup(key):
                raise CorpusExists(key.corpus_id)
            await self._open_in_store(key, setup.embedder)
            try:
                created = await self._record(key, corpus, setup, mark)
            except BeingDeleted:
                await self._finish_deletion(key)
                await self._open_in_store(key, setup.embedder)
                created = await self._record(key, corpus, setup, mark)
            if created.key != key:  # the same request, sent twice at once, has made another
                await store.delete_corpus(key)
            return created

    async def _open_in_store(self, key: CorpusKey, embedder: EmbedderIdentity) -> None:
        store = self._parts.store
        try:
            await store.create_corpus(key, dimension=embedder.dimension, embedder=embedder.fingerprint)
        except ValueError:  # left by a creation that was cut off, with another embedder
            await store.delete_corpus(key)
            await store.create_corpus(key, dimension=embedder.dimension, embedder=embedder.fingerprint)

    async def _record(
        self, key: CorpusKey, corpus: document_pb2.Corpus, setup: CorpusSetup, mark: RequestMark | None
    ) -> Corpus:
        return await self._parts.catalog.create_corpus(
            key, display_name=corpus.display_name, labels=dict(corpus.labels), setup=setup, mark=mark
        )

    async def _delete(self, key: CorpusKey, *, force: bool) -> None:
        async with self._parts.locks.hold(key):
            await self._parts.catalog.begin_delete_corpus(key, force=force)
            self._parts.runner.withdraw(lambda document: document.corpus == key)
            self._parts.reembedder.withdraw(key)
            await self._finish_deletion(key)
        for document in self._parts.board.watched_in(key):
            self._parts.board.state_changed(document)

    async def _finish_deletion(self, key: CorpusKey) -> None:
        await self._parts.store.delete_corpus(key)
        await self._parts.catalog.finish_delete_corpus(key)
