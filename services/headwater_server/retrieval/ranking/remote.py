"""A reranker behind HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from headwater_server.outgoing.http import HttpClient
from headwater_server.outgoing.retrying import RetryPolicy, retried
from headwater_server.retrieval.ranking.apis import RerankApi
from headwater_server.retrieval.ranking.errors import MalformedAnswer

RETRIES = RetryPolicy(attempts=2, first_delay=0.2, longest_delay=1.0)
"""Someone waits for the answer."""


class RemoteReranker:
    """One model at one server; implements `Reranker`.

    Args:
        name: `provider/model`.
        api: What the server speaks.
        http: The connections to it.
        max_characters: What is longer is cut at its end before it is sent.
    """

    def __init__(self, name: str, api: RerankApi, http: HttpClient, *, max_characters: int) -> None:
        self._name = name
        self._model = name.partition("/")[2]
        self._api = api
        self._http = http
        self._max_characters = max_characters

    @property
    def name(self) -> str:
        """See `Reranker`."""
        return self._name

    async def rerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        """See `Reranker`; in several requests where the API does not take so many passages at once."""
        scores: list[float] = []
        for start in range(0, len(passages), self._api.max_texts):
            scores += await self._request(query, passages[start : start + self._api.max_texts])
        return scores

    async def _request(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        texts = [passage[: self._max_characters] for passage in passages]
        body = self._api.request(query[: self._max_characters], texts, model=self._model)
        answer = await retried(lambda: self._http.post_json(self._api.path, body), policy=RETRIES)
        try:
            return self._api.scores(answer, count=len(texts))
        except MalformedAnswer as error:
            raise self._http.errors.protocol(str(error)) from None

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._http.aclose()
