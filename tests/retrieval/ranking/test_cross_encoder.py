from __future__ import annotations

import math
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from headwater_server.retrieval.ranking.config import NamedReranker, RerankingConfig
from headwater_server.retrieval.ranking.cross_encoder import MAX_TOKENS, CrossEncoder
from headwater_server.retrieval.ranking.errors import RerankerUnavailable
from headwater_server.retrieval.ranking.registry import Reranking, open_reranking
from headwater_server.retrieval.ranking.reranking import reranked
from tests.retrieval.ranking.hits import hit
from tests.retrieval.ranking.small_model import write_model

pytestmark = pytest.mark.anyio


async def test_a_model_in_a_folder_scores_question_and_passage_together(tmp_path: Path) -> None:
    write_model(tmp_path / "small", {"which": 3, "fits": 50, "not": 4})
    config = RerankingConfig(
        reranker="here/small", rerankers={"here": NamedReranker("cross-encoder", path=tmp_path)}, environ={}
    )
    async with open_reranking(config) as reranking:
        assert reranking is not None
        passages = ["not", "fits", "fits fits", "unknown words here", *["fits"] * 20]
        scores = await reranking.reranker.rerank("which", passages)
    pair = 3 + 2 + 2
    assert list(scores) == [pair + 4, pair + 50, pair + 100, pair + 3, *[pair + 50] * 20]


async def test_what_is_too_long_for_the_model_is_cut(tmp_path: Path) -> None:
    write_model(tmp_path / "small", {"word": 3})
    scores = await CrossEncoder("here/small", tmp_path / "small").rerank("word " * 1_000, ["word " * 1_000])
    assert list(scores) == [3 * (MAX_TOKENS - 2) + 4]


async def test_a_model_that_is_missing_or_damaged_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(RerankerUnavailable, match=r"has no model\.onnx"):
        await CrossEncoder("here/none", tmp_path / "none").rerank("which", ["a"])
    write_model(tmp_path / "damaged", {"which": 3})
    (tmp_path / "damaged/model.onnx").write_bytes(b"\x00damaged")
    with pytest.raises(RerankerUnavailable, match="cannot be loaded"):
        await CrossEncoder("here/damaged", tmp_path / "damaged").rerank("which", ["a"])


async def unavailable(folder: Path) -> str:
    """What a search says of a model that it does without."""
    hits = [hit("which fits"), hit("which does not", ordinal=1)]
    with capture_logs() as logs:
        result = await reranked(Reranking(CrossEncoder("here/failing", folder), 5, 60.0), "which", hits, at_least=2)
    assert (result.hits, result.reranker) == (hits, "")
    (entry,) = logs
    assert entry["event"] == "reranker unavailable"
    return str(entry["error"])


async def test_a_model_that_fails_costs_a_search_only_its_order(tmp_path: Path) -> None:
    write_model(tmp_path / "one", {"which": 3}, pairs=1)  # a model that was exported for one passage at a time
    assert "fails" in await unavailable(tmp_path / "one")


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
async def test_scores_that_are_no_finite_numbers_are_refused(tmp_path: Path, score: float) -> None:
    write_model(tmp_path / "broken", {"which": 3}, bias=score)
    assert "no finite numbers" in await unavailable(tmp_path / "broken")
