"""OpenAI's embeddings, which vLLM, llama.cpp, LM Studio, Mistral, Jina, Voyage and many more speak too.

https://platform.openai.com/docs/api-reference/embeddings: at most 2,048 inputs and 300,000 tokens a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater_server.retrieval.embedding.apis.protocol import ApiTraits, Purpose
from headwater_server.retrieval.embedding.apis.reading import field, in_order, listed


class OpenAiApi:
    """`POST /embeddings`; implements `EmbeddingApi`. Does not tell questions from passages: set prefixes for that."""

    traits = ApiTraits(max_texts=2048, max_tokens=300_000, default_url="https://api.openai.com/v1")

    def path(self, model: str) -> str:
        """See `EmbeddingApi`."""
        del model  # stands in the body
        return "/embeddings"

    def request(
        self, texts: Sequence[str], *, model: str, purpose: Purpose, dimension: int | None
    ) -> Mapping[str, object]:
        """See `EmbeddingApi`."""
        del purpose
        document: dict[str, object] = {"model": model, "input": list(texts), "encoding_format": "float"}
        # Older models, and most servers of others, refuse the field.
        return document if dimension is None else {**document, "dimensions": dimension}

    def rows(self, answer: object, *, count: int) -> Sequence[object]:
        """See `EmbeddingApi`."""
        return in_order(listed(field(answer, "data"), count=count))
