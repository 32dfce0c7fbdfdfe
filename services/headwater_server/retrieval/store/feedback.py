"""What the best passages of a first search say of the question: more terms for a second one.

This is RM3, relevance feedback without a user (Lavrenko and Croft, "Relevance-Based Language Models", SIGIR 2001;
Abdul-Jaleel and others, "UMass at TREC 2004: Novelty and HARD"), with two economies. A passage's own term weights stand
in for its language model, as the index has them at hand; and among many passages only the best candidates are ranked
again, as a search by so many terms would cost more than all the rest. The numbers are the usual ones;
`docs/retrieval.md` shows what it is worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import itemgetter

from headwater_server.retrieval.store.terms import SparseTerms

PASSAGES = 5
"""How many passages are believed."""
SEARCHED_AGAIN = 20_000
"""Up to so many passages all are searched again, which then costs no more than to look at the candidates alone."""
LOOKED_AT = 30
"""How many of more passages are ranked again at least."""
TERMS = 20
"""How many of their terms are taken."""
SHARE = 0.5
"""How much the query itself counts against them, 0 to 1."""


def relevant_terms(passages: Sequence[tuple[float, SparseTerms]]) -> Mapping[int, float]:
    """The terms that stand for what the passages are about, with weights that sum up to 1.

    Args:
        passages: The best passages, each with its score and its terms. A passage counts by the exponential of its
            score: one that stands out speaks almost alone.
    """
    highest = max((score for score, _ in passages), default=0.0)
    weights: dict[int, float] = {}
    so_far = weights.get
    for score, terms in passages:
        belief = math.exp(score - highest)
        for identity, weight in zip(terms.ids, terms.weights, strict=True):
            weights[identity] = so_far(identity, 0.0) + belief * weight
    taken = sorted(weights.items(), key=itemgetter(1), reverse=True)[:TERMS]
    total = math.fsum(weight for _, weight in taken)
    return {identity: weight / total for identity, weight in taken}


def expanded(query: SparseTerms, relevant: Mapping[int, float]) -> SparseTerms:
    """The query's terms with those of `relevant_terms`, each side by its share."""
    total = math.fsum(query.weights)
    weights = {identity: SHARE * weight / total for identity, weight in zip(query.ids, query.weights, strict=True)}
    for identity, weight in relevant.items():
        weights[identity] = weights.get(identity, 0.0) + (1 - SHARE) * weight
    return SparseTerms(list(weights), list(weights.values()))
