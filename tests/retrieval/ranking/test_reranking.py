from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from headwater_server.errors import Reason, ServiceError
from headwater_server.retrieval.ranking.errors import RerankerUnavailable
from headwater_server.retrieval.ranking.registry import Reranking
from headwater_server.retrieval.ranking.reranking import reranked
from tests.retrieval.ranking.hits import hit

pytestmark = pytest.mark.anyio

HITS = [
    hit(f"{number} {'x' * number}", ordinal=number, score=-number, heading="H" * (number % 2)) for number in range(6)
]


class ByLength:
    """The longest first; keeps what it was given."""

    name = "mine/by-length"

    def __init__(self, failure: Exception | None = None) -> None:
        self.given: Sequence[str] = ()
        self._failure = failure

    async def rerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        del query
        await anyio.lowlevel.checkpoint()
        self.given = passages
        if self._failure is not None:
            raise self._failure
        return [float(len(passage)) for passage in passages]


class Silent(ByLength):
    async def rerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        del query, passages
        await anyio.sleep_forever()
        raise AssertionError("it sleeps forever")


async def test_the_best_hits_get_the_rerankers_order_and_the_rest_stay_behind() -> None:
    reranker = ByLength()
    result = await reranked(Reranking(reranker, 4, 5.0), "which?", HITS, at_least=2)
    assert [each.ordinal for each in result.hits] == [3, 1, 2, 0, 4, 5]
    assert [each.score for each in result.hits] == sorted((each.score for each in result.hits), reverse=True)
    assert result.reranker == "mine/by-length"
    assert result.seconds > 0
    assert list(reranker.given[:2]) == ["0 ", "H\n1 x"]


async def test_as_many_are_reranked_as_are_asked_for() -> None:
    result = await reranked(Reranking(ByLength(), 1, 5.0), "which?", HITS, at_least=6)
    assert [each.ordinal for each in result.hits][-1] == 0


@pytest.mark.parametrize(
    "reranker",
    [
        ByLength(ServiceError(Reason.PROVIDER_UNAVAILABLE, "gone")),
        ByLength(RerankerUnavailable("no model")),
        Silent(),
    ],
)
async def test_a_reranker_that_fails_or_is_silent_costs_only_its_order(reranker: ByLength) -> None:
    result = await reranked(Reranking(reranker, 4, 0.05), "which?", HITS, at_least=2)
    assert result.hits == HITS
    assert result.reranker == ""


async def test_without_a_reranker_or_hits_nothing_changes() -> None:
    assert (await reranked(None, "which?", HITS, at_least=2)).hits == HITS
    assert (await reranked(Reranking(ByLength(), 4, 5.0), "which?", [], at_least=2)).hits == []
