"""How well the embedded store ranks, and what a query costs, against a plain peer in the same run.

    python -m benchmarks.retrieval_quality                    Cranfield and CISI, with the built-in embedder
    python -m benchmarks.retrieval_quality --keep retrieval_quality   keeps the figures, for docs/benchmarks.md
    python -m benchmarks.retrieval_quality --passages 100000  what a query costs among generated passages
    python -m benchmarks.retrieval_quality --calibration      how relevance is fitted to the judgements, and holds
    python -m benchmarks.retrieval_quality --markdown         the tables of docs/retrieval.md, which it writes there

The peer is SQLite's FTS5 (its bm25, porter stemming) and all vectors in one numpy matrix, fused by reciprocal rank with
the constant 60. Both sides get the same passages and the same vectors. nDCG has linear gains, as trec_eval has it.
CPU is user and system time of all processes of a side, the embedding of queries apart; the sides take turns, and the
median of the rounds is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from benchmarks import ranking_methods, relevance_fit
from benchmarks.figures import Run, add_option
from benchmarks.ir_collections import COLLECTIONS, DEFAULT_DATA, Collection, generated, ndcg, read
from headwater_server.retrieval.embedding import MiniLmEmbedder
from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.protocol import CorpusKey, DocumentRecord, PassageRecord, Query, SearchMode
from scripts import retrieval_docs

CORPUS = CorpusKey("benchmark", "corpus")
DEPTH = 100
LIMIT = 10

Search = Callable[[int, SearchMode], Awaitable[list[str]]]


def main() -> int:
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # numpy's idle threads would burn the CPU that we measure
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        again = [sys.executable, "-m", "benchmarks.retrieval_quality", *sys.argv[1:]]
        os.execve(sys.executable, again, environment)  # noqa: S606 (this very program)
    parser = argparse.ArgumentParser(description="Measure retrieval.")
    parser.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, help="folder of cranfield/ and cisi/ (BEIR's layout)"
    )
    parser.add_argument("--calibration", action="store_true", help="fit relevance to the judgements instead")
    parser.add_argument("--markdown", action="store_true", help="make the tables of docs/retrieval.md instead")
    parser.add_argument("--passages", type=int, help="generate so many passages instead, from a seed")
    parser.add_argument("--rounds", type=int, default=5)
    add_option(parser)
    options = parser.parse_args()
    run = Run("benchmarks.retrieval_quality", sys.argv[1:])
    if options.passages:
        collections = [generated(options.passages)]
    else:
        missing = [name for name in COLLECTIONS if not (options.data / name / "corpus.jsonl").is_file()]
        if missing:
            print(f"retrieval_quality: {options.data} has no {' and no '.join(missing)}", file=sys.stderr)
            return 1
        embedder = MiniLmEmbedder()
        collections = [read(options.data / name, embedder) for name in COLLECTIONS]
        if options.calibration:
            print(json.dumps(relevance_fit.figures(collections), indent=2))
            return 0
        if options.markdown:
            retrieval_docs.write(retrieval_figures(collections, embedder))
            return 0
    for collection in collections:
        run.add(anyio.run(measure, collection, options.rounds))
    run.keep(options.keep)
    return 0


def retrieval_figures(collections: Sequence[Collection], embedder: MiniLmEmbedder) -> dict[str, Any]:
    """All figures of docs/retrieval.md."""
    return {
        "made_with": retrieval_docs.made_with(),
        "collections": {each.name: [len(each.queries), len(each.ids)] for each in collections},
        "store": {each.name: anyio.run(measured_modes, each) for each in collections},
        "methods": {each.name: ranking_methods.compare(each, embedder) for each in collections},
        "relevance": relevance_fit.figures(collections),
    }


async def measured_modes(collection: Collection) -> dict[str, float]:
    """nDCG@10 of the store itself, by mode, and of the peer's hybrid."""
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedStore.open(Path(folder)) as store:
            await fill(store, collection)
            figures = {
                mode.value: (await judged(collection, searching(store, collection), mode))[0] for mode in SearchMode
            }
    return {**figures, "peer": (await judged(collection, Peer(collection).search, SearchMode.HYBRID))[0]}


