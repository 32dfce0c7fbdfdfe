"""Embedding: from texts to vectors whose inner product says how alike they are."""

from __future__ import annotations

from headwater_server.retrieval.embedding.config import BUILTIN_EMBEDDER, EmbeddingConfig, NamedEmbedder
from headwater_server.retrieval.embedding.errors import (
    EmbedderConfigError,
    EmbedderFailing,
    EmbedderUnavailable,
    EmbedderUnknown,
)
from headwater_server.retrieval.embedding.minilm import MiniLmEmbedder
from headwater_server.retrieval.embedding.protocol import AsyncEmbedder, Embedder, Vector, Vectors

__all__ = [
    "BUILTIN_EMBEDDER",
    "AsyncEmbedder",
    "Embedder",
    "EmbedderConfigError",
    "EmbedderFailing",
    "EmbedderUnavailable",
    "EmbedderUnknown",
    "EmbeddingConfig",
    "MiniLmEmbedder",
    "NamedEmbedder",
    "Vector",
    "Vectors",
]
