"""What the store costs as it grows: CPU a query, recall, pace of importing, memory and disk, beside others in one run.

    python -m benchmarks.retrieval_cost                           1,400, 11,000 and 100,000 passages
    python -m benchmarks.retrieval_cost --sizes 1400 11000        these
    python -m benchmarks.retrieval_cost --sizes 1000000 --only headwater
    python -m benchmarks.retrieval_cost --filters --sizes 11000   what filters cost, and what they find
    python -m benchmarks.retrieval_cost --busy --sizes 11000      how long queries take while there is an import

Passages, queries and their vectors (384 dimensions) are generated from a seed; all stores get the same. The others, of
which those that are not installed (`pip install usearch lancedb`) are left out:

- `fts5+numpy`: SQLite's FTS5 and one numpy matrix in a file, compared whole;
- `fts5+usearch`: SQLite's FTS5 and an HNSW index by usearch, mapped from its file;
- `lancedb`: its own full text index and an IVF-HNSW-SQ index.

Hybrid queries fuse the best hundred of both rankings and return ten passages with their texts. Each store fills its
folder in one process and answers from it in another, so that memory is that of a server that was just started; both say
CPU time (user and system) of themselves and their children. Recall is that of the dense search: how many of the truly
nearest ten it finds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import retrieval_cost_ours as ours
from benchmarks.retrieval_cost_stores import LIMIT, STORES, Data, measure_fill, measure_queries
from benchmarks.retrieval_quality import generated

SIZES = (1_400, 11_000, 100_000)
NEEDED = {"fts5+usearch": "usearch", "lancedb": "lancedb"}


def main() -> int:
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # numpy's idle threads would burn the CPU that we measure
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "benchmarks.retrieval_cost", *sys.argv[1:]]
        os.execve(sys.executable, command, environment)  # noqa: S606 (this very program)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retrieval_cost", description="Measure what search costs."
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="numbers of passages")
    parser.add_argument("--only", choices=STORES, nargs="+", default=list(STORES), help="these stores")
    parser.add_argument("--rounds", type=int, default=3, help="how often the queries are asked; the median counts")
    parser.add_argument("--filters", action="store_true", help="measure filters instead, of our store alone")
    parser.add_argument(
        "--busy", action="store_true", help="measure waiting beside an import instead, of our store alone"
    )
    parser.add_argument("--folder", type=Path, help="where the stores are made; a temporary folder if none")
    parser.add_argument("--part", nargs=3, metavar=("fill|ask|filters|busy", "STORE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        run_part(*options.part, rounds=options.rounds)
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="retrieval-cost-") as folder:
        if options.filters:
            compare_filters(Path(folder), options.sizes)
        elif options.busy:
            compare_busy(Path(folder), options.sizes)
        else:
            compare_stores(Path(folder), options.sizes, options.only, options.rounds)
    return 0


def run_part(part: str, store: str, folder: str, *, rounds: int) -> None:
    """What a process of its own does: fills a store, or asks it; prints its figures as JSON."""
    data = Data(Path(folder).parent)
    figures: dict[str, Any]
    match part:
        case "fill":
            figures = measure_fill(STORES[store], data, Path(folder))
        case "ask":
            figures = measure_queries(STORES[store], data, Path(folder), rounds=rounds)
        case "filters":
            figures = ours.measure_filters(data, Path(folder), per_document=int(store))
        case "busy":
            figures = ours.measure_busy(data, Path(folder))
        case _:
            raise SystemExit(f"there is no part {part}")
    print(json.dumps(figures))


def compare_stores(folder: Path, sizes: list[int], stores: list[str], rounds: int) -> None:
    print(
        "| passages | store | CPU ms a hybrid query | recall@10 | passages imported a second (a CPU-second) |"
        " graph after, s | MiB of memory (anonymous) | MB of disk |\n|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    for size in sizes:
        prepare(folder, size)
        for name in stores:
            if importlib.util.find_spec(NEEDED.get(name, "sqlite3")) is None:
                print(f"| {size:,} | {name} | not installed |", flush=True)
                continue
            filled = in_process("fill", name, folder / "store")
            asked = in_process("ask", name, folder / "store", rounds=rounds)
            print(
                f"| {size:,} | {name} | {asked['query_ms']:.2f}{split(asked)} | {asked['recall']:.3f} |"
                f" {size / filled['seconds']:,.0f} ({size / filled['cpu_seconds']:,.0f}) |"
                f" {filled['graph_seconds']:.0f} | {asked['memory_mib']:.0f} ({asked['anonymous_mib']:.0f}) |"
                f" {filled['disk_mb']:.0f} |",
                flush=True,
            )
            shutil.rmtree(folder / "store")


def split(asked: dict[str, float]) -> str:
    return f" ({asked['own_ms']:.2f} + {asked['query_ms'] - asked['own_ms']:.2f})" if asked["own_ms"] else ""


def compare_filters(folder: Path, sizes: list[int]) -> None:
    print("| passages | a document | filter leaves | CPU ms a hybrid query | first, ms | recall@10 |")
    print("|---|---|---|---|---|---|", flush=True)
    for size in sizes:
        prepare(folder, size)
        for per_document in (1, 100):
            for row in in_process("filters", str(per_document), folder / "store")["rows"]:
                print(f"| {size:,} | {per_document} | {row}", flush=True)
            shutil.rmtree(folder / "store")


def compare_busy(folder: Path, sizes: list[int]) -> None:
    print("| passages | meanwhile | queries | p50 ms | p99 ms | not current |\n|---|---|---|---|---|---|")
    for size in sizes:
        prepare(folder, size)
        for row in in_process("busy", "-", folder / "store")["rows"]:
            print(f"| {size:,} | {row}", flush=True)
        shutil.rmtree(folder / "store")


def prepare(folder: Path, size: int) -> None:
    """Writes the passages, the queries and the truly nearest, for all processes to read."""
    collection = generated(size)
    np.save(folder / "vectors.npy", collection.vectors)
    np.save(folder / "query_vectors.npy", collection.query_vectors)
    (folder / "texts.json").write_text(json.dumps(collection.texts))
    (folder / "queries.json").write_text(json.dumps(collection.queries))
    nearest = [np.argsort(-(collection.vectors @ query))[:LIMIT] for query in collection.query_vectors]
    np.save(folder / "nearest.npy", np.stack(nearest))


def in_process(part: str, store: str, folder: Path, *, rounds: int = 3) -> dict[str, Any]:
    started = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "benchmarks.retrieval_cost",
        f"--rounds={rounds}",
        "--part",
        part,
        store,
        str(folder),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"retrieval_cost: {part} {store} failed after {time.monotonic() - started:.0f} s")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    sys.exit(main())
