"""A small embedder without a model: texts with the same words are near each other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from headwater_server.retrieval.embedding import Vectors
from headwater_server.retrieval.embedding.protocol import Vector


class WordEmbedder:
    """The sum of a direction for each word; implements `Embedder`."""

    name = "words"
    fingerprint = "words/1"
    dimension = 256

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """The vectors of passages."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for number, text in enumerate(texts):
            for word in text.lower().split() or [""]:
                vectors[number] += _direction(word, self.dimension)
            vectors[number] /= np.linalg.norm(vectors[number])
        return vectors

    def embed_query(self, text: str) -> Vector:
        """The vector of a question."""
        vector: Vector = self.embed_documents([text])[0]
        return vector


def _direction(word: str, dimension: int) -> Vector:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(dimension, dtype=np.float32)