async def measure(collection: Collection, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedStore.open(Path(folder)) as store:
            await fill(store, collection)
            ours = searching(store, collection)
            peer = Peer(collection)
            index = store.index_pid
            assert index is not None
            modes = await quality(collection, ours, peer.search) if collection.relevant else {}
            spent = await cost(collection, ours, peer.search, rounds, index)
    size = {"collection": collection.name, "queries": len(collection.queries), "passages": len(collection.ids)}
    return {**size, "modes": modes, **spent}


async def fill(store: EmbeddedStore, collection: Collection) -> None:
    """Puts a collection into the store, and waits until it is found."""
    version = await store.create_corpus(CORPUS, dimension=collection.vectors.shape[1], embedder="benchmark")
    for start in range(0, len(collection.ids), 100):  # documents of a hundred passages
        passages = [
            PassageRecord(collection.ids[at], at - start, collection.texts[at], "", None, collection.vectors[at])
            for at in range(start, min(start + 100, len(collection.ids)))
        ]
        document = DocumentRecord(f"d{start}", "", "", "text/plain")
        version = await store.replace_document(CORPUS, document, passages)
    await store.wait_applied(version)


def searching(store: EmbeddedStore, collection: Collection) -> Search:
    async def search(number: int, mode: SearchMode) -> list[str]:
        vector = None if mode is SearchMode.LEXICAL else collection.query_vectors[number]
        query = Query([CORPUS], collection.queries[number], vector, mode, LIMIT)
        return [hit.passage_id for hit in (await store.search(query)).hits]

    return search


async def quality(collection: Collection, ours: Search, theirs: Search) -> dict[str, dict[str, float]]:
    modes = {}
    print(f"\n{collection.name}: {len(collection.queries)} queries, {len(collection.ids)} passages")
    print(f"{'':<10}{'nDCG@10':>10}{'peer':>8}{'ratio':>8}{'recall@10':>12}{'peer':>8}{'ratio':>8}")
    for mode in SearchMode:
        figures = [await judged(collection, search, mode) for search in (ours, theirs)]
        (ndcg, recall), (peer_ndcg, peer_recall) = figures
        print(
            f"{mode:<10}{ndcg:>10.4f}{peer_ndcg:>8.4f}{ndcg / peer_ndcg:>8.3f}"
            f"{recall:>12.4f}{peer_recall:>8.4f}{recall / peer_recall:>8.3f}"
        )
        modes[mode.value] = {"ndcg": ndcg, "peer_ndcg": peer_ndcg, "recall": recall, "peer_recall": peer_recall}
    return modes


async def judged(collection: Collection, search: Search, mode: SearchMode) -> tuple[float, float]:
    """Mean nDCG@10 and recall@10."""
    gains, recalls = [], []
    for number, relevant in enumerate(collection.relevant):
        found = await search(number, mode)
        gains.append(ndcg([relevant.get(passage, 0.0) for passage in found], relevant.values(), limit=LIMIT))
        recalls.append(sum(passage in relevant for passage in found) / len(relevant))
    return statistics.mean(gains), statistics.mean(recalls)


async def cost(collection: Collection, ours: Search, theirs: Search, rounds: int, index: int) -> dict[str, float]:
    numbers = list(range(len(collection.queries)))
    random.Random(0).shuffle(numbers)  # noqa: S311 (an order, not a secret)
    measured: dict[str, list[float]] = {"server": [], "index": [], "peer": []}
    for _ in range(rounds):
        before, before_index = own_seconds(), process_seconds(index)
        for number in numbers:
            await ours(number, SearchMode.HYBRID)
        measured["server"].append((own_seconds() - before) / len(numbers))
        measured["index"].append((process_seconds(index) - before_index) / len(numbers))
        before = own_seconds()
        for number in numbers:
            await theirs(number, SearchMode.HYBRID)
        measured["peer"].append((own_seconds() - before) / len(numbers))
    server, inside, peer = (1000 * statistics.median(each) for each in measured.values())
    print(
        f"CPU a hybrid query, {collection.name}: {server + inside:.2f} ms ({server:.2f} in the server,"
        f" {inside:.2f} in the index process), peer {peer:.2f} ms, ratio {(server + inside) / peer:.3f}"
    )
    return {"server_ms": server, "index_ms": inside, "peer_ms": peer}


def own_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def process_seconds(pid: int) -> float:
    """CPU time of another process, with all its threads, by the kernel's clock of it (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


class Peer:
    """What one would write in an afternoon: FTS5 and a matrix."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._database = sqlite3.connect(":memory:")
        self._database.execute("CREATE VIRTUAL TABLE passages USING fts5 (text, tokenize = 'porter unicode61')")
        rows = list(enumerate(collection.texts))
        self._database.executemany("INSERT INTO passages (rowid, text) VALUES (?, ?)", rows)

    async def search(self, number: int, mode: SearchMode) -> list[str]:
        rankings: list[Sequence[int]] = []
        if mode is not SearchMode.DENSE:
            rankings.append(self._lexical(self._collection.queries[number]))
        if mode is not SearchMode.LEXICAL:
            scores = self._collection.vectors @ self._collection.query_vectors[number]
            nearest = np.argpartition(-scores, min(DEPTH, len(scores) - 1))[:DEPTH]
            rankings.append(nearest[np.argsort(-scores[nearest])].tolist())
        fused: dict[int, float] = {}
        for ranking in rankings:
            for rank, row in enumerate(ranking, start=1):
                fused[row] = fused.get(row, 0.0) + 1 / (60 + rank)
        best = sorted(fused, key=lambda row: -fused[row])[:LIMIT]
        return [self._collection.ids[row] for row in best]

    def _lexical(self, text: str) -> list[int]:
        words = " OR ".join(f'"{word}"' for word in dict.fromkeys(re.findall(r"\w+", text)))
        rows = self._database.execute(
            "SELECT rowid FROM passages WHERE passages MATCH ? ORDER BY bm25(passages) LIMIT ?", (words, DEPTH)
        )
        return [row for (row,) in rows]


if __name__ == "__main__":
    sys.exit(main())
