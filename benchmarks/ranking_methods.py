"""Ways to rank, side by side on judged collections: what the embedded store does, and what it does not.

All is exact and in memory; terms, fusion and feedback are the store's own functions. `retrieval_quality` runs it.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from benchmarks.ir_collections import Collection, ndcg
from headwater_server.retrieval.embedding import MiniLmEmbedder
from headwater_server.retrieval.store import feedback
from headwater_server.retrieval.store.fusion import continued, fuse, missing_score
from headwater_server.retrieval.store.index.search import LEAST_DEPTH
from headwater_server.retrieval.store.terms import K1, USUAL_TERMS, B, SparseTerms, passage_terms, query_terms

DEPTH = LEAST_DEPTH
KNOWN_ITEMS = 250
SNIPPET_WORDS = 6

Vectors = npt.NDArray[np.float32]
Ranked = list[tuple[int, float]]


@dataclass(frozen=True)
class Asked:
    """A question as the methods take it."""

    words: Sequence[str]
    terms: SparseTerms
    vector: Vectors


class Passages:
    """A collection, indexed."""

    def __init__(self, texts: Sequence[str], vectors: Vectors) -> None:
        self.vectors = vectors
        self.terms = [passage_terms(text) for text in texts]
        frequency = Counter(identity for terms in self.terms for identity in terms.ids)
        self.columns = {identity: column for column, identity in enumerate(frequency)}
        self.idf = np.array([_idf(count, len(texts)) for count in frequency.values()])
        self.weights = np.zeros((len(texts), len(self.columns)), dtype=np.float32)
        for row, terms in enumerate(self.terms):
            self.weights[row, [self.columns[identity] for identity in terms.ids]] = terms.weights
        self.pairs: dict[tuple[str, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
        self.lengths = []
        for row, text in enumerate(texts):
            words = stems(text)
            self.lengths.append(len(words))
            for pair in pairwise(words):
                self.pairs[pair][row] += 1

    def by_terms(self, terms: SparseTerms) -> npt.NDArray[np.float64]:
        """BM25 of every passage."""
        known = [(self.columns[i], w) for i, w in zip(terms.ids, terms.weights, strict=True) if i in self.columns]
        columns = [column for column, _ in known]
        scores: npt.NDArray[np.float64] = self.weights[:, columns] @ (
            self.idf[columns] * np.array([weight for _, weight in known])
        )
        return scores

    def by_pairs(self, words: Sequence[str]) -> npt.NDArray[np.float64]:
        """BM25 of every passage by pairs of words that stand together in the question."""
        scores = np.zeros(len(self.terms))
        for pair in pairwise(words):
            rows = self.pairs.get(pair, {})
            for row, count in rows.items():
                norm = K1 * (1 - B + B * self.lengths[row] / USUAL_TERMS)
                scores[row] += _idf(len(rows), len(self.terms)) * count * (K1 + 1) / (count + norm)
        return scores

    def coverage(self, terms: SparseTerms) -> npt.NDArray[np.float64]:
        """The share of the question's terms, by their idf, that each passage has."""
        columns = [self.columns[identity] for identity in terms.ids if identity in self.columns]
        shares: npt.NDArray[np.float64] = (self.weights[:, columns] > 0) @ self.idf[columns]
        return shares / max(float(self.idf[columns].sum()), 1e-9)


Method = Callable[[Passages, Asked], Sequence[int]]


def stems(text: str) -> list[str]:
    """The terms of a text in their order, those of stop words left out."""
    return [str(identity) for word in re.findall(r"\w+", text.lower()) for identity in query_terms(word).ids]


def _idf(count: int, passages: int) -> float:
    return math.log1p((passages - count + 0.5) / (count + 0.5))


def top(scores: npt.NDArray[np.float64], *, above: float = -math.inf) -> Ranked:
    rows = np.argsort(-scores, kind="stable")[:DEPTH]
    return [(int(row), float(scores[row])) for row in rows if scores[row] > above]


def rankings(passages: Passages, asked: Asked) -> tuple[Ranked, Ranked]:
    cosines = (passages.vectors @ asked.vector).astype(np.float64)
    return top(passages.by_terms(asked.terms), above=0.0), top(cosines)


def rows_of(ranked: Ranked) -> list[int]:
    return [row for row, _ in ranked]


def lexical(passages: Passages, asked: Asked) -> Sequence[int]:
    return rows_of(rankings(passages, asked)[0])


def dense(passages: Passages, asked: Asked) -> Sequence[int]:
    return rows_of(rankings(passages, asked)[1])


def reciprocal_ranks(constant: int) -> Method:
    def method(passages: Passages, asked: Asked) -> Sequence[int]:
        sums: dict[int, float] = defaultdict(float)
        for ranking in rankings(passages, asked):
            for rank, (row, _) in enumerate(ranking, start=1):
                sums[row] += 1 / (constant + rank)
        return sorted(sums, key=lambda row: (-sums[row], row))

    return method


def from_least_to_most(passages: Passages, asked: Asked) -> Sequence[int]:
    """Scores of each ranking stretched to 0..1 and added."""
    sums: dict[int, float] = defaultdict(float)
    for ranking in rankings(passages, asked):
        if ranking:
            high, low = ranking[0][1], missing_score(ranking, depth=DEPTH)
            for row, score in ranking:
                sums[row] += (score - low) / max(high - low, 1e-9)
    return sorted(sums, key=lambda row: (-sums[row], row))


def standard_scores(passages: Passages, asked: Asked) -> Sequence[int]:
    return rows_of(fuse(rankings(passages, asked), depth=DEPTH))


