"""From a question and sources to the sentences of an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headwater_server.assistant.extractive.candidates import Candidate, candidates
from headwater_server.assistant.extractive.scoring import QuestionWords
from headwater_server.assistant.extractive.selection import select
from headwater_server.assistant.extractive.words import Words
from headwater_server.assistant.protocol import Source

_LEAST_SUM = 0.8
_LEAST_COSINE = 0.2
_LEAST_COVERAGE = 0.35

MAX_QUESTION = 4000
"""Characters of a question that are looked at."""


@dataclass(frozen=True, slots=True)
class Relevance:
    """How far the sources are about the question."""

    coverage: float
    """The share of the question's words, by weight, that the best sentence covers: 0 to 1."""
    cosine: float | None
    """The best cosine of a source. None where no embedding took part."""

    @property
    def enough(self) -> bool:
        """Whether to answer.

        The bounds come from `benchmarks/extractive.py`: of the questions that the demo's documents answer the least has
        0.9 of coverage and cosine together, of those they do not answer the most has 0.7.
        """
        if self.cosine is None:
            return self.coverage >= _LEAST_COVERAGE
        return self.coverage + self.cosine >= _LEAST_SUM and self.cosine >= _LEAST_COSINE


def _go_on() -> None:
    """Lets the work go on."""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer's sentences, and how relevant the sources are."""

    sentences: Sequence[Candidate]
    relevance: Relevance


def find(question: str, sources: Sequence[Source], *, step: Callable[[], None] = _go_on) -> Found:
    """Finds the sentences that best answer a question. Computes only; takes time in proportion to the sources.

    Args:
        question: The question.
        sources: The sources, best first.
        step: Called again and again meanwhile; whatever it raises ends the work. A thread can be stopped by nothing
            else.
    """
    words = Words()
    found = candidates(sources, words, step=step)
    cosine = max((source.cosine for source in sources if source.cosine is not None), default=None)
    if not found:
        return Found((), Relevance(0.0, cosine))
    asked = QuestionWords(question[:MAX_QUESTION], found, words)
    scored = []
    for candidate in found:
        step()
        scored.append(asked.score(candidate, sources[candidate.source]))
    relevance = Relevance(max(item.coverage for item in scored), cosine)
    return Found(select(scored) if relevance.coverage > 0 else (), relevance)
