"""What the store costs as it grows: CPU a query, recall, pace of importing, memory and disk, beside others in one run.

    python -m benchmarks.retrieval_cost                           1,400, 11,000 and 100,000 passages
    python -m benchmarks.retrieval_cost --sizes 1400 11000        these
    python -m benchmarks.retrieval_cost --sizes 1000000 --only headwater
    python -m benchmarks.retrieval_cost --filters --sizes 11000   what filters cost, and what they find
    python -m benchmarks.retrieval_cost --busy --sizes 11000      how long queries take while there is an import
    python -m benchmarks.retrieval_cost --keep retrieval_cost     keeps figures, for docs/benchmarks.md

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import figures
from benchmarks import retrieval_cost_ours as ours
from benchmarks.ir_collections import generated
from benchmarks.retrieval_cost_stores import GRAPH_SECONDS, LIMIT, STORES, Data, measure_fill, measure_queries
from scripts.benchmarks_docs import FILTER_COSTS, STORE_COSTS, WAITS, Row

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
    parser.add_argument("--graph-seconds", type=float, default=GRAPH_SECONDS, help="how long to wait for the graph")
    parser.add_argument("--folder", type=Path, help="where the stores are made; a temporary folder if none")
    figures.add_option(parser)
    parser.add_argument("--part", nargs=3, metavar=("fill|ask|filters|busy", "STORE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        run_part(*options.part, rounds=options.rounds, graph_seconds=options.graph_seconds)
        return 0
    run = figures.Run("benchmarks.retrieval_cost", sys.argv[1:])
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="retrieval-cost-") as folder:
        if options.filters:
            shown, rows = FILTER_COSTS, compare_filters(Path(folder), options)
        elif options.busy:
            shown, rows = WAITS, compare_busy(Path(folder), options)
        else:
            shown, rows = STORE_COSTS, compare_stores(Path(folder), options)
        print(shown.heading(), flush=True)
        for row in rows:
            print(shown.lines(row), flush=True)
            run.add(row)
    run.keep(options.keep)
    return 0


def run_part(part: str, store: str, folder: str, *, rounds: int, graph_seconds: float) -> None:
    """What a process of its own does: fills a store, or asks it; prints its figures as JSON."""
    data = Data(Path(folder).parent)
    measured: dict[str, Any]
    match part:
        case "fill":
            measured = measure_fill(STORES[store], data, Path(folder), graph_seconds=graph_seconds)
        case "ask":
            measured = measure_queries(STORES[store], data, Path(folder), rounds=rounds)
        case "filters":
            measured = {"rows": ours.measure_filters(data, Path(folder), int(store), graph_seconds=graph_seconds)}
        case "busy":
            measured = {"rows": ours.measure_busy(data, Path(folder), graph_seconds=graph_seconds)}
        case _:
            raise SystemExit(f"there is no part {part}")
    print(json.dumps(measured))


def compare_stores(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    for size in options.sizes:
        prepare(folder, size)
        for name in options.only:
            if importlib.util.find_spec(NEEDED.get(name, "sqlite3")) is None:
                print(f"retrieval_cost: {name} is left out: it is not installed", file=sys.stderr)
                continue
            filled = in_process("fill", name, folder / "store", options)
            asked = in_process("ask", name, folder / "store", options)
            yield {"passages": size, "store": name, **filled, **asked}
            shutil.rmtree(folder / "store")


def compare_filters(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    for size in options.sizes:
        prepare(folder, size)
        for per_document in (1, 100):
            for row in in_process("filters", str(per_document), folder / "store", options)["rows"]:
                yield {"passages": size, "a_document": per_document, **row}
            shutil.rmtree(folder / "store")


def compare_busy(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    for size in options.sizes:
        prepare(folder, size)
        for row in in_process("busy", "-", folder / "store", options)["rows"]:
            yield {"passages": size, **row}
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


def in_process(part: str, store: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.retrieval_cost"]
    command += [f"--rounds={options.rounds}", f"--graph-seconds={options.graph_seconds}"]
    command += ["--part", part, store, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"retrieval_cost: {part} {store} failed after {time.monotonic() - started:.0f} s")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    sys.exit(main())
