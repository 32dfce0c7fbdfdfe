"""A search: candidates from the shards, fused, then checked against the truth and filled from it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from headwater_server.retrieval.store import feedback
from headwater_server.retrieval.store.filters import matches
from headwater_server.retrieval.store.fusion import best, continued, fuse, missing_score
from headwater_server.retrieval.store.index.catch_up import Shards
from headwater_server.retrieval.store.index.filtering import Filters
from headwater_server.retrieval.store.index.shard import DocumentSet, Scored, Shard, ShardBroken
from headwater_server.retrieval.store.protocol import (
    CorpusKey,
    CorpusUnknown,
    Hit,
    Query,
    SearchMode,
    SearchResult,
    StoreUnavailable,
    Vector,
)
from headwater_server.retrieval.store.terms import SparseTerms
from headwater_server.retrieval.store.truth.connection import reading
from headwater_server.retrieval.store.truth.reader import (
    CorpusState,
    StoredPassage,
    data_version,
    find_corpus,
    load_passages,
    load_vectors,
)
from headwater_server.retrieval.store.truth.records import check_vector, load_vector

SETTLE_SECONDS = 0.25
"""How long a search may spend on catching up before it takes the index as it is."""
MOST_SETTLED = 512
"""More new passages than this are not worth to begin with: an import is under way, and the search would only wait."""
LEAST_DEPTH = 50
"""How many candidates each ranking gives at least; twice as many rank no better, and cost a quarter more."""
MOST_DEPTH = 65_536
_SCORE_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class _Target:
    """A corpus to search, and the documents to search in; None for all."""

    key: CorpusKey
    corpus: CorpusState
    documents: DocumentSet | None


@dataclass(frozen=True, slots=True)
class _Ranking:
    ranked: Scored
    nearest: Mapping[int, float]
    """The cosines that the index found."""
    cut: bool
    """Whether more candidates may be had with more depth."""


class _ShardLostError(Exception):
    """A shard broke while it was searched and has been thrown away; another attempt finds it being made anew."""


class Searcher:
    """Answers queries, one at a time."""

    def __init__(self, truth: sqlite3.Connection, shards: Shards) -> None:
        self._truth = truth
        self._shards = shards
        self._filters = Filters(truth)
        self._seen = -1
        self._corpora: dict[CorpusKey, CorpusState] = {}

    def search(self, query: Query) -> SearchResult:
        """See `Store.search`; the query has been checked but for its corpora and the dimension of its vector."""
        try:
            return self._attempt(query)
        except _ShardLostError:
            pass
        try:
            return self._attempt(query)
        except _ShardLostError as error:
            raise StoreUnavailable("the index failed and is being made anew") from error

    def _attempt(self, query: Query) -> SearchResult:
        until = time.monotonic() + SETTLE_SECONDS
        with reading(self._truth):  # one moment for all: what is written meanwhile is for the next search
            self._notice_writes()
            corpora = {key: self._known(key) for key in dict.fromkeys(query.corpora)}
            self._settle(corpora.values(), until)
            targets = self._targets(query, corpora)
            current = all(self._is_current(state) for state in corpora.values())
            return self._ranked(query, targets, current=current)

    def _notice_writes(self) -> None:
        version = data_version(self._truth)
        if version != self._seen:
            self._shards.refresh()
            self._corpora.clear()
            self._seen = version

    def _known(self, key: CorpusKey) -> CorpusState:
        corpus = self._corpora.get(key)
        if corpus is None:
            corpus = find_corpus(self._truth, key)
            if corpus is None:
                raise CorpusUnknown(f"corpus {key.corpus_id!r} does not exist")
            self._corpora[key] = corpus
        return corpus

    def _settle(self, corpora: Iterable[CorpusState], until: float) -> None:
        """Catches up the shards of the corpora, where time allows for all of it; else each by a step only."""
        for corpus in corpora:
            if corpus.passages == 0:
                continue
            self._shards.get(corpus)
            if not self._shards.is_due(corpus.row):
                continue
            hopeless = self._shards.lag(corpus, most=MOST_SETTLED) > MOST_SETTLED
            while self._shards.is_due(corpus.row):
                self._shards.step(corpus.row)
                if hopeless or time.monotonic() >= until:
                    break

    def _is_current(self, corpus: CorpusState) -> bool:
        return corpus.passages == 0 or self._shards.is_current(corpus)

    def _targets(self, query: Query, corpora: Mapping[CorpusKey, CorpusState]) -> list[_Target]:
        targets = []
        for key, corpus in corpora.items():
            if query.vector is not None:
                check_vector(query.vector, dimension=corpus.dimension, owner="the query")
            if corpus.passages and self._shards.get(corpus) is None:
                raise StoreUnavailable(f"the index of corpus {key.corpus_id!r} cannot be used now")
            documents = None if query.filter is None else self._filters.documents(corpus, query.filter)
            if corpus.passages == 0 or (documents is not None and not documents.rows):
                continue
            targets.append(_Target(key, corpus, documents))
        return targets

    def _ranked(self, query: Query, targets: Sequence[_Target], *, current: bool) -> SearchResult:
        """Ranks, and again deeper while passages that are no more take the places of those that are."""
        depth = max(LEAST_DEPTH, 4 * query.limit)
        while True:
            ranking = self._rank(query, targets, depth)
            result = self._fill(query, targets, ranking, current=current)
            missing = len(result.hits) + result.below_min_score < min(query.limit, len(ranking.ranked))
            if not (missing and ranking.cut) or depth >= MOST_DEPTH:
                return result
            depth *= 4

    def _rank(self, query: Query, targets: Sequence[_Target], depth: int) -> _Ranking:
        lexical: list[tuple[int, float]] = []
        dense: list[tuple[int, float]] = []
        terms: list[SparseTerms] = []
        cut = False
        for target in targets:
            with self._using(target) as shard:
                terms.append(shard.terms_of_query(query.text))
                by_terms, by_vector = _candidates(shard, query, terms[-1], target.documents, depth)
            cut = cut or depth in (len(by_terms), len(by_vector))
            lexical += by_terms
            dense += by_vector
        rankings = [lexical, dense]
        if len(targets) > 1:  # one shard's are in order already
            rankings = [best(each, depth=depth) for each in rankings]
        match query.mode:
            case SearchMode.HYBRID:
                ranked = self._fused(list(zip(targets, terms, strict=True)), rankings, depth=depth, limit=query.limit)
            case SearchMode.DENSE:
                ranked = rankings[1]
            case SearchMode.LEXICAL:
                ranked = rankings[0]
        return _Ranking(ranked, dict(dense), cut)

    def _fused(
        self,
        asked: Sequence[tuple[_Target, SparseTerms]],
        rankings: Sequence[Scored],
        *,
        depth: int,
        limit: int,
    ) -> Scored:
        """Both rankings in one, the lexical one with what the best passages of both say; see `feedback`."""
        lexical, dense = rankings
        fused = fuse(rankings, depth=depth)
        if not lexical:
            return fused
        leading = dict(fused[: feedback.PASSAGES])
        believed: list[tuple[float, SparseTerms]] = []
        for target, _ in asked:
            with self._using(target) as shard:
                believed += [(leading[row], terms) for row, terms in shard.terms_of(list(leading)).items()]
        relevant = feedback.relevant_terms(believed)
        more = [(target, feedback.expanded(terms, relevant)) for target, terms in asked]
        if sum(target.corpus.passages for target, _ in asked) <= feedback.SEARCHED_AGAIN:
            return fuse([self._searched_again(more, depth), dense], depth=depth)
        looked_at = max(feedback.LOOKED_AT, 2 * limit)
        scores = dict.fromkeys([row for row, _ in fused[:looked_at]], 0.0)
        for target, terms in more:
            with self._using(target) as shard:
                scores.update(shard.scores_of(scores, terms))
        cosines, farthest = dict(dense), missing_score(dense, depth=depth)
        again = fuse([list(scores.items()), [(row, cosines.get(row, farthest)) for row in scores]], depth=depth)
        return continued(again, fused[looked_at:])

    def _searched_again(self, asked: Sequence[tuple[_Target, SparseTerms]], depth: int) -> Scored:
        found: list[tuple[int, float]] = []
        for target, terms in asked:
            with self._using(target) as shard:
                found += shard.with_terms(terms, target.documents, depth=depth)
        return found if len(asked) == 1 else best(found, depth=depth)

    @contextmanager
    def _using(self, target: _Target) -> Iterator[Shard]:
        """The shard of a corpus, which is thrown away if it breaks over its use."""
        shard = self._shards.get(target.corpus)
        if shard is None:
            raise StoreUnavailable(f"the index of corpus {target.key.corpus_id!r} cannot be used now")
        try:
            yield shard
        except ShardBroken as error:
            self._shards.broken(target.corpus.row, error)
            raise _ShardLostError from error

    def _fill(self, query: Query, targets: Sequence[_Target], ranking: _Ranking, *, current: bool) -> SearchResult:
        ranked, below = ranking.ranked, 0
        if query.min_score is not None and query.vector is not None:
            ranked, below = self._near_enough(ranking.ranked, query.vector, query.min_score)
        keys = {target.corpus.row: target.key for target in targets}
        hits: list[Hit] = []
        start = 0
        while len(hits) < query.limit and start < len(ranked):
            part = ranked[start : start + query.limit]
            start += len(part)
            hits += self._verified(query, part, keys, ranking.nearest)
        return SearchResult(
            hits=tuple(hits[: query.limit]),
            candidates=len(ranking.ranked),
            below_min_score=below,
            current=current,
        )

    def _near_enough(self, ranked: Scored, vector: Vector, least: float) -> tuple[Scored, int]:
        """The candidates whose cosine is at least `least`, and how many were left out."""
        vectors = load_vectors(self._truth, [row for row, _ in ranked])
        still = [entry for entry in ranked if entry[0] in vectors]
        near = [entry for entry in still if _cosine(vector, vectors[entry[0]]) >= least]
        return near, len(still) - len(near)

    def _verified(
        self, query: Query, ranked: Scored, keys: Mapping[int, CorpusKey], nearest: Mapping[int, float]
    ) -> list[Hit]:
        """The hits among the candidates that still are, in these corpora, and fulfil the filter."""
        passages = load_passages(self._truth, [row for row, _ in ranked])
        cosines = _cosines(query.vector, passages)
        hits = []
        for row, score in ranked:
            passage = passages.get(row)
            if passage is None or passage.corpus_row not in keys:
                continue
            if query.filter is not None and not matches(query.filter, passage.document):
                continue
            cosine = cosines.get(row)
            if cosine is not None and abs(nearest.get(row, cosine) - cosine) > _SCORE_TOLERANCE:
                self._shards.broken(passage.corpus_row, ShardBroken(f"the vector of passage {row} is another"))
                raise _ShardLostError
            hits.append(_hit(passage, keys[passage.corpus_row], score, cosine))
        return hits


def _candidates(
    shard: Shard, query: Query, terms: SparseTerms, documents: DocumentSet | None, depth: int
) -> tuple[Scored, Scored]:
    """What a shard finds by terms, and by the vector."""
    by_terms: Scored = []
    by_vector: Scored = []
    if query.mode is not SearchMode.DENSE:
        by_terms = shard.with_terms(terms, documents, depth=depth)
    if query.vector is not None:
        by_vector = shard.nearest(query.vector, documents, depth=depth)
    return by_terms, by_vector


def _cosines(vector: Vector | None, passages: Mapping[int, StoredPassage]) -> Mapping[int, float]:
    """How near the passages are to a vector, of which there is none in a lexical search."""
    if vector is None or not passages:
        return {}
    # Those of other corpora, which are dropped, may have vectors of another dimension.
    same = {row: passage.vector for row, passage in passages.items() if len(passage.vector) == 4 * len(vector)}
    matrix = load_vector(b"".join(same.values())).reshape(-1, len(vector))
    return dict(zip(same, (matrix @ vector).tolist(), strict=True))


def _cosine(one: Vector, other: Vector) -> float:
    return float(np.dot(one, other))


def _hit(passage: StoredPassage, corpus: CorpusKey, score: float, cosine: float | None) -> Hit:
    return Hit(
        corpus=corpus,
        document=passage.document,
        passage_id=passage.passage_id,
        ordinal=passage.ordinal,
        text=passage.text,
        heading=passage.heading,
        location=passage.location,
        score=score,
        cosine=cosine,
    )
