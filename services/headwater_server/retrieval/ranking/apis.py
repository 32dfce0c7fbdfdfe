"""The rerank APIs: bodies of requests, and scores out of answers. Pure and stateless."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headwater_server.retrieval.ranking.errors import MalformedAnswer


@dataclass(frozen=True, slots=True)
class RerankApi:
    """One API. All of them take a query with texts, and give a list of scores, each with the number of its text."""

    path: str
    """Where to post, below the base URL."""
    texts: str
    """What the request calls the texts."""
    score: str
    """What the answer calls a score."""
    results: str
    """What the answer calls the list; empty where it is nothing but the list."""
    default_url: str
    """Where its makers serve it; empty where everyone serves it themselves."""
    versions: Sequence[str]
    """What people write at the end of the base URL that the path has already."""
    max_texts: int
    """How many texts one request may have."""
    names_model: bool = True
    """Whether a request names the model."""
    extras: Mapping[str, object] | None = None
    """What else a request says."""

    def request(self, query: str, texts: Sequence[str], *, model: str) -> Mapping[str, object]:
        """The body of a request for the scores of one to `max_texts` texts."""
        named = {"model": model} if self.names_model else {}
        return {**named, "query": query, self.texts: list(texts), **(self.extras or {})}

    def scores(self, answer: object, *, count: int) -> Sequence[float]:
        """The scores of an answer, in the order of the texts.

        Raises:
            MalformedAnswer: It has not exactly one finite score for each text.
        """
        results = answer
        if self.results:
            results = answer.get(self.results) if isinstance(answer, dict) else None
        if not isinstance(results, list):
            raise MalformedAnswer("an answer without a list of results")
        scores: dict[int, float] = {}
        for result in results:
            number, score = (result.get("index"), result.get(self.score)) if isinstance(result, dict) else (None, None)
            if not isinstance(number, int) or not isinstance(score, int | float) or not math.isfinite(score):
                raise MalformedAnswer("a result without a number and a score")
            scores[number] = float(score)
        if len(results) != count or set(scores) != set(range(count)):
            raise MalformedAnswer(f"results for other texts than the {count} that it was given")
        return [scores[number] for number in range(count)]


APIS: Mapping[str, RerankApi] = {
    # https://docs.cohere.com/reference/rerank
    "cohere": RerankApi(
        path="/v2/rerank",
        texts="documents",
        score="relevance_score",
        results="results",
        default_url="https://api.cohere.com",
        versions=("/v1", "/v2"),
        max_texts=1_000,
    ),
    # https://jina.ai/reranker; vLLM, llama.cpp and others speak it too
    "jina": RerankApi(
        path="/v1/rerank",
        texts="documents",
        score="relevance_score",
        results="results",
        default_url="https://api.jina.ai",
        versions=("/v1",),
        max_texts=1_000,
        extras={"return_documents": False},
    ),
    # https://huggingface.github.io/text-embeddings-inference/: 32 texts, unless started with another maximum
    "tei": RerankApi(
        path="/rerank",
        texts="texts",
        score="score",
        results="",
        default_url="",
        versions=(),
        max_texts=32,
        names_model=False,
        extras={"truncate": True},
    ),
}
"""What `api` of a table may say, beside `cross-encoder`."""
