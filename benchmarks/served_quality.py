"""How well a caller's searches rank, through all of the service: documents imported, split, folded, joined.

    python -m benchmarks.served_quality                         Cranfield and CISI, with 10 and with 40 sources
    python -m benchmarks.served_quality --keep served_quality   keeps the figures, for docs/retrieval.md

`benchmarks.retrieval_quality` puts whole documents into the store, each as one passage. Here each is a text file that a
server imports, which splits it; a search returns sources, of which several may be of one document. What is scored is
the documents, each where its best source stands, and the first ten of them: where ten sources are of fewer documents,
the places that are left count as misses. Judgements and nDCG@10 are the same.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.figures import Run, add_option
from benchmarks.ir_collections import COLLECTIONS, DEFAULT_DATA, ndcg, read_jsonl, read_judgements, with_title
from benchmarks.relay.processes import server
from benchmarks.retrieval_quality import LIMIT
from headwater import Client
from scripts.retrieval_docs import made_with

ROOT = Path(__file__).resolve().parent.parent
TOP_KS = (10, 40)
AT_ONCE = 8


def main() -> int:
    """Measures, and prints a line for each collection and number of sources."""
    parser = argparse.ArgumentParser(description="Measure how well a server ranks documents.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of the collections (BEIR's layout)")
    parser.add_argument("--collections", nargs="+", default=list(COLLECTIONS), choices=COLLECTIONS)
    add_option(parser)
    options = parser.parse_args()
    missing = [name for name in options.collections if not (options.data / name / "corpus.jsonl").is_file()]
    if missing:
        print(f"served_quality: {options.data} has no {' and no '.join(missing)}", file=sys.stderr)
        return 1
    run = Run("benchmarks.served_quality", sys.argv[1:])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "headwater", "serve", "--address", "127.0.0.1:0"]
        with (
            server([*command, "--data-dir", str(folder / "data")], cwd=ROOT, log=folder / "log") as running,
            Client(running.address) as client,
        ):
            for collection in options.collections:
                for row in measured(client, options.data / collection):
                    print(
                        f"{row['collection']}, {row['top_k']} sources of {row['documents_found']:.1f} documents:"
                        f" nDCG@10 {row['ndcg']:.4f}, recall@10 {row['recall']:.4f}",
                        flush=True,
                    )
                    run.add(row)
    run.keep(options.keep)
    return 0


def measured(client: Client, folder: Path) -> Iterator[dict[str, Any]]:
    """Imports a collection into a corpus of its own, and asks its questions with each number of sources."""
    documents = read_jsonl(folder / "corpus.jsonl")
    relevant = read_judgements(folder)
    queries = [query for query in read_jsonl(folder / "queries.jsonl") if query["_id"] in relevant]
    passages = imported(client, folder.name, documents)
    for top_k in TOP_KS:
        gains, recalls, counts, sources = [], [], [], []
        for query in queries:
            found = client.retrieve(query["text"], corpus=folder.name, top_k=top_k)
            ranked = list(dict.fromkeys(source.document.rpartition("/")[2] for source in found))
            judged = relevant[query["_id"]]
            gains.append(ndcg([judged.get(document, 0.0) for document in ranked], judged.values(), limit=LIMIT))
            recalls.append(sum(document in judged for document in ranked[:LIMIT]) / len(judged))
            counts.append(len(ranked))
            sources.append(len(found))
        yield {
            "collection": folder.name,
            "queries": len(queries),
            "documents": len(documents),
            "passages": passages,
            "top_k": top_k,
            "sources_found": statistics.mean(sources),
            "documents_found": statistics.mean(counts),
            "ndcg": statistics.mean(gains),
            "recall": statistics.mean(recalls),
            "made_with": made_with(),
        }


def imported(client: Client, corpus: str, documents: list[dict[str, str]]) -> int:
    """Imports documents as text files, and returns how many passages they have become."""
    client.corpora.create(corpus)

    def import_one(document: dict[str, str]) -> int:
        text = with_title(document["title"], document["text"])
        done = client.documents.import_file(
            text.encode(), corpus=corpus, document_id=document["_id"], media_type="text/plain"
        )
        return done.passage_count

    filled = [each for each in documents if with_title(each["title"], each["text"]).strip()]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(import_one, filled))


if __name__ == "__main__":
    sys.exit(main())
