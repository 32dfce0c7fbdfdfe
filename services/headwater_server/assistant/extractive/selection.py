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
    best = max(item.score for item in scored)
    if not best:
        return []
    chosen: list[Scored] = []
    left = [_Left(item, place) for place, item in enumerate(scored) if item.score >= _SECOND_WORTH * best]
    while len(chosen) < MAX_SENTENCES:
        # One order serves until a sentence is chosen: that another one is passed over changes nobody's place in it.
        left.sort(key=lambda item: item.rank(best))
        room = _MAX_CHARACTERS - sum(map(_size, chosen))
        place = next((place for place, item in enumerate(left) if _suits(item, chosen, best=best, room=room)), None)
        if place is None:
            break
        chosen.append(left[place].scored)
        left = left[place + 1 :]
        for item in left:
            item.likeness = max(item.likeness, _jaccard(item.scored.candidate, chosen[-1].candidate))
    return _in_order(chosen)


@dataclass(slots=True)
class _Left:
    """A candidate that has not been looked at yet."""

    scored: Scored
    place: int
    """Its place among all candidates, by which equals are ordered."""
    likeness: float = 0.0
    """To the chosen sentence that it is most like."""

    def rank(self, best: float) -> tuple[float, int]:
        """The less, the sooner it is looked at: its marginal relevance counts."""
        return -(_NEW * self.scored.score / best - (1 - _NEW) * self.likeness), self.place


def _suits(item: _Left, chosen: Sequence[Scored], *, best: float, room: int) -> bool:
    if item.likeness >= _SAME or not _worth(item.scored, chosen, best):
        return False
    return not chosen or _size(item.scored) <= room


def _worth(item: Scored, chosen: Sequence[Scored], best: float) -> bool:
    return not chosen or item.score >= (_SECOND_WORTH if len(chosen) == 1 else _WORTH) * best


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
