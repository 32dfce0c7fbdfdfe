"""Cohere's embeddings, version 2: https://docs.cohere.com/reference/embed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater_server.retrieval.embedding.apis.protocol import ApiTraits, Purpose
from headwater_server.retrieval.embedding.apis.reading import field, listed

_INPUT_TYPES = {Purpose.DOCUMENT: "search_document", Purpose.QUERY: "search_query"}


class CohereApi:
    """`POST /v2/embed`; implements `EmbeddingApi`. Takes 96 texts a request and cuts long ones at their end."""

    traits = ApiTraits(max_texts=96, max_tokens=128_000, default_url="https://api.cohere.com", probe_path="/v1/models")

    def path(self, model: str) -> str:
        """See `EmbeddingApi`."""
        del model  # stands in the body
        return "/v2/embed"

    def request(
        self, texts: Sequence[str], *, model: str, purpose: Purpose, dimension: int | None
    ) -> Mapping[str, object]:
        """See `EmbeddingApi`."""
        document: dict[str, object] = {
            "model": model,
            "texts": list(texts),
            "input_type": _INPUT_TYPES[purpose],
            "embedding_types": ["float"],
            "truncate": "END",
        }
        return document if dimension is None else {**document, "output_dimension": dimension}

    def rows(self, answer: object, *, count: int) -> Sequence[object]:
        """See `EmbeddingApi`."""
        return listed(field(field(answer, "embeddings"), "float"), count=count)
