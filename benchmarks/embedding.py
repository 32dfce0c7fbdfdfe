"""What the built-in embedder costs, and how well its vectors alone rank.

    python -m benchmarks.embedding                    passages embedded a CPU-second, and CPU of one query
    python -m benchmarks.embedding --keep embedding   keeps the figures, for docs/benchmarks.md
    python -m benchmarks.embedding --quality          also nDCG@10 of dense retrieval by brute force

Passages are the abstracts of Cranfield and CISI with 100 to 200 words, whole. CPU time is user and system time of the
process (getrusage), tokenising included, making the embedder not. Rounds alternate between passages and queries, and
the median and the range of the rounds are shown, because machines are noisy.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import figures
from benchmarks.ir_collections import COLLECTIONS, DEFAULT_DATA, ndcg, read_jsonl, read_judgements
from headwater_server.retrieval.embedding import Embedder, MiniLmEmbedder


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the built-in embedder.")
    parser.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, help="folder of cranfield/ and cisi/ (BEIR's layout)"
    )
    parser.add_argument("--passages", type=int, default=100, help="passages, and queries, a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="threads for one text")
    parser.add_argument("--quality", action="store_true", help="embed both collections whole and rank (a minute)")
    figures.add_option(parser)
    options = parser.parse_args()
    run = figures.Run("benchmarks.embedding", sys.argv[1:])
    missing = [name for name in COLLECTIONS if not (options.data / name / "corpus.jsonl").is_file()]
    if missing:
        print(
            f"embedding: {options.data} has no {' and no '.join(missing)}; give the folder by --data", file=sys.stderr
        )
        return 1
    embedder = MiniLmEmbedder(threads=options.threads)
    for row in measure_cost(embedder, options):
        run.add(row)
    run.keep(options.keep)
    if options.quality:
        measure_quality(embedder, options.data)
    return 0


def measure_cost(embedder: Embedder, options: argparse.Namespace) -> list[dict[str, Any]]:
    passages = [
        document["text"]
        for name in COLLECTIONS
        for document in read_jsonl(options.data / name / "corpus.jsonl")
        if 100 <= len(document["text"].split()) <= 200
    ]
    queries = [query["text"] for name in COLLECTIONS for query in read_jsonl(options.data / name / "queries.jsonl")]
    pick = random.Random(0)  # noqa: S311 (a sample, not a secret)
    pick.shuffle(passages)
    pick.shuffle(queries)
    passages, queries = passages[: options.passages], queries[: options.passages]
    embedder.embed_documents(passages[:5])

    rates, milliseconds = [], []
    for _ in range(options.rounds):
        rates.append(len(passages) / cpu_seconds(lambda: embedder.embed_documents(passages)))
        milliseconds.append(
            1000 * cpu_seconds(lambda: [embedder.embed_query(query) for query in queries]) / len(queries)
        )
    print(f"{embedder.name}, {options.threads} thread(s) a text; median of {options.rounds} rounds (lowest to highest)")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        measured(
            "passages a CPU-second", rates, f"{len(passages)} passages, {mean_words(passages):.0f} words on average"
        ),
        measured("CPU ms a query", milliseconds, f"{len(queries)} queries, {mean_words(queries):.0f} words on average"),
        measured("peak memory, MiB", [memory], "the process with all that is in it"),
    ]


def cpu_seconds(work: Callable[[], object]) -> float:
    """User and system time that the work took this process, on all threads."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measured(what: str, values: Sequence[float], of: str) -> dict[str, Any]:
    """Prints a figure; returns it as it is kept."""
    print(f"{what:<24}{statistics.median(values):>8.1f}  ({min(values):.1f} to {max(values):.1f}; {of})")
    return {"what": what, "median": statistics.median(values), "lowest": min(values), "highest": max(values), "of": of}


def mean_words(texts: Sequence[str]) -> float:
    return statistics.mean(len(text.split()) for text in texts)


def measure_quality(embedder: Embedder, data: Path) -> None:
    for name in COLLECTIONS:
        documents = read_jsonl(data / name / "corpus.jsonl")
        queries = read_jsonl(data / name / "queries.jsonl")
        judgements = read_judgements(data / name)
        vectors = embedder.embed_documents(
            [f"{document['title']} {document['text']}".strip() for document in documents]
        )
        judged = [query for query in queries if judgements.get(query["_id"])]
        scores = embedder.embed_documents([query["text"] for query in judged]) @ vectors.T
        ids = [document["_id"] for document in documents]
        gains = []
        for query, row in zip(judged, scores, strict=True):
            relevant = judgements[query["_id"]]
            gains.append(ndcg([relevant.get(document, 0.0) for document in ranking(row, ids)], relevant.values()))
        print(f"{'nDCG@10 ' + name:<24}{statistics.mean(gains):>8.4f}  ({len(judged)} queries, {len(ids)} documents)")


def ranking(scores: npt.NDArray[np.float32], ids: Sequence[str]) -> list[str]:
    return [ids[position] for position in np.argsort(-scores, kind="stable")[:10]]


if __name__ == "__main__":
    sys.exit(main())
