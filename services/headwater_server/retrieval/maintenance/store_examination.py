"""Whether the store's database is as it was written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import numpy as np

from headwater_server.retrieval.maintenance.catalog_examination import database_damage
from headwater_server.retrieval.maintenance.damage import Damage
from headwater_server.retrieval.model import Passage
from headwater_server.retrieval.store.filter_sql import value_rows
from headwater_server.retrieval.store.truth.checksums import is_intact_document, is_intact_passage
from headwater_server.retrieval.store.truth.records import DOCUMENT_COLUMNS, load_vector, to_document
from headwater_server.retrieval.store.truth.schema import migrate
from headwater_server.retrieval.workers.importing import passage_id

PASSAGE_COLUMNS = "corpus_row, document_row, passage_id, ordinal, heading, location, text, vector, language"
"""What a passage's checksum is of, in its order."""

_LENGTH_TOLERANCE = 1e-3


def store_damage(store: sqlite3.Connection) -> Iterator[Damage]:
    """What is wrong within the store's database."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as example:
        migrate(example)
        yield from database_damage(store, "store", example)
    yield from _damaged_documents(store)
    yield from _damaged_passages(store)
    yield from _wrong_tenants(store)
    yield from _wrong_counts(store)


def _damaged_documents(store: sqlite3.Connection) -> Iterator[Damage]:
    sql = f"SELECT id, checksum, corpus_row, {DOCUMENT_COLUMNS} FROM documents ORDER BY id"  # noqa: S608 (our own names)
    for row, checksum, *columns in store.execute(sql):
        what = f"document {columns[1]}"
        if not is_intact_document(columns, checksum):
            yield Damage("store", what, "its row has changed")
            continue
        expected = {tuple(each) for each in value_rows(to_document(columns[1:]))}
        values = store.execute("SELECT key, kind, value, corpus_row FROM document_values WHERE document_row = ?", [row])
        if {tuple(each) for each in values} != {(*each, columns[0]) for each in expected}:
            yield Damage("store", what, "what filters find it by is not what its metadata say")


def _damaged_passages(store: sqlite3.Connection) -> Iterator[Damage]:
    dimensions = dict(store.execute("SELECT id, dimension FROM corpora"))
    owners = dict(store.execute("SELECT id, corpus_row FROM documents"))
    sql = f"SELECT checksum, {PASSAGE_COLUMNS} FROM passages ORDER BY id"  # noqa: S608 (our own names)
    for checksum, *columns in store.execute(sql):
        corpus, document, name, ordinal, _, _, text, vector, _ = columns
        what = f"passage {name}"
        if not is_intact_passage(columns, checksum):
            yield Damage("store", what, "its row has changed")
        elif owners.get(document) != corpus:
            yield Damage("store", what, "belongs to no document of its corpus")
        elif name != passage_id(Passage(ordinal, text, None)):
            yield Damage("store", what, "its id is not that of its text")
        elif not _is_unit_vector(vector, dimensions.get(corpus)):
            yield Damage("store", what, "its vector has another dimension than its corpus, or not length 1")


def _is_unit_vector(vector: bytes, dimension: int | None) -> bool:
    if dimension is None or len(vector) != 4 * dimension:
        return False
    return bool(abs(float(np.linalg.norm(load_vector(vector))) - 1.0) <= _LENGTH_TOLERANCE)


def _wrong_tenants(store: sqlite3.Connection) -> Iterator[Damage]:
    """Rows that name another tenant than their corpus; no checksum is of that."""
    for table in ("documents", "document_values", "passages"):
        sql = f"SELECT count(*) FROM {table} t JOIN corpora c ON c.id = t.corpus_row WHERE t.tenant IS NOT c.tenant"  # noqa: S608 (our own names)
        (count,) = store.execute(sql).fetchone()
        if count:
            yield Damage("store", f"table {table}", f"has {count} rows of another tenant than their corpus")


def _wrong_counts(store: sqlite3.Connection) -> Iterator[Damage]:
    counted = dict(store.execute("SELECT corpus_row, count(*) FROM passages GROUP BY corpus_row"))
    for row, name, passages in store.execute("SELECT id, corpus_id, passages FROM corpora"):
        if passages != counted.get(row, 0):
            yield Damage("store", f"corpus {name}", f"says {passages} passages, and has {counted.get(row, 0)}")
    given = dict(store.execute("SELECT name, seq FROM sqlite_sequence"))
    for table, column in (("corpora", "id"), ("documents", "id"), ("passages", "id"), ("corpora", "version")):
        sequence = "changes" if column == "version" else table
        (highest,) = store.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()  # noqa: S608 (our own names)
        if not isinstance(given.get(sequence, 0), int) or given.get(sequence, 0) < highest:
            yield Damage("store", f"table {sequence}", "would give numbers again that were given before")
