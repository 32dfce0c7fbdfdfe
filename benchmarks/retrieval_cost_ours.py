"""What `retrieval_cost` measures of our store alone: filters, and waiting beside an import."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import numpy.typing as npt

from benchmarks.retrieval_cost_stores import (
    CORPUS,
    LIMIT,
    Data,
    Vectors,
    graph_made,
    process_seconds,
    write_headwater,
)
from headwater.v1 import filter_pb2
from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.metadata_values import to_proto
from headwater_server.retrieval.store.protocol import Query, SearchMode

_Op = filter_pb2.ComparisonOperator
ROUNDS = 2
BUSY_SECONDS = 20.0
QUERIES_A_SECOND = 20.0
PASSAGES_A_SECOND = 60.0
"""About what two cores embed."""

Rows = list[dict[str, Any]]


def measure_filters(data: Data, folder: Path, per_document: int, *, graph_seconds: float) -> Rows:
    return anyio.run(_measure_filters, data, folder, per_document, graph_seconds)


async def _measure_filters(data: Data, folder: Path, per_document: int, graph_seconds: float) -> Rows:
    size = len(data.texts)
    documents = np.arange(size) // per_document
    shuffled = documents * 7_919 % 1_000
    masks = {
        "0.1 %": (_shuffled_below(1), shuffled < 1),
        "1 %": (_shuffled_below(10), shuffled < 10),
        "10 %": (_shuffled_below(100), shuffled < 100),
        "50 %": (_half(), documents % 2 == 0),
        "99 %": (_negated(_shuffled_below(10)), shuffled >= 10),
    }
    rows: Rows = []
    async with EmbeddedStore.open(folder) as store:
        await write_headwater(store, data, range(size), per_document=per_document)
        await graph_made(folder, size, seconds=graph_seconds)
        assert store.index_pid is not None
        for name, (condition, mask) in masks.items():
            left = np.flatnonzero(mask)
            if not len(left):
                continue
            before = _seconds(store.index_pid)
            await _ask(store, data, 0, SearchMode.HYBRID, condition)
            first = _seconds(store.index_pid) - before
            found = [await _ask(store, data, each, SearchMode.DENSE, condition) for each in range(len(data.queries))]
            recalls = [_recall(data.vectors, left, data.query_vectors[each], got) for each, got in enumerate(found)]
            spent = []
            for _ in range(ROUNDS):
                before = _seconds(store.index_pid)
                for each in range(len(data.queries)):
                    await _ask(store, data, each, SearchMode.HYBRID, condition)
                spent.append((_seconds(store.index_pid) - before) / len(data.queries))
            rows.append(
                {
                    "leaves": name,
                    "left": len(left),
                    "query_ms": 1000 * statistics.median(spent),
                    "first_ms": 1000 * first,
                    "recall": statistics.mean(recalls),
                }
            )
    return rows


def _recall(vectors: Vectors, left: npt.NDArray[np.int64], query: Vectors, found: list[int]) -> float:
    scores = vectors[left] @ query
    nearest = left[np.argsort(-scores)[:LIMIT]]
    return len({*nearest.tolist()} & {*found}) / len(nearest)


async def _ask(
    store: EmbeddedStore, data: Data, number: int, mode: SearchMode, condition: filter_pb2.Filter
) -> list[int]:
    query = Query([CORPUS], data.queries[number], data.query_vectors[number], mode, LIMIT, condition)
    return [int(hit.passage_id) for hit in (await store.search(query)).hits]


def _seconds(index: int) -> float:
    return time.process_time() + process_seconds(index)


def _shuffled_below(limit: int) -> filter_pb2.Filter:
    return filter_pb2.Filter(
        comparison=filter_pb2.Comparison(key="shuffled", op=_Op.COMPARISON_OPERATOR_LT, value=to_proto(limit))
    )


def _half() -> filter_pb2.Filter:
    return filter_pb2.Filter(
        comparison=filter_pb2.Comparison(key="half", op=_Op.COMPARISON_OPERATOR_EQ, value=to_proto(True))
    )


def _negated(condition: filter_pb2.Filter) -> filter_pb2.Filter:
    return filter_pb2.Filter(negate=condition)


def measure_busy(data: Data, folder: Path, *, graph_seconds: float) -> Rows:
    return anyio.run(_measure_busy, data, folder, graph_seconds)


async def _measure_busy(data: Data, folder: Path, graph_seconds: float) -> Rows:
    size = len(data.texts)
    held_back = min(size // 5, 20_000)
    rows: Rows = []
    async with EmbeddedStore.open(folder) as store:
        await write_headwater(store, data, range(size - held_back))
        await graph_made(folder, size - held_back, seconds=graph_seconds)
        rows.append({"meanwhile": "nothing", **await _timed(store, data)})
        for name, pace in (
            (f"an import of {PASSAGES_A_SECOND:.0f} passages a second", PASSAGES_A_SECOND),
            ("an import as fast as it goes", float("inf")),
        ):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_import, store, data, range(size - held_back, size), pace)
                rows.append({"meanwhile": name, **await _timed(store, data)})
                tasks.cancel_scope.cancel()
    return rows


async def _import(store: EmbeddedStore, data: Data, numbers: range, pace: float) -> None:
    """Writes documents of twenty passages, over and over, no faster than that."""
    while True:
        for start in range(numbers.start, numbers.stop - 20, 20):
            began = time.monotonic()
            await write_headwater(store, data, range(start, start + 20), per_document=20)
            await anyio.sleep(max(0.0, began + 20 / pace - time.monotonic()))


async def _timed(store: EmbeddedStore, data: Data) -> dict[str, float]:
    """Asks at an even pace and says how long it took."""
    took, behind = [], 0
    began = time.monotonic()
    for number in range(int(BUSY_SECONDS * QUERIES_A_SECOND)):
        await anyio.sleep(max(0.0, began + number / QUERIES_A_SECOND - time.monotonic()))
        each = number % len(data.queries)
        query = Query([CORPUS], data.queries[each], data.query_vectors[each], SearchMode.HYBRID, LIMIT)
        asked = time.perf_counter()
        result = await store.search(query)
        took.append(time.perf_counter() - asked)
        behind += not result.current
    took.sort()
    p50, p99 = (1000 * took[int(len(took) * share)] for share in (0.5, 0.99))
    return {"queries": len(took), "p50_ms": p50, "p99_ms": p99, "not_current": behind}
