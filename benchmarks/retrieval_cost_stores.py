"""The stores that `retrieval_cost` compares, and how each is filled and asked."""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import anyio
import numpy as np
import numpy.typing as npt

from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.index.shard import COMPRESSED_FROM, read_progress
from headwater_server.retrieval.store.protocol import CorpusKey, DocumentRecord, PassageRecord, Query, SearchMode

CORPUS = CorpusKey("benchmark", "corpus")
DIMENSION = 384
DEPTH = 100
LIMIT = 10
A_DOCUMENT = 100
"""How many passages a document has."""
BATCH = 10_000
GRAPH_SECONDS = 7_200.0

Vectors = npt.NDArray[np.float32]


class Data:
    """What `prepare` wrote, read as needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def vectors(self) -> Vectors:
        vectors: Vectors = np.load(self._folder / "vectors.npy", mmap_mode="r")
        return vectors

    @cached_property
    def texts(self) -> list[str]:
        texts: list[str] = json.loads((self._folder / "texts.json").read_text())
        return texts

    @cached_property
    def queries(self) -> list[str]:
        queries: list[str] = json.loads((self._folder / "queries.json").read_text())
        return queries

    @cached_property
    def query_vectors(self) -> Vectors:
        vectors: Vectors = np.load(self._folder / "query_vectors.npy")
        return vectors

    @cached_property
    def nearest(self) -> npt.NDArray[np.int64]:
        nearest: npt.NDArray[np.int64] = np.load(self._folder / "nearest.npy")
        return nearest


@dataclass(frozen=True)
class Filled:
    """How far a store has come that goes on making its graph after all can be searched."""

    searchable: float
    """When everything could be searched, on the monotonic clock."""
    in_graph: int
    """How many passages are in what it has made."""
    made: bool
    """Whether those are as many as it makes a graph of."""


class Asked(Protocol):
    """A store that is open. Passages are named by their numbers."""

    children: Sequence[int]
    """The processes that work for it."""

    async def hybrid(self, text: str, vector: Vectors) -> list[int]: ...

    async def dense(self, vector: Vectors) -> list[int]: ...


@dataclass(frozen=True)
class Kind:
    """A kind of store."""

    fill: Callable[[Data, Path, float], Filled | None]
    """Fills a folder, and waits so many seconds for a graph, if it makes one after everything can be searched."""
    open: Callable[[Path], AbstractAsyncContextManager[Asked]]


def measure_fill(kind: Kind, data: Data, folder: Path, *, graph_seconds: float) -> dict[str, float]:
    assert data.texts  # read before the clock runs
    started, cpu = time.monotonic(), cpu_seconds()
    filled = kind.fill(data, folder, graph_seconds)
    ended = time.monotonic()
    searchable = ended if filled is None else filled.searchable
    disk = sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))
    return {
        "seconds": searchable - started,
        "cpu_seconds": cpu_seconds() - cpu,
        "graph_seconds": ended - searchable,
        "graph_made": filled is None or filled.made,
        "in_graph": 0 if filled is None else filled.in_graph,
        "disk_mb": disk / 1e6,
    }


def measure_queries(kind: Kind, data: Data, folder: Path, *, rounds: int) -> dict[str, float]:
    return anyio.run(_measure_queries, kind, data, folder, rounds)


async def _measure_queries(kind: Kind, data: Data, folder: Path, rounds: int) -> dict[str, float]:
    numbers = range(len(data.queries))

    async def ask_all() -> None:
        for each in numbers:
            await store.hybrid(data.queries[each], data.query_vectors[each])

    async with kind.open(folder) as store:
        found = [await store.dense(data.query_vectors[each]) for each in numbers]
        shares = [len({*found[each]} & {*data.nearest[each].tolist()}) / LIMIT for each in numbers]
        await ask_all()
        own, theirs = [], []
        for _ in range(rounds):
            before = time.process_time(), sum(map(process_seconds, store.children))
            await ask_all()
            own.append((time.process_time() - before[0]) / len(numbers))
            theirs.append((sum(map(process_seconds, store.children)) - before[1]) / len(numbers))
        memory = [memory_mib(pid) for pid in (os.getpid(), *store.children)]
    return {
        "query_ms": 1000 * (statistics.median(own) + statistics.median(theirs)),
        "own_ms": 1000 * statistics.median(own) if store.children else 0.0,
        "recall": statistics.mean(shares),
        "memory_mib": sum(each[0] for each in memory),
        "anonymous_mib": sum(each[1] for each in memory),
    }


def cpu_seconds() -> float:
    """CPU time of this process and of those it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def process_seconds(pid: int) -> float:
    """CPU time of another process, with all its threads, by the kernel's clock of it (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def memory_mib(pid: int) -> tuple[float, float]:
    """The resident memory of a process, and how much of it the kernel cannot drop and read again."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = {key: int(value) / 1024 for key, value in re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB", status, re.MULTILINE)}
    return found["VmRSS"], found["RssAnon"]


