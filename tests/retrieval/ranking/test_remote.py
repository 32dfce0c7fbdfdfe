from __future__ import annotations

import json
from typing import Any

import pytest

from headwater_server.errors import Reason, ServiceError
from headwater_server.retrieval.ranking.apis import APIS
from headwater_server.retrieval.ranking.config import NamedReranker, RerankingConfig
from headwater_server.retrieval.ranking.errors import MalformedAnswer, RerankerConfigError
from headwater_server.retrieval.ranking.registry import open_reranking
from tests.assistant.fake_provider import Canned, FakeProvider, fake_provider

pytestmark = pytest.mark.anyio

KEY = "key-canary-7f3a"
PASSAGES = ["the first", "the second", "the third" + "!" * 5_000]


def answer(api: str) -> Any:
    named = {"cohere": "relevance_score", "jina": "relevance_score", "tei": "score"}[api]
    results = [{"index": 2, named: 0.9}, {"index": 0, named: 0.5}, {"index": 1, named: -1}]
    return results if api == "tei" else {"id": "1", "results": results}


def settings(api: str, provider: FakeProvider | str, **more: Any) -> RerankingConfig:
    url = provider if isinstance(provider, str) else provider.url
    table = NamedReranker(api=api, base_url=url, api_key_env="THE_KEY", **more)
    return RerankingConfig(reranker="mine/best-1", rerankers={"mine": table}, environ={"THE_KEY": KEY})


async def rerank(config: RerankingConfig, passages: list[str]) -> list[float]:
    async with open_reranking(config) as reranking:
        assert reranking is not None
        return list(await reranking.reranker.rerank("which?", passages))


@pytest.mark.parametrize(
    ("api", "path", "texts"),
    [
        ("cohere", "/v2/rerank", "documents"),
        ("jina", "/v1/rerank", "documents"),
        ("tei", "/v1/rerank", "texts"),  # whatever the base URL ends with
    ],
)
async def test_each_api_is_asked_in_its_own_words(api: str, path: str, texts: str) -> None:
    async with fake_provider() as provider:
        provider.canned = Canned([json.dumps(answer(api)).encode()])
        assert await rerank(settings(api, provider), PASSAGES) == [0.5, -1.0, 0.9]
    line, headers, body = provider.requests[0]
    assert line == f"POST {path} HTTP/1.1"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert isinstance(body, dict)
    assert body["query"] == "which?"
    assert body[texts][:2] == PASSAGES[:2]
    assert len(body[texts][2]) == 4_000
    assert body.get("model") == (None if api == "tei" else "best-1")


async def test_more_passages_than_a_request_may_have_go_in_several() -> None:
    results = [{"index": index, "score": index / 100} for index in range(32)]
    async with fake_provider() as provider:
        provider.canned = Canned([json.dumps(results).encode()])
        scores = await rerank(settings("tei", provider), [f"passage {number}" for number in range(64)])
    assert scores == [index / 100 for index in range(32)] * 2
    assert [len(body["texts"]) for _, _, body in provider.requests if isinstance(body, dict)] == [32, 32]


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"results": None},
        {"results": [{"index": 0, "relevance_score": 1}]},
        {"results": [{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 1}]},
        {"results": [{"index": 0, "relevance_score": 1}, {"index": 7, "relevance_score": 1}]},
        {"results": [{"index": 0, "relevance_score": "1"}, {"index": 1, "relevance_score": 1}]},
        {"results": [{"index": 0, "relevance_score": float("nan")}, {"index": 1, "relevance_score": 1}]},
        {"results": [0.5, 0.7]},
    ],
)
def test_an_answer_without_exactly_one_score_a_passage_is_refused(wrong: object) -> None:
    with pytest.raises(MalformedAnswer):
        APIS["cohere"].scores(wrong, count=2)


async def test_nonsense_is_a_broken_protocol_and_a_refused_key_says_so() -> None:
    async with fake_provider() as provider:
        provider.canned = Canned([b'{"results": []}'])
        with pytest.raises(ServiceError) as nonsense:
            await rerank(settings("cohere", provider), PASSAGES)
        assert nonsense.value.reason is Reason.PROVIDER_PROTOCOL
        provider.canned = Canned([b"{}"], status=401)
        with pytest.raises(ServiceError) as refused:
            await rerank(settings("cohere", provider), PASSAGES)
        assert refused.value.reason is Reason.PROVIDER_UNAUTHENTICATED
        assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (RerankingConfig(reranker="mine/m"), "there is no 'mine/m'"),
        (RerankingConfig(reranker="mine", rerankers={"mine": NamedReranker("cohere")}), "there is no 'mine'"),
        (RerankingConfig(rerankers={"mine": NamedReranker("psychic")}), "there is no api 'psychic'"),
        (RerankingConfig(rerankers={"mine": NamedReranker("tei")}), "base_url is missing"),
        (RerankingConfig(rerankers={"mine": NamedReranker("tei", base_url="ftp://x")}), "base_url must begin"),
        (RerankingConfig(rerankers={"mine": NamedReranker("cross-encoder")}), "path is missing"),
        (
            RerankingConfig(
                reranker="mine/m", rerankers={"mine": NamedReranker("cohere", api_key_env="NO_SUCH")}, environ={}
            ),
            "NO_SUCH is not set",
        ),
    ],
)
async def test_a_wrong_setting_is_named(config: RerankingConfig, complaint: str) -> None:
    with pytest.raises(RerankerConfigError, match=complaint):
        async with open_reranking(config):
            pass


async def test_without_a_name_there_is_no_reranker() -> None:
    async with open_reranking(RerankingConfig(rerankers={"mine": NamedReranker("cohere")})) as reranking:
        assert reranking is None
