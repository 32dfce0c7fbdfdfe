"""How well a sentence answers a question, by the words they share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headwater_server.assistant.extractive.candidates import Candidate
from headwater_server.assistant.extractive.questions import Cue
from headwater_server.assistant.extractive.words import Words
from headwater_server.assistant.protocol import Source
from headwater_server.assistant.sentences import Kind

CONTEXT_SHARE = 0.4
"""What a word of the question counts that stands only in the heading or the title above a sentence."""
BEFORE_SHARE = 0.3
"""What it counts that stands only in the sentence before."""
REFERRED_SHARE = 0.7
"""What it counts there, if the sentence points back, as one that begins with "It" does."""
_FITS = 1.3
_FITS_NOT = 0.8
_DEPENDS = 0.85
_INTRODUCES = 0.5
_ROW = 0.8
_FAR = 0.08
_SHORT, _LONG = 6, 45
_OTHERS = 10


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate with its score."""

    candidate: Candidate
    score: float
    """How well it answers, above 0; comparable within one question."""
    coverage: float
    """The share of the question's words, by weight, that stand in it or above it: 0 to 1."""


class QuestionWords:
    """The words of a question, with the weight of each among the sources.

    A word's weight is its inverse document frequency over the sentences of the sources, log(1 + (N − n + ½)/(n + ½)) as
    in BM25 (Robertson and Zaragoza, 2009), as if there were some more sentences without it, so that few sources do not
    make a common word worthless. A word that is in none of them weighs most: it is what cannot be answered.
    """

    def __init__(self, question: str, candidates: Sequence[Candidate], words: Words) -> None:
        self._question = question
        asked = words.content(question) or words.stems(question)
        frequency = Counter(stem for candidate in candidates for stem in candidate.stems)
        count = len(candidates) + _OTHERS
        self.weights: Mapping[str, float] = {
            stem: math.log1p((count - frequency[stem] + 0.5) / (frequency[stem] + 0.5)) for stem in asked
        }
        self._total = sum(self.weights.values())
        self._cue = Cue.of(question)

    def coverage(self, candidate: Candidate) -> float:
        """The share of the question, by weight, that a candidate covers: 0 to 1."""
        if not self._total:
            return 0.0
        return sum(weight * _share(stem, candidate) for stem, weight in self.weights.items()) / self._total

    def score(self, candidate: Candidate, source: Source) -> Scored:
        """Scores a candidate."""
        coverage = self.coverage(candidate)
        own = sum(weight for stem, weight in self.weights.items() if stem in candidate.stems)
        density = own / math.sqrt(max(len(candidate.stems), 1)) / (self._total or 1.0)
        score = coverage + 0.5 * density
        fits = self._cue.fits(candidate.text)
        if fits is not None:
            score *= _FITS if fits else _FITS_NOT
        return Scored(candidate, score * _shape(candidate) * _trust(source, candidate.source), coverage)


def _share(stem: str, candidate: Candidate) -> float:
    if stem in candidate.stems:
        return 1.0
    if candidate.depends and candidate.before and stem in candidate.before.stems:
        return REFERRED_SHARE
    if stem in candidate.context:
        return CONTEXT_SHARE
    return BEFORE_SHARE if candidate.before and stem in candidate.before.stems else 0.0


def _shape(candidate: Candidate) -> float:
    """Less for what reads badly alone."""
    shape = 1.0
    if candidate.text.endswith("?"):
        shape *= 0.4
    if candidate.text.endswith(":") and not candidate.items:
        shape *= _INTRODUCES
    if candidate.kind is Kind.ROW:
        shape *= _ROW
    if candidate.depends:
        shape *= _DEPENDS
    if candidate.length < _SHORT:
        shape *= candidate.length / _SHORT
    return shape * min(1.0, math.sqrt(_LONG / max(candidate.length, 1)))


def _trust(source: Source, index: int) -> float:
    """More for sources that the search found better."""
    likeness = 0.0 if source.cosine is None else max(source.cosine, 0.0)
    return (1.0 + likeness) / (1.0 + _FAR * index)
