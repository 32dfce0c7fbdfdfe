"""Collections of passages and queries, those that people have judged and generated ones; how rankings are judged."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headwater_server.retrieval.embedding import MiniLmEmbedder

COLLECTIONS = ("cranfield", "cisi")
DEFAULT_DATA = Path(os.environ.get("HEADWATER_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Collection:
    """Passages and queries with their vectors, and which passages answer which query; empty where that is not known."""

    name: str
    ids: Sequence[str]
    texts: Sequence[str]
    vectors: Vectors
    queries: Sequence[str]
    query_vectors: Vectors
    relevant: Sequence[Mapping[str, float]]


def read(folder: Path, embedder: MiniLmEmbedder) -> Collection:
    documents = read_jsonl(folder / "corpus.jsonl")
    relevant = read_judgements(folder)
    queries = [query for query in read_jsonl(folder / "queries.jsonl") if query["_id"] in relevant]
    texts = [with_title(document["title"], document["text"]) for document in documents]
    return Collection(
        folder.name,
        [document["_id"] for document in documents],
        texts,
        embedder.embed_documents(texts),
        [query["text"] for query in queries],
        np.stack([embedder.embed_query(query["text"]) for query in queries]),
        [relevant[query["_id"]] for query in queries],
    )


def read_judgements(folder: Path) -> dict[str, dict[str, float]]:
    """By query, the documents that answer it, and how well."""
    relevant: dict[str, dict[str, float]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        if float(grade) > 0:
            relevant.setdefault(query, {})[document] = float(grade)
    return relevant


def with_title(title: str, text: str) -> str:
    """Cranfield repeats the title in the text, CISI does not."""
    return text if text.startswith(title) else f"{title}\n{text}"


def read_jsonl(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def ndcg(gains: Sequence[float], judged: Iterable[float], *, limit: int = 10) -> float:
    """Discounted gain of what was found over the best possible, with linear gains, as trec_eval has it.

    Args:
        gains: How good each is of those that were found, best first.
        judged: How good all are that answer the query.
        limit: How many count.
    """
    return _discounted(gains[:limit]) / _discounted(sorted(judged, reverse=True)[:limit])


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))


def generated(size: int) -> Collection:
    """Passages of some 100 words drawn by Zipf's law, vectors in 200 clouds, queries of 8 words."""
    drawn = np.random.default_rng(0)

    def text(words: int) -> str:
        return " ".join(f"w{number}" for number in drawn.zipf(1.2, words) % 50_000)

    def near(centres: Vectors) -> Vectors:
        vectors = centres + drawn.standard_normal(centres.shape, dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    clouds = drawn.standard_normal((200, 384), dtype=np.float32)
    return Collection(
        f"{size} generated",
        [str(number) for number in range(size)],
        [text(100) for _ in range(size)],
        near(clouds[drawn.integers(200, size=size)]),
        [text(8) for _ in range(100)],
        near(clouds[drawn.integers(200, size=100)]),
        [],
    )
