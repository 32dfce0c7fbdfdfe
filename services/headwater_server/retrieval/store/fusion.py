"""From two rankings to one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter, mul

Scored = Sequence[tuple[int, float]]


def best(scored: Scored, *, depth: int) -> list[tuple[int, float]]:
    """The `depth` highest of scores that can be compared, best first; equal ones in the order of the rows."""
    in_order = sorted(scored)
    in_order.sort(key=itemgetter(1), reverse=True)  # stable: reversing keeps the order of equal ones
    return in_order[:depth]


def fuse(rankings: Sequence[Scored], *, depth: int) -> list[tuple[int, float]]:
    """Fuses rankings by the sum of their standard scores; equal sums in the order of the passages' rows.

    A standard score says by how many standard deviations a passage stands out among all candidates, here counted from
    the lowest instead of the mean, which changes no order. Unlike a rank it tells a passage that alone has the one rare
    word from the first of many that are much alike, and it needs no constant. `docs/retrieval.md` has the figures.

    Args:
        rankings: Each with scores of its own scale, the higher the better.
        depth: How many passages a ranking was asked for. What one with fewer lacks has no term in common, so a score of
            0; what one with so many lacks counts as its last.
    """
    sums = dict.fromkeys(sorted({row for ranking in rankings for row, _ in ranking}), 0.0)
    for ranking in filter(None, rankings):
        scores = [score for _, score in ranking]
        lowest = min(scores) if len(scores) >= min(depth, len(sums)) else 0.0
        # Sums over how far each is above the lowest, which is 0 for the rows that the ranking lacks.
        total = sum(scores)
        mean = (total - len(scores) * lowest) / len(sums)
        squares = sum(map(mul, scores, scores)) - lowest * (2 * total - len(scores) * lowest)
        deviation = math.sqrt(max(0.0, squares / len(sums) - mean * mean))
        if deviation <= 1e-7 * max(abs(lowest), *scores):  # nothing but rounding: all the same
            continue
        for row, score in ranking:
            sums[row] += (score - lowest) / deviation
    return sorted(sums.items(), key=itemgetter(1), reverse=True)


def missing_score(ranking: Scored, *, depth: int) -> float:
    """What a passage counts in a ranking that lacks it: the least score of one cut at `depth`, 0 in a whole one."""
    return min(map(itemgetter(1), ranking), default=0.0) if len(ranking) >= depth else 0.0


def continued(ranked: Scored, rest: Scored) -> list[tuple[int, float]]:
    """A ranking with another below it, whose scores are lowered, all by the same, so far as that takes."""
    if not (ranked and rest):
        return [*ranked, *rest]
    lower = min(0.0, ranked[-1][1] - rest[0][1])
    return [*ranked, *((row, score + lower) for row, score in rest)]
