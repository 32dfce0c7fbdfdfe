"""One corpus in qdrant-edge: a dense and a sparse vector a passage, under the passage's row in the truth.

The engine's own write-ahead log is off: what a crash takes from a shard is in the truth. A shard's directory holds the
engine's files in `data/`, and in `state.json` how far the shard had applied the truth when it was last flushed.
`seal.json` is there while the shard is closed, unless a process died over it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import qdrant_edge as engine

from headwater_server.retrieval.store.index.seal import is_intact, make_seal
from headwater_server.retrieval.store.protocol import Vector
from headwater_server.retrieval.store.terms import ANALYSIS_VERSION, SparseTerms, passage_terms, query_terms
from headwater_server.retrieval.store.truth.reader import PassageToIndex

FORMAT = f"2/{ANALYSIS_VERSION}/{importlib.metadata.version('qdrant-edge-py')}"
"""What made a shard: this layout, the analysis of texts, the engine. A shard of another make is made anew."""

_DENSE = "dense"
_TERMS = "terms"
_DOCUMENT = "document"
_OPENING = "opening"
_SEAL = "seal.json"
_PAGE = 1_000

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


@dataclass(frozen=True, slots=True)
class DocumentSet:
    """Documents by their rows in the truth: those in `rows`, or all but those."""

    rows: frozenset[int]
    inverted: bool = False


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

    def __init__(self, directory: Path, shard: engine.EdgeShard, progress: Progress, dimension: int) -> None:
        self._directory = directory
        self._shard = shard
        self._dimension = dimension
        self.progress = progress
        self.unflushed = 0
        """How many passages were added or removed since the last flush."""
        self.verified = False
        """Whether it has been compared with the truth since it was opened."""

    @classmethod
    def create(cls, directory: Path, *, dimension: int, version: int) -> Shard:
        """Makes an empty shard in the place of whatever is there.

        Args:
            directory: Where.
            dimension: Of the dense vectors.
            version: Of the truth now: what was removed earlier was never added.
        """
        discard(directory)
        (directory / "data").mkdir(parents=True)
        config = engine.EdgeConfig(
            vectors={_DENSE: engine.EdgeVectorParams(size=dimension, distance=engine.Distance.Cosine)},
            sparse_vectors={_TERMS: engine.EdgeSparseVectorParams(modifier=engine.Modifier.Idf)},
            max_search_threads=1,
            wal_enabled=False,
        )
        with _broken():
            shard = engine.EdgeShard.create(str(directory / "data"), config)
            index = engine.UpdateOperation.create_field_index(_DOCUMENT, engine.PayloadSchemaType.Integer)
            shard.update(index)
        return cls(directory, shard, Progress(passage=0, removed=version, applied=0), dimension)

    @classmethod
    def load(cls, directory: Path, *, dimension: int) -> Shard:
        """Opens a shard.

        Raises:
            ShardBroken: There is none, it is of another make or damaged, or opening it failed, now or the last time.
        """
        marker = directory / _OPENING
        progress = read_progress(directory, dimension=dimension)
        if progress is None or marker.exists():
            raise ShardBroken("not flushed, of another make, or opening it ended a process")
        seal = directory / _SEAL
        if seal.exists() and not is_intact(directory / "data", seal.read_bytes()):
            raise ShardBroken("its files are not as they were when it was closed")
        marker.touch()
        seal.unlink(missing_ok=True)
        with _broken():
            shard = engine.EdgeShard.load(str(directory / "data"))
        marker.unlink()
        return cls(directory, shard, progress, dimension)

    def add(self, passages: Sequence[PassageToIndex]) -> None:
        """Adds passages, or overwrites them."""
        points = [_point(passage) for passage in passages]
        with _broken():
            self._shard.update(engine.UpdateOperation.upsert_points(points))
        self.unflushed += len(points)

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
        query = engine.Query.Nearest(vector.tolist(), using=_DENSE)
        return self._query(query, documents, depth)

    def with_terms(self, text: str, documents: DocumentSet | None, *, depth: int) -> Scored:
        """The passages that share terms with the text, with their BM25 scores."""
        terms = query_terms(text)
        if not terms.ids:
            return []
        return self._query(engine.Query.Nearest(_sparse(terms), using=_TERMS), documents, depth)

    def flush(self) -> None:
        """Brings all that was applied to the disk, and then records how far that is."""
        with _broken():
            self._shard.flush()
        state = {"format": FORMAT, "dimension": self._dimension, **asdict(self.progress)}
        _write_durably(self._directory / "state.json", json.dumps(state).encode())
        self.unflushed = 0

    def close(self, *, seal: bool) -> None:
        """Closes the shard without flushing; `seal` makes damage to its files be noticed at the next opening."""
        with _broken():
            self._shard.close()
        if seal and not self.unflushed:
            _write_durably(self._directory / _SEAL, make_seal(self._directory / "data"))

    def _query(self, query: engine.Query, documents: DocumentSet | None, depth: int) -> Scored:
        request = engine.QueryRequest(
            limit=depth, query=query, filter=_condition(documents), with_payload=False, with_vector=False
        )
        with _broken():
            points = self._shard.query(request)
        return [(point.id, point.score) for point in points if isinstance(point.id, int)]


def read_progress(directory: Path, *, dimension: int) -> Progress | None:
    """How far the shard in a directory had come when it was last flushed; None if it cannot be used."""
    try:
        state = json.loads((directory / "state.json").read_bytes())
        if state.pop("format") != FORMAT or state.pop("dimension") != dimension:
            return None
        return Progress(**state)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def discard(directory: Path) -> None:
    """Removes a shard; `state.json` first, so that what a crash leaves is no shard."""
    (directory / "state.json").unlink(missing_ok=True)
    if directory.exists():
        shutil.rmtree(directory)


def _point(passage: PassageToIndex) -> engine.Point:
    terms = passage_terms(f"{passage.heading}\n{passage.text}")
    vectors: dict[str, list[float] | engine.SparseVector | list[list[float]]] = {_DENSE: passage.vector.tolist()}
    if terms.ids:
        vectors[_TERMS] = _sparse(terms)
    return engine.Point(passage.row, vectors, {_DOCUMENT: passage.document_row})


def _sparse(terms: SparseTerms) -> engine.SparseVector:
    return engine.SparseVector(indices=terms.ids, values=terms.weights)


def _condition(documents: DocumentSet | None) -> engine.Filter | None:
    if documents is None:
        return None
    among = engine.FieldCondition(_DOCUMENT, match=engine.MatchAny(list(documents.rows)))
    return engine.Filter(must_not=[among]) if documents.inverted else engine.Filter(must=[among])


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