# Ours


def fill_headwater(data: Data, folder: Path, graph_seconds: float) -> Filled:
    return anyio.run(_fill_headwater, data, folder, graph_seconds)


async def _fill_headwater(data: Data, folder: Path, graph_seconds: float) -> Filled:
    size = len(data.texts)
    async with EmbeddedStore.open(folder) as store:
        await write_headwater(store, data, range(size))
        searchable = time.monotonic()
        made = True
        try:
            await graph_made(folder, size, seconds=graph_seconds)
        except TimeoutError:  # what there is by then is measured
            made = False
    progress = read_progress(folder / "index" / "1", dimension=DIMENSION)
    return Filled(searchable, 0 if progress is None else progress.indexed, made)


async def write_headwater(store: EmbeddedStore, data: Data, numbers: range, *, per_document: int = A_DOCUMENT) -> None:
    """Writes these passages, and waits until they are found."""
    version = await store.create_corpus(CORPUS, dimension=data.vectors.shape[1], embedder="benchmark")
    for start in range(numbers.start, numbers.stop, per_document):
        passages = [
            PassageRecord(str(at), at - start, data.texts[at], "", None, np.array(data.vectors[at]))
            for at in range(start, min(start + per_document, numbers.stop))
        ]
        number = start // per_document
        metadata = {"shuffled": number * 7_919 % 1_000, "half": number % 2 == 0}
        document = DocumentRecord(f"d{start}", "", "", "text/plain", metadata)
        version = await store.replace_document(CORPUS, document, passages)
    await store.wait_applied(version)


async def graph_made(folder: Path, size: int, *, seconds: float) -> None:
    """Waits until no more than a tenth of the passages is not compressed, or outside the graph, if there are enough.

    Raises:
        TimeoutError: It took longer than so many seconds.
    """
    if size < COMPRESSED_FROM:
        return
    with anyio.fail_after(seconds):
        while not _is_made(folder / "index" / "1", size):  # noqa: ASYNC110 (another process makes it)
            await anyio.sleep(0.2)


