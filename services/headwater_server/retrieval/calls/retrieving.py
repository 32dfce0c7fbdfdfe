"""Retrieve: the passages that fit a query best."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass

import structlog
from google.protobuf.duration_pb2 import Duration

from headwater.v1 import retrieval_service_pb2 as pb
from headwater.v1 import source_pb2
from headwater_server import names
from headwater_server.errors import InvalidRequest, Overloaded, ResourceNotFound
from headwater_server.interfaces import Caller
from headwater_server.retrieval.calls.corpora import CorpusCalls
from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.calls.reporting import store_unavailable
from headwater_server.retrieval.calls.wire import source_message
from headwater_server.retrieval.embedding.protocol import Vector
from headwater_server.retrieval.store.filters import check_filter
from headwater_server.retrieval.store.protocol import (
    CorpusKey,
    CorpusUnknown,
    Query,
    SearchMode,
    SearchResult,
    StoreUnavailable,
)

log = structlog.get_logger("headwater.retrieval")

_TRIES = 3
_BATCH_BYTES = 256 * 1024
_BYTES_A_TOKEN = 4

_MODES = {
    source_pb2.RETRIEVAL_MODE_UNSPECIFIED: SearchMode.HYBRID,
    source_pb2.RETRIEVAL_MODE_HYBRID: SearchMode.HYBRID,
    source_pb2.RETRIEVAL_MODE_DENSE: SearchMode.DENSE,
    source_pb2.RETRIEVAL_MODE_LEXICAL: SearchMode.LEXICAL,
}
_MODE_VALUES = {
    SearchMode.HYBRID: source_pb2.RETRIEVAL_MODE_HYBRID,
    SearchMode.DENSE: source_pb2.RETRIEVAL_MODE_DENSE,
    SearchMode.LEXICAL: source_pb2.RETRIEVAL_MODE_LEXICAL,
}
_NOTHING = SearchResult(hits=(), candidates=0, below_min_score=0, current=True)


@dataclass(frozen=True, slots=True)
class _Found:
    result: SearchResult
    embedding_seconds: float
    search_seconds: float


class Retrieving:
    """Searches corpora."""

    def __init__(self, parts: Parts, *, corpora: CorpusCalls) -> None:
        self._parts = parts
        self._corpora = corpora

    async def run(self, request: pb.RetrieveRequest, caller: Caller) -> AsyncGenerator[pb.RetrieveResponse]:
        """Retrieve."""
        options = request.options
        mode = _MODES[options.mode]
        if mode is SearchMode.LEXICAL and options.HasField("min_score"):
            raise InvalidRequest("options.min_score", "is a cosine similarity, which LEXICAL has not")
        if options.HasField("filter"):
            check_filter(options.filter, field="options.filter")
        found = await self._search(options, caller, mode)
        sources = [source_message(hit, rank=rank) for rank, hit in enumerate(found.result.hits, start=1)]
        fitting = within_budget(sources, options.token_budget)
        statistics = source_pb2.RetrievalStatistics(
            mode=_MODE_VALUES[mode],
            candidates=found.result.candidates,
            below_min_score=found.result.below_min_score,
            over_token_budget=len(sources) - len(fitting),
            embedding_time=_duration(found.embedding_seconds),
            search_time=_duration(found.search_seconds),
            index_current=found.result.current,
        )
        *full, last = batches(fitting)
        for batch in full:
            yield pb.RetrieveResponse(sources=batch)
        yield pb.RetrieveResponse(sources=last, statistics=statistics)

    async def _corpora_of(
        self, options: source_pb2.RetrievalOptions, caller: Caller, *, embedded: bool
    ) -> Sequence[CorpusKey]:
        """The corpora to search, each once; `default` is left out where it was never filled.

        Raises:
            ResourceNotFound: Another does not exist.
            PreconditionFailed: One cannot be compared with the query's embedding.
        """
        ids = dict.fromkeys(names.corpus_id(name) for name in options.corpora or (names.DEFAULT_CORPUS,))
        keys = []
        for corpus_id in ids:
            corpus = await self._parts.catalog.get_corpus(CorpusKey(caller.tenant, corpus_id))
            if corpus is None:
                if corpus_id != names.DEFAULT_CORPUS:
                    raise ResourceNotFound(names.corpus_name(corpus_id))
                continue
            if embedded:
                await self._corpora.check_embedder(corpus)
            keys.append(corpus.key)
        return keys

    async def _search(self, options: source_pb2.RetrievalOptions, caller: Caller, mode: SearchMode) -> _Found:
        for _ in range(_TRIES):
            corpora = await self._corpora_of(options, caller, embedded=mode is not SearchMode.LEXICAL)
            if not corpora:
                return _Found(_NOTHING, 0.0, 0.0)
            try:
                return await self._search_once(options, corpora, mode)
            except CorpusUnknown:
                log.info("a corpus was deleted during a search", corpora=corpora)
        raise Overloaded("the corpora are being deleted and made again", retry_after=1.0)

    async def _search_once(
        self, options: source_pb2.RetrievalOptions, corpora: Sequence[CorpusKey], mode: SearchMode
    ) -> _Found:
        start = time.perf_counter()
        vector: Vector | None = None
        if mode is not SearchMode.LEXICAL:
            vector = await self._parts.embedder.embed(options.query)
        embedded = time.perf_counter()
        query = Query(
            corpora=corpora,
            text=options.query,
            vector=vector,
            mode=mode,
            limit=options.top_k or self._parts.config.top_k,
            filter=options.filter if options.HasField("filter") else None,
            min_score=options.min_score if options.HasField("min_score") else None,
        )
        try:
            result = await self._parts.store.search(query)
        except StoreUnavailable as error:
            raise store_unavailable() from error
        spent = embedded - start if vector is not None else 0.0
        return _Found(result, spent, time.perf_counter() - embedded)


def within_budget(sources: Sequence[source_pb2.Source], token_budget: int) -> Sequence[source_pb2.Source]:
    """The highest ranked sources that together have at most so many tokens, at 4 bytes of content each; 0: all."""
    if not token_budget:
        return sources
    left = token_budget
    for position, source in enumerate(sources):
        left -= -(-len(source.content.encode()) // _BYTES_A_TOKEN)
        if left < 0:
            return sources[:position]
    return sources


def batches(sources: Sequence[source_pb2.Source]) -> Iterator[list[source_pb2.Source]]:
    """Sources in batches of a bounded size; at least one batch."""
    batch: list[source_pb2.Source] = []
    size = 0
    for source in sources:
        size += source.ByteSize()
        if batch and size > _BATCH_BYTES:
            yield batch
            batch, size = [], source.ByteSize()
        batch.append(source)
    yield batch


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
