"""An embedder behind HTTP: what all APIs have in common."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
import numpy as np
from anyio import CapacityLimiter

from headwater_server.errors import ServiceError
from headwater_server.outgoing.http import HttpClient
from headwater_server.outgoing.retrying import RetryPolicy, retried
from headwater_server.retrieval.embedding.apis.protocol import EmbeddingApi, MalformedAnswer, Purpose
from headwater_server.retrieval.embedding.batching import batches
from headwater_server.retrieval.embedding.config import NamedEmbedder
from headwater_server.retrieval.embedding.protocol import Vector, Vectors
from headwater_server.retrieval.embedding.vectors import unit_vectors

_MAX_ANSWER_BYTES = 128 << 20
_PROBE = "How long are the vectors of this model?"
_STANDS_FOR_NOTHING = "-"
"""Sent for a text of white space, which most APIs refuse."""
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")

DOCUMENT_RETRIES = RetryPolicy(attempts=5, first_delay=1.0, longest_delay=30.0)
QUERY_RETRIES = RetryPolicy(attempts=3, first_delay=0.2, longest_delay=2.0)
"""Someone waits for the answer."""


def shown_model(model: str) -> str:
    """A model as fingerprints show it."""
    return _UNPRINTABLE.sub("?", model)[:60]


@dataclass(frozen=True, slots=True)
class RemoteServer:
    """One table of the settings, opened: what the models behind it share."""

    settings: NamedEmbedder
    api: EmbeddingApi
    http: HttpClient
    limiter: CapacityLimiter
    """Of requests for passages; questions do not wait for them."""


class RemoteEmbedder:
    """One model at one server; implements `AsyncEmbedder`.

    Args:
        name: `provider/model`.
        server: Where it is.
        dimension: How many components its vectors must have; None: as many as come.
    """

    in_workers = False

    def __init__(self, name: str, server: RemoteServer, *, dimension: int | None = None) -> None:
        self._name = name
        self._model = name.partition("/")[2]
        self._server = server
        self._dimension = dimension or server.settings.dimension

    @property
    def name(self) -> str:
        """`provider/model`."""
        return self._name

    async def fingerprint(self) -> str:
        """Made of the API, the model, the dimension asked for and the prefixes; known without asking the server.

        The address is no part of it: a server may move. A model that is changed under its name is not noticed.
        """
        settings = self._server.settings
        parts = [settings.api, self._model, str(settings.dimension), settings.query_prefix, settings.document_prefix]
        digest = hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:16]
        return f"{settings.api}/{shown_model(self._model)}/{digest}"

    async def dimension(self) -> int:
        """How many components a vector has; asks the server where nothing else says.

        Raises:
            ServiceError: The server cannot be reached, or refuses the model.
        """
        if self._dimension is None:
            self._dimension = len(await self.embed_query(_PROBE))
        return self._dimension

    async def embed_documents(
        self, texts: Sequence[str], *, embedded: Callable[[int], None] = lambda _: None
    ) -> Vectors:
        """The vectors of passages; see `AsyncEmbedder`."""
        prepared = [self._prepared(text, self._server.settings.document_prefix) for text in texts]
        vectors: list[Vectors | None] = []
        ranges = list(self._batches(prepared))
        vectors.extend(None for _ in ranges)
        failures: list[ServiceError] = []
        async with anyio.create_task_group() as tasks:

            async def work(number: int) -> None:
                part = [prepared[position] for position in ranges[number]]
                try:
                    async with self._server.limiter:
                        vectors[number] = await self._request(part, Purpose.DOCUMENT, DOCUMENT_RETRIES)
                except ServiceError as error:
                    failures.append(error)
                    tasks.cancel_scope.cancel()
                else:
                    embedded(len(part))

            for number in range(len(ranges)):
                tasks.start_soon(work, number)
        if failures:
            raise failures[0]
        made = [each for each in vectors if each is not None]
        if not made:
            return np.empty((0, await self.dimension()), dtype=np.float32)
        if len({each.shape[1] for each in made}) != 1:
            raise self._server.http.errors.protocol("vectors of different dimensions for one model")
        return np.concatenate(made)

    async def embed_query(self, text: str) -> Vector:
        """The vector of a question; see `AsyncEmbedder`."""
        prepared = self._prepared(text, self._server.settings.query_prefix)
        vector: Vector = (await self._request([prepared], Purpose.QUERY, QUERY_RETRIES))[0]
        return vector

    def _prepared(self, text: str, prefix: str) -> str:
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError("a text is not valid Unicode: it holds a lone surrogate")
        return (prefix + (text if text.strip() else _STANDS_FOR_NOTHING))[: self._server.settings.max_characters]

    def _batches(self, texts: Sequence[str]) -> Sequence[range]:
        traits, settings = self._server.api.traits, self._server.settings
        # A setting may go beyond what the API's makers take: others speak it too.
        max_texts, max_tokens = settings.batch_texts or traits.max_texts, settings.batch_tokens or traits.max_tokens
        return list(batches(texts, max_texts=max_texts, max_tokens=max_tokens))

    async def _request(self, texts: Sequence[str], purpose: Purpose, policy: RetryPolicy) -> Vectors:
        server = self._server
        body = server.api.request(texts, model=self._model, purpose=purpose, dimension=server.settings.dimension)
        path = server.api.path(self._model)
        answer = await retried(lambda: server.http.post_json(path, body, max_bytes=_MAX_ANSWER_BYTES), policy=policy)
        try:
            return unit_vectors(server.api.rows(answer, count=len(texts)), dimension=self._dimension)
        except MalformedAnswer as error:
            raise server.http.errors.protocol(str(error)) from None