def _is_made(shard: Path, size: int) -> bool:
    progress = read_progress(shard, dimension=DIMENSION)
    return progress is not None and progress.indexed + max(COMPRESSED_FROM, progress.indexed // 10) > size


class Headwater:
    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        assert store.index_pid is not None
        self.children: Sequence[int] = (store.index_pid,)

    async def hybrid(self, text: str, vector: Vectors) -> list[int]:
        return await self._search(Query([CORPUS], text, vector, SearchMode.HYBRID, LIMIT))

    async def dense(self, vector: Vectors) -> list[int]:
        return await self._search(Query([CORPUS], "", vector, SearchMode.DENSE, LIMIT))

    async def _search(self, query: Query) -> list[int]:
        return [int(hit.passage_id) for hit in (await self._store.search(query)).hits]


@asynccontextmanager
async def open_headwater(folder: Path) -> AsyncIterator[Asked]:
    async with EmbeddedStore.open(folder) as store:
        while store.index_pid is None:  # noqa: ASYNC110 (there is no event for that)
            await anyio.sleep(0.01)
        yield Headwater(store)


# FTS5, with a matrix or with usearch


def _fill_fts5(data: Data, folder: Path) -> None:
    folder.mkdir()
    database = sqlite3.connect(folder / "texts.sqlite3")
    database.execute("CREATE VIRTUAL TABLE passages USING fts5 (text, tokenize = 'porter unicode61')")
    for start in range(0, len(data.texts), BATCH):
        rows = list(enumerate(data.texts[start : start + BATCH], start=start))
        database.executemany("INSERT INTO passages (rowid, text) VALUES (?, ?)", rows)
        database.commit()
    database.close()


def fill_numpy(data: Data, folder: Path, _: float) -> None:
    _fill_fts5(data, folder)
    np.save(folder / "vectors.npy", data.vectors)


def fill_usearch(data: Data, folder: Path, _: float) -> None:
    _fill_fts5(data, folder)
    index = importlib.import_module("usearch.index").Index(
        ndim=data.vectors.shape[1], metric="cos", dtype="f32", connectivity=16, expansion_add=128
    )
    for start in range(0, len(data.vectors), BATCH):
        part = np.array(data.vectors[start : start + BATCH])
        index.add(np.arange(start, start + len(part)), part)
    index.save(str(folder / "vectors.usearch"))


class Fts5:
    children: Sequence[int] = ()

    def __init__(self, folder: Path, nearest: Callable[[Vectors, int], list[int]]) -> None:
        self._database = sqlite3.connect(folder / "texts.sqlite3")
        self._nearest = nearest

    async def dense(self, vector: Vectors) -> list[int]:
        return self._nearest(vector, LIMIT)

    async def hybrid(self, text: str, vector: Vectors) -> list[int]:
        words = " OR ".join(f'"{word}"' for word in dict.fromkeys(re.findall(r"\w+", text)))
        found = self._database.execute(
            "SELECT rowid FROM passages WHERE passages MATCH ? ORDER BY bm25(passages) LIMIT ?", (words, DEPTH)
        )
        scores: dict[int, float] = {}
        for ranking in ([row for (row,) in found], self._nearest(vector, DEPTH)):
            for rank, row in enumerate(ranking, start=1):
                scores[row] = scores.get(row, 0.0) + 1 / (60 + rank)
        best = sorted(scores, key=lambda row: -scores[row])[:LIMIT]
        marks = ",".join("?" * len(best))
        self._database.execute(f"SELECT rowid, text FROM passages WHERE rowid IN ({marks})", best).fetchall()  # noqa: S608 (marks)
        return best


@asynccontextmanager
async def open_numpy(folder: Path) -> AsyncIterator[Asked]:
    vectors: Vectors = np.load(folder / "vectors.npy")

    def nearest(vector: Vectors, limit: int) -> list[int]:
        scores = vectors @ vector
        best = np.argpartition(-scores, limit - 1)[:limit]
        rows: list[int] = best[np.argsort(-scores[best])].tolist()
        return rows

    yield Fts5(folder, nearest)


@asynccontextmanager
async def open_usearch(folder: Path) -> AsyncIterator[Asked]:
    index = importlib.import_module("usearch.index").Index.restore(str(folder / "vectors.usearch"), view=True)
    index.expansion_search = 128

    def nearest(vector: Vectors, limit: int) -> list[int]:
        rows: list[int] = index.search(vector, limit, threads=1).keys.tolist()
        return rows

    yield Fts5(folder, nearest)


# LanceDB


def fill_lancedb(data: Data, folder: Path, _: float) -> None:
    arrow = importlib.import_module("pyarrow")
    dimension = data.vectors.shape[1]
    kind = arrow.schema(
        [("number", arrow.int64()), ("text", arrow.string()), ("vector", arrow.list_(arrow.float32(), dimension))]
    )
    table = importlib.import_module("lancedb").connect(folder).create_table("passages", schema=kind)
    for start in range(0, len(data.texts), BATCH):
        part = np.array(data.vectors[start : start + BATCH])
        columns = [
            arrow.array(range(start, start + len(part))),
            arrow.array(data.texts[start : start + BATCH]),
            arrow.FixedSizeListArray.from_arrays(arrow.array(part.ravel()), dimension),
        ]
        table.add(arrow.Table.from_arrays(columns, schema=kind))
    table.create_fts_index("text", use_tantivy=False)
    if len(data.texts) >= COMPRESSED_FROM:
        table.create_index(metric="cosine", index_type="IVF_HNSW_SQ", num_partitions=1)
    table.optimize()


class Lance:
    children: Sequence[int] = ()

    def __init__(self, folder: Path) -> None:
        self._table: Any = importlib.import_module("lancedb").connect(folder).open_table("passages")

    async def dense(self, vector: Vectors) -> list[int]:
        search = self._table.search(vector, vector_column_name="vector").distance_type("cosine")
        return _numbers(search.refine_factor(2).ef(128).limit(LIMIT).select(["number", "text", "_distance"]).to_arrow())

    async def hybrid(self, text: str, vector: Vectors) -> list[int]:
        search = self._table.search(query_type="hybrid", vector_column_name="vector", fts_columns="text")
        asked = search.vector(vector).text(text).distance_type("cosine").refine_factor(1).ef(128).limit(DEPTH)
        return _numbers(asked.to_arrow())[:LIMIT]


def _numbers(table: Any) -> list[int]:
    numbers: list[int] = table.column("number").to_pylist()
    return numbers


@asynccontextmanager
async def open_lancedb(folder: Path) -> AsyncIterator[Asked]:
    yield Lance(folder)


STORES = {
    "headwater": Kind(fill_headwater, open_headwater),
    "fts5+numpy": Kind(fill_numpy, open_numpy),
    "fts5+usearch": Kind(fill_usearch, open_usearch),
    "lancedb": Kind(fill_lancedb, open_lancedb),
}
