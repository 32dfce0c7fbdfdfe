"""What a reranker is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

MOST_PASSAGES = 100
"""How many passages a reranker is given at once."""


class Reranker(Protocol):
    """Puts passages that a search has found into a better order, by reading each together with the question.

    Scores: one a passage, in the order of the passages, finite, higher is better. They compare the passages of one
    call and mean nothing else: neither 0 nor 1 is special, and scores of two calls are not compared.

    Concurrency: may be called at any time from any task of the one event loop, which it never blocks, and may be
    cancelled: the caller sets the limit of the wait, and shows the order it had where that passes.

    Errors: `ServiceError` where a server cannot be reached, refuses or answers nonsense; `RerankerUnavailable` where
    something is missing on this machine. Neither costs the caller more than the better order.
    """

    @property
    def name(self) -> str:
        """`provider/model`, as the settings have it."""
        ...

    async def rerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        """Says how well each passage fits.

        Args:
            query: The question.
            passages: One to `MOST_PASSAGES` texts, none of them empty.
        """
        ...
