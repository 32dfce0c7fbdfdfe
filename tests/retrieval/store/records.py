"""Small documents, passages and queries for the tests of stores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from headwater.v1 import filter_pb2
from headwater_server.retrieval.model import Location
from headwater_server.retrieval.store.metadata_values import to_proto
from headwater_server.retrieval.store.protocol import (
    CorpusKey,
    DocumentRecord,
    MetadataValue,
    PassageRecord,
    Query,
    SearchMode,
    SearchResult,
    Store,
    Vector,
)

DIMENSION = 8
EMBEDDER = "test/8"

Op = filter_pb2.ComparisonOperator


def vector(text: str, *, dimension: int = DIMENSION) -> Vector:
    """A vector of length 1 that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    drawn = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return drawn / np.float32(np.linalg.norm(drawn))


def document(document_id: str, **metadata: MetadataValue) -> DocumentRecord:
    return DocumentRecord(document_id, f"Title of {document_id}", f"file:{document_id}", "text/plain", metadata)


def passages(*texts: str) -> list[PassageRecord]:
    return [
        PassageRecord(f"p{ordinal}", ordinal, text, "Heading", Location("line", ordinal + 1, ordinal + 2), vector(text))
        for ordinal, text in enumerate(texts)
    ]


def query(
    text: str,
    *corpora: CorpusKey,
    mode: SearchMode = SearchMode.HYBRID,
    limit: int = 10,
    condition: filter_pb2.Filter | None = None,
    min_score: float | None = None,
) -> Query:
    embedded = None if mode is SearchMode.LEXICAL else vector(text)
    return Query(corpora, text, embedded, mode, limit, condition, min_score)


def compares(key: str, op: filter_pb2.ComparisonOperator.ValueType, *values: MetadataValue) -> filter_pb2.Filter:
    comparison = filter_pb2.Comparison(key=key, op=op)
    if op in (Op.COMPARISON_OPERATOR_IN, Op.COMPARISON_OPERATOR_NOT_IN):
        comparison.values.extend(to_proto(value) for value in values)
    elif values:
        comparison.value.CopyFrom(to_proto(values[0]))
    return filter_pb2.Filter(comparison=comparison)


def negated(condition: filter_pb2.Filter) -> filter_pb2.Filter:
    return filter_pb2.Filter(negate=condition)


def texts(result: SearchResult) -> list[str]:
    return [hit.text for hit in result.hits]


async def filled(
    store: Store, corpus: CorpusKey, documents: Mapping[str, Sequence[str]], *, dimension: int = DIMENSION
) -> int:
    """Makes a corpus of documents with these passages; returns the version once a search sees them."""
    version = await store.create_corpus(corpus, dimension=dimension, embedder=EMBEDDER)
    for document_id, contents in documents.items():
        version = await store.replace_document(corpus, document(document_id), passages(*contents))
    await store.wait_applied(version)
    return version
