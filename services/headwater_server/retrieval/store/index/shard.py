"""One corpus in qdrant-edge: a dense and a sparse vector a passage, under the passage's row in the truth.

The engine's own write-ahead log is off: what a crash takes from a shard is in the truth. A shard's directory holds the
engine's files in `data-N/`, and in `state.json` which N is the one, and how far it had applied the truth when it was
last flushed. `seal.json` is there while the shard is closed, unless a process died over it. A shard that is to take
the place of another is made beside it, under another N, and takes it when `state.json` is replaced: at once.

What was there when a shard was last made anew has vectors of 8-bit integers too, if it is enough for that to pay. Those
are compared one by one, or searched by a graph (HNSW) where there are more still; what they find is ranked again by the
vectors themselves. What was added later is compared one by one, whole. All files are mapped, not loaded: memory is the
kernel's to give and take.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import qdrant_edge as engine

from headwater_server.retrieval.store.index.seal import boot, is_intact, make_seal, read_sealed_json, sealed_json
from headwater_server.retrieval.store.protocol import Vector
from headwater_server.retrieval.store.terms import (
    ANALYSIS_VERSION,
    DEFAULT_LANGUAGE,
    SparseTerms,
    detected_language,
    passage_terms,
    query_terms,
)
from headwater_server.retrieval.store.truth.reader import PassageToIndex

FORMAT = f"4/{ANALYSIS_VERSION}/{importlib.metadata.version('qdrant-edge-py')}"
"""What made a shard: this layout, the analysis of texts, the engine. A shard of another make is made anew."""

_DENSE = "dense"
_TERMS = "terms"
_DOCUMENT = "document"
_OPENING = "opening"
_SEAL = "seal.json"
_PAGE = 1_000
_LEAST_KILOBYTES = 10  # the engine's own threshold, below ours
_NO_LIMIT = 10**9  # kilobytes
_FIRST_DATA = "data-0"
_EDGES = 32
_CANDIDATES_WHEN_BUILDING = 400
_CANDIDATES = 256
"""How many candidates a search of the graph keeps at least.

Generous, all three: where many passages are nearly the same, as in manuals that come in several formats, their edges
lead to each other. Of 21,500 such passages, 16 edges, 100 and 128 found 0.90 of the nearest ten, these find 0.98.
"""
_DEEPER = 1.3
"""How much deeper a search goes than its documents' share asks for: they may lie thinner where the query is."""
_DEEPEST = 8_192
_USUAL_DEPTH = 100

COMPRESSED_FROM = 10_000
"""How many passages it pays from to make a shard anew, with vectors of 8 bits: four times less to read."""

_EXACT = engine.SearchParams(exact=True)
"""For searches of named documents: a graph loses its paths where most nodes are out."""
_APPROXIMATE = engine.SearchParams(
    hnsw_ef=_CANDIDATES,
    quantization=engine.QuantizationSearchParams(rescore=True),
)

Scored = list[tuple[int, float]]
"""Passages by their rows in the truth, with scores, best first."""


class ShardBroken(Exception):
    """The engine failed on a shard, which is to be made anew."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of the truth a shard has applied."""

    passage: int
    """Every passage up to this row."""
    removed: int
    """Every removal up to this version."""
    applied: int
    """Every write to the corpus up to this version; 0 while the shard is first filled."""
    dead: int = 0
    """How many passages were removed again, whose room the engine keeps."""
    indexed: int = 0
    """How many passages there were when the shard was last made anew."""
    fresh: int = 0
    """How many were added since."""
    languages: tuple[str, ...] = field(default=(), compare=False)
    """The languages that its passages are in, or were, for queries to be stemmed in; `Shard.add` keeps them."""


@dataclass(frozen=True)
class DocumentSet:
    """Documents that a search is to stay among, by their rows in the truth."""

    rows: frozenset[int]
    share: float
    """How many of the corpus's documents they are, above 0 and below 1."""
    passages: int
    """About how many passages they have."""
    owners: Callable[[Sequence[int]], Mapping[int, int]]
    """Says to which documents passages belong."""

    @cached_property
    def condition(self) -> engine.Filter:
        """The documents as the engine wants them named."""
        return engine.Filter(must=[engine.FieldCondition(_DOCUMENT, match=engine.MatchAny(list(self.rows)))])

    @property
    def is_broad(self) -> bool:
        """Whether it costs less to search among all documents, and deeper, than to name these to the engine.

        To name one costs it about a microsecond a search, and to look at one of their passages a sixth of that; a
        candidate more that is looked at and dropped costs six.
        """
        return len(self.rows) + self.passages / 6 > 6 * _DEEPER * _USUAL_DEPTH / self.share

    def keep(self, found: Scored) -> Scored:
        """Those of the passages that belong to these documents, in the same order."""
        owners = self.owners([row for row, _ in found])
        return [entry for entry in found if owners.get(entry[0]) in self.rows]