def fed_back(
    passages: Passages,
    asked: Asked,
    *,
    whole_index: bool = True,
    vectors: bool = False,
    terms: bool = True,
    pairs: bool = False,
) -> Ranked:
    """What the store does, and variants of it."""
    by_terms, by_vector = rankings(passages, asked)
    extra = 0.3 * passages.by_pairs(asked.words) if pairs else 0.0
    if pairs:
        by_terms = top(passages.by_terms(asked.terms) + extra, above=0.0)
    fused = fuse([by_terms, by_vector], depth=DEPTH)
    leading = fused[: feedback.PASSAGES]
    scores = passages.by_terms(asked.terms)
    if terms:
        relevant = feedback.relevant_terms([(score, passages.terms[row]) for row, score in leading])
        total = sum(asked.terms.weights) or 1.0
        scores = total / feedback.SHARE * passages.by_terms(feedback.expanded(asked.terms, relevant))
    scores = scores + extra
    if vectors:
        by_vector = top((passages.vectors @ _moved(passages, asked, leading)).astype(np.float64))
    if whole_index:
        return fuse([top(scores, above=0.0), by_vector], depth=DEPTH)
    looked_at = rows_of(fused[: feedback.LOOKED_AT])
    cosines, farthest = dict(by_vector), missing_score(by_vector, depth=DEPTH)
    again = fuse(
        [[(row, float(scores[row])) for row in looked_at], [(row, cosines.get(row, farthest)) for row in looked_at]],
        depth=DEPTH,
    )
    return continued(again, fused[feedback.LOOKED_AT :])


def _moved(passages: Passages, asked: Asked, leading: Ranked) -> Vectors:
    """Rocchio: the question's vector, three tenths of the way to the mean of the best passages'."""
    beliefs = np.exp(np.array([score - leading[0][1] for _, score in leading]))
    centre = beliefs @ passages.vectors[rows_of(leading)]
    moved: Vectors = (0.7 * asked.vector + 0.3 * centre / np.linalg.norm(centre)).astype(np.float32)
    return moved / np.float32(np.linalg.norm(moved))


def feeding_back(**options: bool) -> Method:
    return lambda passages, asked: rows_of(fed_back(passages, asked, **options))


def reranked_by_coverage(passages: Passages, asked: Asked) -> Sequence[int]:
    """The best 50 reranked without a model: by their score and the share of the question's terms that they have."""
    ranked = fed_back(passages, asked)
    best, rest = ranked[:50], ranked[50:]
    shares = passages.coverage(asked.terms)[rows_of(best)]
    scores = np.array([score for _, score in best])
    mixed = _standard(scores) + 0.4 * _standard(shares)
    return [best[at][0] for at in np.argsort(-mixed, kind="stable")] + rows_of(rest)


def _standard(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    apart: npt.NDArray[np.float64] = scores - scores.mean()
    return apart / max(float(apart.std()), 1e-9)


STORE = "standard scores, and feedback by terms"

METHODS: Mapping[str, Method] = {
    "BM25 alone": lexical,
    "cosine alone": dense,
    "reciprocal ranks, constant 60": reciprocal_ranks(60),
    "reciprocal ranks, constant 20": reciprocal_ranks(20),
    "scores stretched to 0..1": from_least_to_most,
    "standard scores": standard_scores,
    STORE: feeding_back(),
    f"… among the best {feedback.LOOKED_AT} alone, as above 20,000 passages": feeding_back(whole_index=False),
    "… feedback by vectors (Rocchio) instead": feeding_back(terms=False, vectors=True),
    "… feedback by vectors as well": feeding_back(vectors=True),
    "… with pairs of words": feeding_back(pairs=True),
    "… the best 50 reranked by the share of the query's terms": reranked_by_coverage,
}


def compare(collection: Collection, embedder: MiniLmEmbedder) -> Mapping[str, Mapping[str, float]]:
    """nDCG@10 by the judgements, and the mean reciprocal rank of a passage asked for by six of its words."""
    passages = Passages(collection.texts, collection.vectors)
    judged = [
        Asked(stems(text), query_terms(text), vector)
        for text, vector in zip(collection.queries, collection.query_vectors, strict=True)
    ]
    items = known_items(collection.texts)
    snippets = [Asked(stems(text), query_terms(text), embedder.embed_query(text)) for _, text in items]
    rows = {identity: row for row, identity in enumerate(collection.ids)}
    relevant = [{rows[i]: gain for i, gain in each.items() if i in rows} for each in collection.relevant]
    figures = {}
    for name, method in METHODS.items():
        gains = [
            ndcg([gains.get(row, 0.0) for row in method(passages, asked)[:10]], collection.relevant[number].values())
            for number, (asked, gains) in enumerate(zip(judged, relevant, strict=True))
        ]
        found = [
            reciprocal_rank(method(passages, asked)[:10], row) for (row, _), asked in zip(items, snippets, strict=True)
        ]
        figures[name] = {"ndcg": float(np.mean(gains)), "known_item": float(np.mean(found))}
    return figures


def known_items(texts: Sequence[str]) -> list[tuple[int, str]]:
    """Passages, and six words of each in a row."""
    drawn = np.random.default_rng(0)
    items: list[tuple[int, str]] = []
    for row in drawn.permutation(len(texts)):
        words = texts[row].split()
        if len(words) >= 40 and len(items) < KNOWN_ITEMS:
            start = int(drawn.integers(10, len(words) - SNIPPET_WORDS))
            items.append((int(row), " ".join(words[start : start + SNIPPET_WORDS])))
    return items


def reciprocal_rank(found: Sequence[int], row: int) -> float:
    return 1 / (found.index(row) + 1) if row in found else 0.0
