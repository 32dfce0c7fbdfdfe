"""Searching corpora that may have different embedders."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import anyio

from headwater_server.retrieval.calls.parts import Parts
from headwater_server.retrieval.catalog import CorpusSetup, EmbedderIdentity
from headwater_server.retrieval.corpus_embedder import embedder_of
from headwater_server.retrieval.embedding.protocol import Vector
from headwater_server.retrieval.store.protocol import CorpusKey, Hit, Query, SearchResult

_RANK_CONSTANT = 60
"""Of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)."""


@dataclass(frozen=True, slots=True)
class Searched:
    """A corpus to search."""

    key: CorpusKey
    setup: CorpusSetup


MakeQuery = Callable[[Sequence[Searched], Vector | None], Query]
"""Makes the query of corpora of one embedder, given what it has made of the text."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, and what it took."""

    result: SearchResult
    embedding_seconds: float
    search_seconds: float


async def search_corpora(
    parts: Parts,
    corpora: Sequence[Searched],
    *,
    text: str,
    embedded: bool,
    limit: int,
    query: MakeQuery,
    vectors: dict[EmbedderIdentity, Vector],
) -> Found:
    """Searches corpora, those of each embedder by themselves, and puts the results together by rank.

    Scores and cosines of different embedders cannot be compared; what each ranks first is as good as what another
    ranks first.

    Args:
        parts: The service's parts.
        corpora: At least one.
        text: What to embed.
        embedded: Whether the search needs an embedding.
        limit: How many hits at most.
        query: Makes the query of corpora and their embedding.
        vectors: The text's embeddings that were made before; those made now are added.

    Raises:
        PreconditionFailed: This server has not a corpus's embedder.
        ServiceError: An embedder's server does not do its work.
        StoreError: The store fails, or a corpus is no more.
    """
    if not embedded:
        start = time.perf_counter()
        result = await parts.store.search(query(corpora, None))
        return Found(result, 0.0, time.perf_counter() - start)
    groups: dict[EmbedderIdentity, list[Searched]] = {}
    for corpus in corpora:
        groups.setdefault(corpus.setup.embedder, []).append(corpus)
    if len(groups) == 1:
        return await _search_group(parts, corpora, text, query, vectors)
    found: dict[EmbedderIdentity, Found] = {}
    failures: list[Exception] = []
    async with anyio.create_task_group() as tasks:

        async def search(embedder: EmbedderIdentity) -> None:
            try:
                found[embedder] = await _search_group(parts, groups[embedder], text, query, vectors)
            except Exception as error:
                failures.append(error)
                tasks.cancel_scope.cancel()

        for embedder in groups:
            tasks.start_soon(search, embedder)
    if failures:
        raise failures[0]
    parts_found = [found[embedder] for embedder in groups]
    return Found(
        fused([each.result for each in parts_found], limit=limit),
        max(each.embedding_seconds for each in parts_found),
        max(each.search_seconds for each in parts_found),
    )


async def _search_group(
    parts: Parts,
    corpora: Sequence[Searched],
    text: str,
    query: MakeQuery,
    vectors: dict[EmbedderIdentity, Vector],
) -> Found:
    """Searches corpora of one embedder."""
    start = time.perf_counter()
    for corpus in corpora:
        embedder = await embedder_of(parts.embedders, corpus.key, corpus.setup)
    identity = corpora[0].setup.embedder
    vector = vectors.get(identity)
    if vector is None:
        vector = vectors[identity] = await embedder.embed_query(text)
    made = time.perf_counter()
    result = await parts.store.search(query(corpora, vector))
    return Found(result, made - start, time.perf_counter() - made)


def fused(results: Sequence[SearchResult], *, limit: int) -> SearchResult:
    """Results over different corpora as one, by rank; of equals, those of the first result come first."""
    ranked: list[tuple[int, int, Hit]] = []
    for number, result in enumerate(results):
        ranked.extend((rank, number, hit) for rank, hit in enumerate(result.hits, start=1))
    ranked.sort(key=lambda each: each[:2])
    return SearchResult(
        hits=[replace(hit, score=1 / (_RANK_CONSTANT + rank)) for rank, _, hit in ranked[:limit]],
        candidates=sum(result.candidates for result in results),
        below_min_score=sum(result.below_min_score for result in results),
        current=all(result.current for result in results),
    )
