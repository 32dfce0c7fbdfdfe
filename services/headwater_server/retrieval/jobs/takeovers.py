"""Moments at which a corpus's passages, and the embedder they were made with, become others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from anyio import Event

from headwater_server.retrieval.store.protocol import CorpusKey

Mark = Mapping[CorpusKey, int]
"""How many takeovers each corpus had had."""


class Takeovers:
    """Tells those who search whether what they know of a corpus's embedder held all the while.

    Catalog and store are two databases, and a search asks one after the other. So it takes a mark before and looks at
    it afterwards; where it has changed, the search is made again.
    """

    def __init__(self) -> None:
        self._under_way: dict[CorpusKey, Event] = {}
        self._begun: Counter[CorpusKey] = Counter()

    @contextmanager
    def under_way(self, corpus: CorpusKey) -> Iterator[None]:
        """The catalog and the store may say different things of a corpus."""
        self._begun[corpus] += 1
        done = self._under_way[corpus] = Event()
        try:
            yield
        finally:
            del self._under_way[corpus]
            done.set()

    async def settled(self, corpora: Collection[CorpusKey]) -> Mark:
        """Waits until catalog and store agree on all of the corpora; returns the mark."""
        while found := [self._under_way[corpus] for corpus in corpora if corpus in self._under_way]:
            await found[0].wait()
        return {corpus: self._begun.get(corpus, 0) for corpus in corpora}

    def changed_since(self, mark: Mark) -> bool:
        """Whether a takeover of any of the corpora has begun since."""
        return any(self._begun.get(corpus, 0) != begun for corpus, begun in mark.items())
