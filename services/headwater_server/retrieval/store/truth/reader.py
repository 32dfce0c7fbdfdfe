"""Reading the truth. Every function reads inside a transaction that its caller has begun with `reading`."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from headwater.v1 import filter_pb2
from headwater_server.retrieval.model import Location
from headwater_server.retrieval.store.filter_sql import MAX_COMPARISONS, compile_filter, count_comparisons
from headwater_server.retrieval.store.filters import matches
from headwater_server.retrieval.store.protocol import CorpusKey, DocumentRecord, Vector
from headwater_server.retrieval.store.truth.checksums import is_intact_document, is_intact_passage
from headwater_server.retrieval.store.truth.records import DOCUMENT_COLUMNS, load_location, load_vector, to_document

log = logging.getLogger(__name__)

_MOST_VARIABLES = 10_000


@dataclass(frozen=True, slots=True)
class CorpusState:
    """A corpus as it stands."""

    row: int
    dimension: int
    version: int
    """Of the last write to it."""
    passages: int


class StoredPassage(NamedTuple):
    """A passage with its document, as they stand."""

    row: int
    corpus_row: int
    document: DocumentRecord
    passage_id: str
    ordinal: int
    heading: str
    location: Location | None
    text: str
    vector: bytes
    """As `load_vector` takes it."""


@dataclass(frozen=True, slots=True)
class PassageToIndex:
    """What the index needs of a passage."""

    row: int
    document_row: int
    heading: str
    text: str
    vector: Vector
    language: str = ""
    """Of the text; empty if it could not be told."""


def latest_version(connection: sqlite3.Connection) -> int:
    """The version of the last write that the connection sees; 0 before the first."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
    return 0 if row is None else int(row[0])


def data_version(connection: sqlite3.Connection) -> int:
    """Another number than before if another connection has written since; costs much less than to look."""
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


_STATE_COLUMNS = "id, dimension, version, passages"


def find_corpus(connection: sqlite3.Connection, corpus: CorpusKey) -> CorpusState | None:
    """A corpus, or None if there is none of that name."""
    row = connection.execute(
        f"SELECT {_STATE_COLUMNS} FROM corpora WHERE tenant = ? AND corpus_id = ?",  # noqa: S608 (our own names)
        (corpus.tenant, corpus.corpus_id),
    ).fetchone()
    return None if row is None else CorpusState(*row)


def get_corpus(connection: sqlite3.Connection, corpus_row: int) -> CorpusState | None:
    """A corpus by its row, or None if it has been deleted."""
    row = connection.execute(
        f"SELECT {_STATE_COLUMNS} FROM corpora WHERE id = ?",  # noqa: S608 (our own names)
        (corpus_row,),
    ).fetchone()
    return None if row is None else CorpusState(*row)


def corpora_changed_since(connection: sqlite3.Connection, version: int) -> list[CorpusState]:
    """The corpora written to after a version."""
    rows = connection.execute(
        f"SELECT {_STATE_COLUMNS} FROM corpora WHERE version > ?",  # noqa: S608 (our own names)
        (version,),
    )
    return [CorpusState(*row) for row in rows]


def corpus_rows(connection: sqlite3.Connection) -> set[int]:
    """The rows of all corpora."""
    return {row for (row,) in connection.execute("SELECT id FROM corpora")}


def passages_after(connection: sqlite3.Connection, corpus_row: int, after: int, *, limit: int) -> list[PassageToIndex]:
    """The next passages of a corpus, in the order of their ids."""
    rows = connection.execute(
        "SELECT id, document_row, heading, text, vector, language FROM passages WHERE corpus_row = ? AND id > ?"
        " ORDER BY id LIMIT ?",
        (corpus_row, after, limit),
    )
    return [
        PassageToIndex(row, document_row, heading, text, load_vector(vector), language)
        for row, document_row, heading, text, vector, language in rows
    ]


def count_passages_after(connection: sqlite3.Connection, corpus_row: int, after: int, *, most: int) -> int:
    """How many passages of a corpus come after one, counted up to `most`."""
    count: int = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM passages WHERE corpus_row = ? AND id > ? LIMIT ?)",
        (corpus_row, after, most),
    ).fetchone()[0]
    return count


def last_passage(connection: sqlite3.Connection, corpus_row: int) -> int:
    """The newest passage of a corpus; 0 if it has none."""
    row = connection.execute("SELECT max(id) FROM passages WHERE corpus_row = ?", (corpus_row,)).fetchone()
    return row[0] or 0


def passage_rows(connection: sqlite3.Connection, corpus_row: int) -> set[int]:
    """The rows of all passages of a corpus."""
    return {row for (row,) in connection.execute("SELECT id FROM passages WHERE corpus_row = ?", (corpus_row,))}


