"""Whether catalog and store say the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from headwater_server import names
from headwater_server.retrieval.catalog.records import Document, DocumentState
from headwater_server.retrieval.maintenance.catalog_examination import read_documents
from headwater_server.retrieval.maintenance.damage import Damage
from headwater_server.retrieval.presentation import record_of
from headwater_server.retrieval.store.protocol import DocumentRecord
from headwater_server.retrieval.store.truth.records import DOCUMENT_COLUMNS, to_document


def disagreements(catalog: sqlite3.Connection, store: sqlite3.Connection) -> Iterator[Damage]:
    """What the one database says and the other does not."""
    corpora = {
        (tenant, corpus): row for row, tenant, corpus in store.execute("SELECT id, tenant, corpus_id FROM corpora")
    }
    yield from _corpora(catalog, store)
    seen: set[int] = set()
    changing = _being_taken_over(catalog)
    for document, unstored, intact in read_documents(catalog):
        key = document.key
        stored = stored_document(store, corpora.get((key.tenant, key.corpus_id)), key.document_id)
        if stored is not None:
            seen.add(stored[0])
        if (
            intact
            and (key.tenant, key.corpus_id) not in changing
            and (wrong := _disagreement(document, stored, store, unstored=unstored))
        ):
            yield Damage("store", names.document_name(key.corpus_id, key.document_id), wrong)
    yield from _strangers(catalog, store, seen, corpora)


def stored_document(
    store: sqlite3.Connection, corpus_row: int | None, document_id: str
) -> tuple[int, DocumentRecord | None] | None:
    """A document's row in the store with its record, which is None where it cannot be read."""
    row = store.execute(
        f"SELECT id, {DOCUMENT_COLUMNS} FROM documents WHERE corpus_row = ? AND document_id = ?",  # noqa: S608 (our own names)
        [corpus_row, document_id],
    ).fetchone()
    if row is None:
        return None
    try:
        return row[0], to_document(row[1:])
    except (ValueError, TypeError, KeyError):
        return row[0], None


def _being_taken_over(catalog: sqlite3.Connection) -> set[tuple[str, str]]:
    """Corpora that are between their old passages and those made anew: an opening puts them in order."""
    rows = catalog.execute("SELECT tenant, corpus_id FROM reembeddings WHERE state = 2")
    return {(tenant, corpus) for tenant, corpus in rows}


def _corpora(catalog: sqlite3.Connection, store: sqlite3.Connection) -> Iterator[Damage]:
    rows = store.execute("SELECT tenant, corpus_id, embedder FROM corpora")
    stored = {(tenant, corpus): embedder for tenant, corpus, embedder in rows}
    for tenant, corpus, embedder in catalog.execute(
        "SELECT tenant, corpus_id, embedder FROM corpora WHERE deleting = 0"
    ):
        if (tenant, corpus) not in stored:
            yield Damage("store", names.corpus_name(corpus), "is not in the store")
        elif stored[tenant, corpus] != embedder:
            yield Damage("store", names.corpus_name(corpus), f"has vectors of {stored[tenant, corpus]}, not {embedder}")


def _disagreement(
    document: Document, stored: tuple[int, DocumentRecord | None] | None, store: sqlite3.Connection, *, unstored: bool
) -> str:
    """What the store has otherwise than the catalog; empty if nothing."""
    if document.state is DocumentState.FAILED:
        return "is FAILED, and has passages all the same" if stored is not None else ""
    if document.state is not DocumentState.READY:
        return ""
    if stored is None:
        return "is READY, and not in the store"
    (count,) = store.execute("SELECT count(*) FROM passages WHERE document_row = ?", [stored[0]]).fetchone()
    if count != document.passage_count:
        return f"is READY with {document.passage_count} passages, and the store has {count}"
    if not unstored and stored[1] != record_of(document):
        return "has another title, uri, media type or other metadata in the store"
    return ""


def _strangers(
    catalog: sqlite3.Connection, store: sqlite3.Connection, seen: set[int], corpora: dict[tuple[str, str], int]
) -> Iterator[Damage]:
    """Documents of the store that the catalog does not have, in corpora that it has."""
    known = {
        corpora.get((tenant, corpus))
        for tenant, corpus in catalog.execute("SELECT tenant, corpus_id FROM corpora WHERE deleting = 0")
        if (tenant, corpus) not in _being_taken_over(catalog)
    }
    rows = catalog.execute("SELECT tenant, corpus_id, document_id FROM documents")
    leaving = {(corpora.get((tenant, corpus)), document) for tenant, corpus, document in rows}
    for row, corpus_row, document_id in store.execute("SELECT id, corpus_row, document_id FROM documents"):
        if row not in seen and corpus_row in known and (corpus_row, document_id) not in leaving:
            yield Damage("store", f"document {document_id}", "has passages, and the catalog does not know it")