@contextmanager
def _broken() -> Iterator[None]:
    """The engine's errors, and its panics, which are no subclass of Exception, as `ShardBroken`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise ShardBroken(f"{type(error).__name__}: {error}") from error


class Shard:
    """An open shard. Not thread-safe."""

    def __init__(
        self, directory: Path, shard: engine.EdgeShard, progress: Progress, *, data: str, dimension: int
    ) -> None:
        self._directory = directory
        self._data = data
        self._shard = shard
        self._dimension = dimension
        self.progress = progress
        self._languages = set(progress.languages)
        self.unflushed = 0
        """How many passages were added or removed since the last flush."""
        self.verified = False
        """Whether it has been compared with the truth since it was opened."""
        self.added_at = 0.0
        """When passages were last added, on the monotonic clock."""

    @classmethod
    def create(cls, directory: Path, *, dimension: int, version: int) -> Shard:
        """Makes an empty shard in the place of whatever is there.

        Args:
            directory: Where.
            dimension: Of the dense vectors.
            version: Of the truth now: what was removed earlier was never added.
        """
        discard(directory)
        return cls.create_beside(directory, data=_FIRST_DATA, dimension=dimension, version=version, graph_from=0)

    @classmethod
    def create_beside(cls, directory: Path, *, data: str, dimension: int, version: int, graph_from: int) -> Shard:
        """Makes an empty shard beside the one that is there, in the directory's folder `data`.

        It takes the other's place with `flush`.

        Args:
            directory: The corpus's own.
            data: The folder in it, which is not there yet.
            dimension: Of the dense vectors.
            version: Of the truth now.
            graph_from: From how many passages on `compress` makes a graph.
        """
        (directory / data).mkdir(parents=True)
        with _broken():
            shard = engine.EdgeShard.create(str(directory / data), _config(dimension, graph_from))
            lookup = engine.IntegerIndexParams(lookup=True, range=False, memory=engine.Memory.Cold)
            shard.update(engine.UpdateOperation.create_field_index(_DOCUMENT, lookup))
        progress = Progress(passage=0, removed=version, applied=0)
        return cls(directory, shard, progress, data=data, dimension=dimension)

    @classmethod
    def load(cls, directory: Path, *, dimension: int) -> Shard:
        """Opens a shard.

        Raises:
            ShardBroken: There is none, it is of another make or damaged, or opening it failed, now or the last time.
        """
        marker = directory / _OPENING
        state = _read_state(directory, dimension=dimension)
        if state is None or (marker.exists() and marker.read_text(errors="replace") in ("", state[0])):
            raise ShardBroken("not flushed, of another make, or opening it ended a process")
        data, progress = state
        seal = directory / _SEAL
        if seal.exists() and not is_intact(directory / data, seal.read_bytes()):
            raise ShardBroken("its files are not as they were when it was closed")
        seal.unlink(missing_ok=True)
        _remove_others(directory, data)
        return cls.load_beside(directory, progress, data=data, dimension=dimension)

    @classmethod
    def load_beside(cls, directory: Path, progress: Progress, *, data: str, dimension: int) -> Shard:
        """Opens a shard that was made beside the one of the directory, in the folder `data`.

        Raises:
            ShardBroken: Opening it failed.
        """
        marker = directory / _OPENING
        marker.write_text(data)
        with _broken():
            shard = engine.EdgeShard.load(str(directory / data))
        marker.unlink()
        _read_ahead(directory / data)
        return cls(directory, shard, progress, data=data, dimension=dimension)

    def add(self, passages: Sequence[PassageToIndex]) -> None:
        """Adds passages, or overwrites them."""
        languages = [passage.language or detected_language(passage.text) or DEFAULT_LANGUAGE for passage in passages]
        points = [_point(passage, language) for passage, language in zip(passages, languages, strict=True)]
        with _broken():
            self._shard.update(engine.UpdateOperation.upsert_points(points))
        self._languages.update(languages)
        self.unflushed += len(points)
        self.added_at = time.monotonic()

    def remove(self, rows: Sequence[int]) -> None:
        """Removes passages; those that are not there are no error."""
        with _broken():
            self._shard.update(engine.UpdateOperation.delete_points(list(rows)))
        self.unflushed += len(rows)

    def rows(self) -> set[int]:
        """The rows of all passages that the shard has."""
        rows: set[int] = set()
        offset: engine.PointId | None = None
        while True:
            page = engine.ScrollRequest(offset=offset, limit=_PAGE, with_payload=False, with_vector=False)
            with _broken():
                records, offset = self._shard.scroll(page)
            rows.update(record.id for record in records if isinstance(record.id, int))
            if offset is None:
                return rows

    def nearest(self, vector: Vector, documents: DocumentSet | None, *, depth: int) -> Scored:
        """The passages whose vectors are nearest, with their cosines."""
        return self._among(documents, engine.Query.Nearest(vector.tolist(), using=_DENSE), depth)

    def with_terms(self, terms: SparseTerms, documents: DocumentSet | None, *, depth: int) -> Scored:
        """The passages that have some of the terms, with their BM25 scores."""
        if not terms.ids:
            return []
        return self._among(documents, engine.Query.Nearest(_sparse(terms), using=_TERMS), depth)

    def terms_of_query(self, text: str) -> SparseTerms:
        """The terms of a query, in the languages of the passages."""
        return query_terms(text, languages=self._languages)

    def terms_of(self, rows: Sequence[int]) -> Mapping[int, SparseTerms]:
        """The terms of those of the passages that are here."""
        with _broken():
            records = self._shard.retrieve(list(rows), False, [_TERMS])
        found = {}
        for record in records:
            terms = record.vector.get(_TERMS) if isinstance(record.vector, dict) else None
            if isinstance(record.id, int) and isinstance(terms, engine.SparseVector):
                found[record.id] = SparseTerms(terms.indices, terms.values)
        return found

    def scores_of(self, rows: Collection[int], terms: SparseTerms) -> Scored:
        """The BM25 scores of those of the passages that are here and have some of the terms."""
        among = engine.Filter(must=[engine.HasIdCondition(set(rows))])
        return self._query(engine.Query.Nearest(_sparse(terms), using=_TERMS), len(rows), among, exact=True)

    def compress(self, passages: int, *, worthwhile: bool) -> None:
        """Makes small vectors of all `passages` that the shard has, and a graph of many, where worthwhile; takes long.

        The engine takes all processors and holds the interpreter's lock: not for a process with anything else to do.
        """
        if worthwhile:
            with _broken():
                self._shard.optimize()
        self.progress = replace(self.progress, indexed=passages, fresh=0)

    def flush(self) -> None:
        """Brings all that was applied to the disk, and then records how far that is, and that this is the shard."""
        self.flush_files()
        state = {"format": FORMAT, "dimension": self._dimension, "data": self._data, **asdict(self.progress)}
        _write_durably(self._directory / "state.json", sealed_json({**state, "boot": boot()}))
        self.unflushed = 0

    def flush_files(self) -> None:
        """Brings all that was applied to the disk, and no more than that."""
        with _broken():
            self._shard.flush()
        self.progress = replace(self.progress, languages=tuple(sorted(self._languages)))

    def take_place(self) -> None:
        """Makes a shard that was made beside another the one of its directory, at once; the other must be closed."""
        (self._directory / _SEAL).unlink(missing_ok=True)  # it is the other's
        self.flush()
        _remove_others(self._directory, self._data)

    def close(self, *, seal: bool) -> None:
        """Closes the shard without flushing; `seal` makes damage to its files be noticed at the next opening."""
        with _broken():
            self._shard.close()
        if seal and not self.unflushed:
            _write_durably(self._directory / _SEAL, make_seal(self._directory / self._data))

    def _among(self, documents: DocumentSet | None, query: engine.Query, depth: int) -> Scored:
        """The best `depth` of those documents, or of all."""
        if documents is None:
            return self._query(query, depth, None, exact=False)
        if documents.is_broad:
            deeper = round(_DEEPER * depth / documents.share)
            while deeper <= _DEEPEST:
                found = self._query(query, deeper, None, exact=False)
                kept = documents.keep(found)
                if len(kept) >= depth or len(found) < deeper:
                    return kept[:depth]
                deeper *= 4  # they are not where the query is
        return self._query(query, depth, documents.condition, exact=True)

    def _query(self, query: engine.Query, depth: int, condition: engine.Filter | None, *, exact: bool) -> Scored:
        request = engine.QueryRequest(
            limit=depth,
            query=query,
            filter=condition,
            with_payload=False,
            with_vector=False,
            params=_EXACT if exact else _APPROXIMATE,
        )
        with _broken():
            points = self._shard.query(request)
        return [(point.id, point.score) for point in points if isinstance(point.id, int)]


def read_progress(directory: Path, *, dimension: int) -> Progress | None:
    """How far the shard in a directory had come when it was last flushed; None if it cannot be used."""
    state = _read_state(directory, dimension=dimension)
    return None if state is None else state[1]


def _read_state(directory: Path, *, dimension: int) -> tuple[str, Progress] | None:
    """The folder of the shard, and its progress."""
    try:
        state = read_sealed_json((directory / "state.json").read_bytes())
        if state.pop("boot") != boot() and not (directory / _SEAL).exists():
            return None  # the machine has stopped over it: what was written last may be there in part
        if state.pop("format") != FORMAT or state.pop("dimension") != dimension:
            return None
        data = state.pop("data")
        if not (_is_data(data) and (directory / data).is_dir()):
            return None
        return data, to_progress(state)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def to_progress(plain: dict[str, Any]) -> Progress:
    """The progress whose `asdict` went through JSON."""
    return Progress(**{**plain, "languages": tuple(plain["languages"])})


def data_beside(directory: Path) -> str:
    """A name for a folder of a shard to be made beside those that are there."""
    numbers = [int(path.name.removeprefix("data-")) for path in directory.glob("data-*") if _is_data(path.name)]
    return f"data-{max(numbers, default=0) + 1}"


def discard_beside(directory: Path, data: str) -> None:
    """Removes what was made beside a shard and did not take its place."""
    if (directory / data).exists():
        shutil.rmtree(directory / data)


def discard(directory: Path) -> None:
    """Removes a shard; `state.json` first, so that what a crash leaves is no shard."""
    (directory / "state.json").unlink(missing_ok=True)
    if directory.exists():
        shutil.rmtree(directory)


def _remove_others(directory: Path, data: str) -> None:
    """Removes the folders of shards that this one replaced, or that never took its place."""
    for path in directory.glob("data*"):
        if path.name != data:
            shutil.rmtree(path)


def _is_data(name: str) -> bool:
    return name.startswith("data-") and name.removeprefix("data-").isdecimal()


def _read_ahead(folder: Path) -> None:
    """Lets the kernel begin to read the files that queries will want, all but the whole vectors."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "matrix.dat":
            file = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(file)


