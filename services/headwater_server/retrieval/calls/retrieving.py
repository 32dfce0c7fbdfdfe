"""Retrieve: the passages that fit a query best."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog
from google.protobuf.duration_pb2 import Duration

from headwater.v1 import retrieval_service_pb2 as pb
from headwater.v1 import source_pb2
from headwater_server import names
from headwater_server.errors import InvalidRequest, Overloaded, ResourceNotFound
from headwater_server.interfaces import Caller
from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.calls.reporting import store_unavailable
from headwater_server.retrieval.calls.searching import Found, Searched, search_corpora
from headwater_server.retrieval.calls.wire import source_message
from headwater_server.retrieval.catalog import EmbedderIdentity
from headwater_server.retrieval.embedding.protocol import Vector
from headwater_server.retrieval.ranking.duplicates import without_duplicates
from headwater_server.retrieval.ranking.neighbours import joined
from headwater_server.retrieval.ranking.relevance import Calibration, calibration_of
from headwater_server.retrieval.ranking.reranking import reranked
from headwater_server.retrieval.store.filters import check_filter
from headwater_server.retrieval.store.protocol import (
    CorpusKey,
    CorpusUnknown,
    Hit,
    Query,
    SearchMode,
    SearchResult,
    StoreUnavailable,
)

log = structlog.get_logger("headwater.retrieval")

_TRIES = 10  # a search that met so many takeovers of its corpora in a row is told to come back
_BATCH_BYTES = 256 * 1024
MOST_HITS = 1_000
"""As many as a store gives at once."""
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
class _Ranked:
    """What is shown of the hits."""

    hits: Sequence[Hit]
    calibrations: Mapping[CorpusKey, Calibration]
    near_duplicates: int = 0
    reranker: str = ""
    rerank_seconds: float = 0.0

    def relevance(self, hit: Hit) -> float | None:
        """How relevant a hit is; None where no embedding took part."""
        return None if hit.cosine is None else self.calibrations[hit.corpus].relevance(hit.cosine)


class Retrieving:
    """Searches corpora."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(self, request: pb.RetrieveRequest, caller: Caller) -> AsyncGenerator[pb.RetrieveResponse]:
        """Retrieve."""
        options = request.options
        mode = _MODES[options.mode]
        if mode is SearchMode.LEXICAL and options.HasField("min_score"):
            raise InvalidRequest(
                "options.min_score", "is about a relevance that needs an embedding, and LEXICAL has none"
            )
        if options.HasField("filter"):
            check_filter(options.filter, field="options.filter")
        found, ranked = await self._search(options, caller, mode)
        sources = [
            source_message(hit, rank=rank, relevance=ranked.relevance(hit))
            for rank, hit in enumerate(ranked.hits, start=1)
        ]
        fitting = within_budget(sources, options.token_budget)
        statistics = source_pb2.RetrievalStatistics(
            mode=_MODE_VALUES[mode],
            candidates=found.result.candidates,
            below_min_score=found.result.below_min_score,
            over_token_budget=len(sources) - len(fitting),
            embedding_time=_duration(found.embedding_seconds),
            search_time=_duration(found.search_seconds),
            index_current=found.result.current,
            near_duplicates=ranked.near_duplicates,
            reranker=ranked.reranker,
        )
        if ranked.rerank_seconds:
            statistics.rerank_time.CopyFrom(_duration(ranked.rerank_seconds))
        *full, last = batches(fitting)
        for batch in full:
            yield pb.RetrieveResponse(sources=batch)
        yield pb.RetrieveResponse(sources=last, statistics=statistics)

    async def _corpora_of(self, options: source_pb2.RetrievalOptions, caller: Caller) -> Sequence[Searched]:
        """The corpora to search, each once; `default` is left out where it was never filled.

        Raises:
            ResourceNotFound: Another does not exist.
        """
        corpora = []
        for corpus_id in _corpus_ids(options):
            key = CorpusKey(caller.tenant, corpus_id)
            setup = await self._parts.catalog.corpus_setup(key)
            if setup is not None:
                corpora.append(Searched(key, setup))
            elif corpus_id != names.DEFAULT_CORPUS:
                raise ResourceNotFound(names.corpus_name(corpus_id))
        return corpora

    async def _search(
        self, options: source_pb2.RetrievalOptions, caller: Caller, mode: SearchMode
    ) -> tuple[Found, _Ranked]:
        takeovers = self._parts.takeovers
        for _ in range(_TRIES):
            mark = await takeovers.settled([CorpusKey(caller.tenant, each) for each in _corpus_ids(options)])
            corpora = await self._corpora_of(options, caller)
            if not corpora:
                return Found(_NOTHING, 0.0, 0.0), _Ranked((), {})
            try:
                found, folded = await self._search_until_enough(options, corpora, mode)
            except CorpusUnknown:
                log.info("a corpus was deleted during a search", corpora=[corpus.key for corpus in corpora])
                continue
            except ValueError:  # a vector of another dimension than the corpus has by now
                if not takeovers.changed_since(mark):
                    raise
                continue
            if not takeovers.changed_since(mark):
                return found, await self._rank(options, corpora, found.result.hits, folded)
        raise Overloaded("the corpora are being deleted and made again", retry_after=1.0)

    async def _search_until_enough(
        self, options: source_pb2.RetrievalOptions, corpora: Sequence[Searched], mode: SearchMode
    ) -> tuple[Found, Sequence[Hit]]:
        """Searches, and again for more where so many hits are folded or joined that sources are lacking.

        Returns:
            What was found, and its hits without near-duplicates.
        """
        wanted = self._wanted(options)
        limit = wanted + wanted // 2 + 1
        if self._parts.reranking is not None:
            limit = max(limit, self._parts.reranking.candidates)
        vectors: dict[EmbedderIdentity, Vector] = {}
        while True:
            found = await self._search_once(options, corpora, mode, limit=limit, vectors=vectors)
            hits = found.result.hits
            folded = without_duplicates(hits)
            if len(hits) < limit or limit == MOST_HITS or len(joined(folded)) >= wanted:
                return found, folded
            limit = min(3 * limit, MOST_HITS)

    async def _search_once(
        self,
        options: source_pb2.RetrievalOptions,
        corpora: Sequence[Searched],
        mode: SearchMode,
        *,
        limit: int,
        vectors: dict[EmbedderIdentity, Vector],
    ) -> Found:
        def query(searched: Sequence[Searched], vector: Vector | None) -> Query:
            least_cosine = None
            if vector is not None and options.HasField("min_score"):
                least_cosine = calibration_of(searched[0].setup.embedder.name).least_cosine(options.min_score)
            return Query(
                corpora=[corpus.key for corpus in searched],
                text=options.query,
                vector=vector,
                mode=mode,
                limit=limit,
                filter=options.filter if options.HasField("filter") else None,
                min_score=least_cosine,
            )

        try:
            return await search_corpora(
                self._parts,
                corpora,
                text=options.query,
                embedded=mode is not SearchMode.LEXICAL,
                limit=limit,
                query=query,
                vectors=vectors,
            )
        except StoreUnavailable as error:
            raise store_unavailable() from error

    async def _rank(
        self,
        options: source_pb2.RetrievalOptions,
        corpora: Sequence[Searched],
        hits: Sequence[Hit],
        folded: Sequence[Hit],
    ) -> _Ranked:
        """Reranks and joins hits."""
        wanted = self._wanted(options)
        better = await reranked(self._parts.reranking, options.query, folded, at_least=wanted)
        return _Ranked(
            joined(better.hits)[:wanted],
            {corpus.key: calibration_of(corpus.setup.embedder.name) for corpus in corpora},
            near_duplicates=len(hits) - len(folded),
            reranker=better.reranker,
            rerank_seconds=better.seconds,
        )

    def _wanted(self, options: source_pb2.RetrievalOptions) -> int:
        return options.top_k or self._parts.config.top_k


def _corpus_ids(options: source_pb2.RetrievalOptions) -> Sequence[str]:
    return list(dict.fromkeys(names.corpus_id(name) for name in options.corpora or (names.DEFAULT_CORPUS,)))


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
