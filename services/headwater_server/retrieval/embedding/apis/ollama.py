"""Ollama's embeddings: https://docs.ollama.com/api/embed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater_server.retrieval.embedding.apis.protocol import ApiTraits, Purpose
from headwater_server.retrieval.embedding.apis.reading import field, listed


class OllamaApi:
    """`POST /api/embed`; implements `EmbeddingApi`.

    It sets no limit on a request; ours keeps one request to some seconds' work of a small machine.
    """

    traits = ApiTraits(max_texts=64, max_tokens=16_384, default_url="http://127.0.0.1:11434", probe_path="/api/tags")

    def path(self, model: str) -> str:
        """See `EmbeddingApi`."""
        del model  # stands in the body
        return "/api/embed"

    def request(
        self, texts: Sequence[str], *, model: str, purpose: Purpose, dimension: int | None
    ) -> Mapping[str, object]:
        """See `EmbeddingApi`."""
        del purpose
        document: dict[str, object] = {"model": model, "input": list(texts), "truncate": True}
        return document if dimension is None else {**document, "dimensions": dimension}

    def rows(self, answer: object, *, count: int) -> Sequence[object]:
        """See `EmbeddingApi`."""
        return listed(field(answer, "embeddings"), count=count)
