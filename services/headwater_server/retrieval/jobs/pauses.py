"""Corpora whose documents wait, because their embedder's server does not do its work."""

from __future__ import annotations

import math
from collections.abc import Collection

import anyio

from headwater_server.retrieval.store.protocol import CorpusKey


class Pauses:
    """Says which corpora's jobs not to begin now, so that those of the others go on.

    Each pause of a corpus is twice as long as the one before, until one of its jobs gets through.

    Args:
        first: How long the first is, in seconds.
        longest: How long they grow.
    """

    def __init__(self, *, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._lengths: dict[CorpusKey, float] = {}
        self._ends: dict[CorpusKey, float] = {}

    def begin(self, corpus: CorpusKey) -> float:
        """A job of the corpus has met its embedder failing; returns how long the corpus waits, in seconds."""
        if corpus not in self.paused():  # else several jobs have met the same failure
            self._lengths[corpus] = min(2 * self._lengths.get(corpus, self._first / 2), self._longest)
            self._ends[corpus] = anyio.current_time() + self._lengths[corpus]
        return self._lengths[corpus]

    def end(self, corpus: CorpusKey) -> None:
        """A job of the corpus has got through."""
        self._lengths.pop(corpus, None)
        self._ends.pop(corpus, None)

    def paused(self) -> Collection[CorpusKey]:
        """The corpora that wait now."""
        now = anyio.current_time()
        self._ends = {corpus: end for corpus, end in self._ends.items() if end > now}
        return tuple(self._ends)

    def seconds(self) -> float:
        """How long until the first of them waits no more; infinite if there is none."""
        if not self.paused():
            return math.inf
        return max(0.0, min(self._ends.values()) - anyio.current_time())
