"""From two rankings to one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

RANK_CONSTANT = 20
"""How much the first ranks stand out: the k of reciprocal rank fusion.

Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods"
(SIGIR 2009), took 60 for fusing rankings of thousands. Ours are of a hundred, of which ten are read;
`benchmarks/retrieval_quality.py` finds 10 to 20 better than 60 on both of its collections, by about .01 on one.
"""

Scored = Sequence[tuple[int, float]]


def best(scored: Scored, *, depth: int) -> list[tuple[int, float]]:
    """The `depth` highest of scores that can be compared, best first; equal ones in the order of the rows."""
    in_order = sorted(scored)
    in_order.sort(key=itemgetter(1), reverse=True)  # stable: reversing keeps the order of equal ones
    return in_order[:depth]


def fuse(rankings: Iterable[Scored]) -> list[tuple[int, float]]:
    """Fuses rankings by the sum of their reciprocal ranks; equal sums in the order of the passages' rows."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, (row, _) in enumerate(ranking, start=1):
            scores[row] = scores.get(row, 0.0) + 1.0 / (RANK_CONSTANT + rank)
    return best(list(scores.items()), depth=len(scores))