def removed_since(connection: sqlite3.Connection, corpus_row: int, version: int) -> list[tuple[int, int]]:
    """The ranges of ids, both inclusive, of the passages that ceased to be after a version."""
    rows = connection.execute(
        "SELECT removed_first, removed_last FROM changes"
        " WHERE corpus_row = ? AND version > ? AND removed_first IS NOT NULL",
        (corpus_row, version),
    )
    return rows.fetchall()


def matching_documents(connection: sqlite3.Connection, corpus_row: int, condition: filter_pb2.Filter) -> set[int]:
    """The rows of the documents of a corpus that fulfil a filter."""
    if count_comparisons(condition) > MAX_COMPARISONS:
        rows = connection.execute(
            f"SELECT id, {DOCUMENT_COLUMNS} FROM documents WHERE corpus_row = ?",  # noqa: S608 (our own names)
            (corpus_row,),
        )
        return {row[0] for row in rows if matches(condition, to_document(row[1:]))}
    sql, values = compile_filter(condition, corpus_row)
    rows = connection.execute(
        f"SELECT id FROM documents WHERE corpus_row = ? AND {sql}",  # noqa: S608 (compiled; its values are bound)
        (corpus_row, *values),
    )
    return {row[0] for row in rows}


def count_documents(connection: sqlite3.Connection, corpus_row: int) -> int:
    """How many documents a corpus has."""
    count: int = connection.execute("SELECT count(*) FROM documents WHERE corpus_row = ?", (corpus_row,)).fetchone()[0]
    return count


def documents_of(connection: sqlite3.Connection, passages: Sequence[int]) -> dict[int, int]:
    """The documents' rows of those of the passages that still are."""
    found: dict[int, int] = {}
    for part in _parts(passages):
        marks = ",".join("?" * len(part))
        found.update(connection.execute(f"SELECT id, document_row FROM passages WHERE id IN ({marks})", part))  # noqa: S608 (marks only)
    return found


def load_vectors(connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, Vector]:
    """The vectors of those of the passages that still are."""
    found: dict[int, Vector] = {}
    for part in _parts(rows):
        marks = ",".join("?" * len(part))
        sql = f"SELECT id, vector FROM passages WHERE id IN ({marks})"  # noqa: S608 (marks only)
        found.update((row, load_vector(vector)) for row, vector in connection.execute(sql, part))
    return found


def load_passages(connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, StoredPassage]:
    """Those of the passages that still are, and are as they were written: a damaged one is logged and left out."""
    found = {}
    for row, checksum, document_sum, *columns in _passage_rows(connection, rows):
        corpus_row, _, passage_id, ordinal, heading, location, text, vector, _ = columns[:9]
        document = _intact_document((corpus_row, *columns[9:]), document_sum)
        if document is None or not is_intact_passage(columns[:9], checksum):
            log.error(
                "passage %s of document %s is damaged on the disk and left out: see `headwater doctor --deep`",
                _readable(passage_id),
                _readable(columns[9]),
            )
            continue
        place = load_location(location)
        found[row] = StoredPassage(
            row, corpus_row, document, passage_id.decode(), ordinal, heading.decode(), place, text.decode(), vector
        )
    return found


def _passage_rows(connection: sqlite3.Connection, rows: Sequence[int]) -> list[tuple[Any, ...]]:
    """The passages with their documents; texts as bytes, which is what the checksums are of."""
    found: list[tuple[Any, ...]] = []
    factory, connection.text_factory = connection.text_factory, bytes
    try:
        for part in _parts(rows):
            marks = ",".join("?" * len(part))
            sql = (
                "SELECT p.id, p.checksum, d.checksum, p.corpus_row, p.document_row, p.passage_id, p.ordinal,"  # noqa: S608 (marks and our own names)
                f" p.heading, p.location, p.text, p.vector, p.language, {DOCUMENT_COLUMNS}"
                f" FROM passages p JOIN documents d ON d.id = p.document_row WHERE p.id IN ({marks})"
            )
            found += connection.execute(sql, part).fetchall()
    finally:
        connection.text_factory = factory
    return found


@lru_cache(maxsize=1_024)
def _intact_document(columns: tuple[Any, ...], checksum: object) -> DocumentRecord | None:
    """The document of a row; None if the row is damaged. Kept, because one document's passages are found together."""
    try:
        corpus_row, *texts = columns
        decoded = [text.decode() for text in texts]
    except (AttributeError, UnicodeDecodeError):
        return None
    return to_document(decoded) if is_intact_document((corpus_row, *decoded), checksum) else None


def _readable(name: object) -> object:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _parts(rows: Sequence[int]) -> Iterable[Sequence[int]]:
    return (rows[start : start + _MOST_VARIABLES] for start in range(0, len(rows), _MOST_VARIABLES))
