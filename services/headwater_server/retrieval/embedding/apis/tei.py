"""Hugging Face's Text Embeddings Inference: https://huggingface.github.io/text-embeddings-inference/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater_server.retrieval.embedding.apis.protocol import ApiTraits, Purpose
from headwater_server.retrieval.embedding.apis.reading import listed


class TeiApi:
    """`POST /embed`; implements `EmbeddingApi`. The server has one model; its name here is for people.

    A server takes 32 texts a request unless it was started with another `--max-client-batch-size`.
    """

    traits = ApiTraits(max_texts=32, max_tokens=16_384, default_url="", probe_path="/info")

    def path(self, model: str) -> str:
        """See `EmbeddingApi`."""
        del model
        return "/embed"

    def request(
        self, texts: Sequence[str], *, model: str, purpose: Purpose, dimension: int | None
    ) -> Mapping[str, object]:
        """See `EmbeddingApi`."""
        del model, purpose
        document: dict[str, object] = {"inputs": list(texts), "truncate": True, "normalize": True}
        return document if dimension is None else {**document, "dimensions": dimension}

    def rows(self, answer: object, *, count: int) -> Sequence[object]:
        """See `EmbeddingApi`."""
        return listed(answer, count=count)
