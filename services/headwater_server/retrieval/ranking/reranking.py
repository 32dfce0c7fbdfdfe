"""Putting hits into a reranker's order, or leaving them as they were where it does not do its work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio
import structlog

from headwater_server.errors import ServiceError
from headwater_server.retrieval.ranking.errors import RerankerUnavailable
from headwater_server.retrieval.ranking.protocol import MOST_PASSAGES
from headwater_server.retrieval.ranking.registry import Reranking
from headwater_server.retrieval.store.protocol import Hit

log = structlog.get_logger("headwater.retrieval")


@dataclass(frozen=True, slots=True)
class Reranked:
    """Hits, and who gave their order."""

    hits: Sequence[Hit]
    reranker: str = ""
    """Empty where they are as they were."""
    seconds: float = 0.0
    """What it took, in vain or not."""


async def reranked(reranking: Reranking | None, query: str, hits: Sequence[Hit], *, at_least: int) -> Reranked:
    """Reranks the best hits; those after them stay behind them.

    A reranker that fails, or takes longer than it may, costs the better order and a line in the log, never the answer.

    Args:
        reranking: The reranker; None leaves everything as it is.
        query: The question.
        hits: Best first.
        at_least: How many are reranked even if the settings say fewer, as far as a reranker takes so many.
    """
    if reranking is None or not hits:
        return Reranked(hits)
    count = min(max(reranking.candidates, at_least), MOST_PASSAGES)
    best, rest = hits[:count], hits[count:]
    start = time.perf_counter()
    scores = await _scores(reranking, query, [_text(hit) for hit in best])
    seconds = time.perf_counter() - start
    if scores is None:
        return Reranked(hits, seconds=seconds)
    scored = [replace(hit, score=score) for hit, score in zip(best, scores, strict=True)]
    scored.sort(key=lambda hit: -hit.score)
    lowest = scored[-1].score
    below = [replace(hit, score=lowest - place) for place, hit in enumerate(rest, start=1)]
    return Reranked([*scored, *below], reranking.reranker.name, seconds)


async def _scores(reranking: Reranking, query: str, texts: Sequence[str]) -> Sequence[float] | None:
    name = reranking.reranker.name
    try:
        with anyio.fail_after(reranking.timeout):
            return await reranking.reranker.rerank(query, texts)
    except TimeoutError:
        log.warning("reranker too slow", reranker=name, seconds=reranking.timeout)
    except ServiceError as error:
        log.warning("reranker failed", reranker=name, reason=error.reason.value, error=error.message)
    except RerankerUnavailable as error:
        log.warning("reranker unavailable", reranker=name, error=str(error))
    return None


def _text(hit: Hit) -> str:
    """A passage as a reranker reads it: under its headings, as a person would."""
    return f"{hit.heading}\n{hit.text}" if hit.heading else hit.text