def _config(dimension: int, graph_from: int) -> engine.EdgeConfig:
    kilobytes = max(_LEAST_KILOBYTES, graph_from * dimension * 4 // 1024)
    cold = engine.Memory.Cold
    return engine.EdgeConfig(
        vectors={_DENSE: engine.EdgeVectorParams(size=dimension, distance=engine.Distance.Cosine, memory=cold)},
        sparse_vectors={_TERMS: engine.EdgeSparseVectorParams(modifier=engine.Modifier.Idf, memory=cold)},
        hnsw_config=engine.HnswIndexConfig(
            m=_EDGES, ef_construct=_CANDIDATES_WHEN_BUILDING, full_scan_threshold=kilobytes, memory=cold
        ),
        quantization_config=engine.ScalarQuantizationConfig(type=engine.ScalarType.Int8, quantile=0.99, memory=cold),
        optimizers=engine.EdgeOptimizersConfig(
            default_segment_number=1, max_segment_size=_NO_LIMIT, indexing_threshold=_LEAST_KILOBYTES
        ),
        payload_memory=cold,
        id_tracker_memory=cold,
        max_search_threads=1,
        wal_enabled=False,
    )


def _point(passage: PassageToIndex, language: str) -> engine.Point:
    terms = passage_terms(f"{passage.heading}\n{passage.text}", language=language)
    vectors: dict[str, list[float] | engine.SparseVector | list[list[float]]] = {_DENSE: passage.vector.tolist()}
    if terms.ids:
        vectors[_TERMS] = _sparse(terms)
    return engine.Point(passage.row, vectors, {_DOCUMENT: passage.document_row})


def _sparse(terms: SparseTerms) -> engine.SparseVector:
    return engine.SparseVector(indices=terms.ids, values=terms.weights)


def _write_durably(path: Path, content: bytes) -> None:
    """Replaces a file, so that a crash or a loss of power leaves the old content or the new."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
