"""Which sentences make the answer, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headwater_server.assistant.extractive.candidates import Candidate
from headwater_server.assistant.extractive.scoring import Scored

MAX_SENTENCES = 5
_MAX_CHARACTERS = 1200
_NEW = 0.7
"""How much the score counts against being new, in maximal marginal relevance (Carbonell and Goldstein, 1998)."""
_WORTH = 0.6
"""The share of the best sentence's score that another one needs; the second needs less."""
_SECOND_WORTH = 0.5
_SAME = 0.8
_MAX_BEFORE = 350


@dataclass(frozen=True, slots=True)
class Passage:
    """Sentences of one source that stand together in the answer, in the order of the source."""

    sentences: Sequence[Candidate]


def select(scored: Sequence[Scored]) -> list[Candidate]:
    """Chooses the sentences of an answer.

    Args:
        scored: All candidates.

    Returns:
        At most five chosen sentences and what they need to be understood, in the order in which to read them: source by
        source, the one with the best sentence first, and within a source as it has them.
    """
    best = max(scored, key=lambda item: item.score)
    chosen: list[Scored] = []
    pool = [item for item in scored if item.score >= _SECOND_WORTH * best.score]
    while pool and len(chosen) < MAX_SENTENCES:
        item = max(pool, key=lambda item: _marginal(item, chosen, best.score))
        pool.remove(item)
        if _likeness(item, chosen) >= _SAME or not _worth(item, chosen, best.score):
            continue
        if chosen and sum(_size(other) for other in chosen) + _size(item) > _MAX_CHARACTERS:
            continue
        chosen.append(item)
    return _in_order(chosen)


def _marginal(item: Scored, chosen: Sequence[Scored], best: float) -> float:
    return _NEW * item.score / best - (1 - _NEW) * _likeness(item, chosen)


def _worth(item: Scored, chosen: Sequence[Scored], best: float) -> bool:
    return not chosen or item.score >= (_SECOND_WORTH if len(chosen) == 1 else _WORTH) * best


def _likeness(item: Scored, chosen: Sequence[Scored]) -> float:
    return max((_jaccard(item.candidate, other.candidate) for other in chosen), default=0.0)


def _jaccard(one: Candidate, other: Candidate) -> float:
    both = len(one.stems & other.stems)
    return both / (len(one.stems) + len(other.stems) - both) if both else 0.0


def _size(item: Scored) -> int:
    return sum(len(candidate.text) for candidate in _whole(item.candidate))


def _whole(candidate: Candidate) -> list[Candidate]:
    """A candidate with what it points back to, or introduces."""
    before = candidate.before
    needed = before is not None and (candidate.depends or before.text.endswith(":")) and len(before.text) <= _MAX_BEFORE
    return [*([before] if needed and before else []), candidate, *candidate.items]


def _in_order(chosen: Sequence[Scored]) -> list[Candidate]:
    found: dict[tuple[int, int], Candidate] = {}
    first: dict[int, int] = {}
    for place, item in enumerate(chosen):
        first.setdefault(item.candidate.source, place)
        for candidate in _whole(item.candidate):
            found.setdefault((candidate.source, candidate.order), candidate)
    return sorted(found.values(), key=lambda candidate: (first[candidate.source], candidate.order))
