"""Google's Gemini embeddings: https://ai.google.dev/api/embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater_server.outgoing.endpoints import model_path
from headwater_server.retrieval.embedding.apis.protocol import ApiTraits, Purpose
from headwater_server.retrieval.embedding.apis.reading import field, listed

_TASK_TYPES = {Purpose.DOCUMENT: "RETRIEVAL_DOCUMENT", Purpose.QUERY: "RETRIEVAL_QUERY"}


class GeminiApi:
    """`POST /v1beta/models/MODEL:batchEmbedContents`; implements `EmbeddingApi`. Takes 100 texts a request.

    Vectors of fewer components than the model's own come without length 1; ours are brought to it in any case.
    """

    traits = ApiTraits(
        max_texts=100,
        max_tokens=20_000,
        default_url="https://generativelanguage.googleapis.com",
        probe_path="/v1beta/models",
        key_header="x-goog-api-key",
    )

    def path(self, model: str) -> str:
        """See `EmbeddingApi`."""
        return f"/v1beta/{model_path(model)}:batchEmbedContents"

    def request(
        self, texts: Sequence[str], *, model: str, purpose: Purpose, dimension: int | None
    ) -> Mapping[str, object]:
        """See `EmbeddingApi`."""
        common: dict[str, object] = {"model": _resource(model), "taskType": _TASK_TYPES[purpose]}
        if dimension is not None:
            common["outputDimensionality"] = dimension
        return {"requests": [{**common, "content": {"parts": [{"text": text}]}} for text in texts]}

    def rows(self, answer: object, *, count: int) -> Sequence[object]:
        """See `EmbeddingApi`."""
        return [field(each, "values") for each in listed(field(answer, "embeddings"), count=count)]


def _resource(model: str) -> str:
    return model if "/" in model else f"models/{model}"
