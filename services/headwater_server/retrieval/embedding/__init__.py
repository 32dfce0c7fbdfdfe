"""Embedding: from texts to vectors whose inner product says how alike they are."""

from __future__ import annotations

from headwater_server.retrieval.embedding.errors import EmbedderUnavailable
from headwater_server.retrieval.embedding.minilm import MiniLmEmbedder
from headwater_server.retrieval.embedding.protocol import Embedder, Vector, Vectors

__all__ = ["Embedder", "EmbedderUnavailable", "MiniLmEmbedder", "Vector", "Vectors"]
