"""Repairing a data folder that nobody uses.

What is derived is made anew, and what can be read again from the documents' bytes is read again by the next server that
is started. Databases are replaced, never patched: the new one is made beside the old, of what is proved intact, and the
old one is set aside with everything else that is taken out of use, in `damaged-…/` within the folder.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from headwater_server import names
from headwater_server.errors import Reason
from headwater_server.retrieval.calls.naming import CORPUS_NAME
from headwater_server.retrieval.catalog.contents import content_path
from headwater_server.retrieval.catalog.database import Database
from headwater_server.retrieval.catalog.records import ContentKey, Document, DocumentKey, DocumentState
from headwater_server.retrieval.catalog.rows import document_of
from headwater_server.retrieval.jobs.failures import Failure
from headwater_server.retrieval.maintenance.catalog_rebuilding import intact_contents, rebuild_catalog
from headwater_server.retrieval.maintenance.damage import Damage
from headwater_server.retrieval.maintenance.layout import Layout, MaintenanceError
from headwater_server.retrieval.maintenance.salvage import salvaged
from headwater_server.retrieval.maintenance.snapshot import UNREADABLE, open_to_read
from headwater_server.retrieval.maintenance.store_rebuilding import CorpusToKeep, rebuild_store
from headwater_server.retrieval.store.protocol import CorpusKey, CorpusUnknown, DocumentRecord
from headwater_server.retrieval.store.truth.checksums import is_intact_document
from headwater_server.retrieval.store.truth.records import DOCUMENT_COLUMNS, to_document
from headwater_server.retrieval.store.truth.writer import TruthWriter

_DAMAGED = Failure(Reason.INTERNAL, "the document's stored content is damaged: import it again")
_SUFFIXES = ("", "-wal", "-shm", "-journal")


@dataclass(slots=True)
class RepairReport:
    """What a repair has done."""

    read_again: list[str] = field(default_factory=list)
    """Documents that the next server reads again from their bytes."""
    failed: list[str] = field(default_factory=list)
    """Documents whose bytes are damaged: they are FAILED until they are imported again."""
    restored: list[str] = field(default_factory=list)
    """What the catalog says again, from the store's copy of it."""
    lost: list[str] = field(default_factory=list)
    """What could not be kept."""
    lost_bytes: dict[str, Path] = field(default_factory=dict)
    """Of what is lost, where its bytes are set aside, if that is known."""
    set_aside: Path | None = None
    """Where what was taken out of use is."""


def repair(layout: Layout, damages: Iterable[Damage]) -> RepairReport:
    """Puts right what an examination found. The caller owns the data folder.

    Args:
        layout: The folder.
        damages: What `examine` found.

    Raises:
        MaintenanceError: The catalog cannot be read at all; nothing was changed.
    """
    found = list(damages)
    parts = {damage.part for damage in found}
    report = RepairReport()
    aside = layout.root / f"damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    if parts & {"catalog", "store"}:
        _bring_up_to_date(layout)
    if "catalog" in parts:
        _repair_catalog(layout, aside, report)
    if parts & {"catalog", "store"}:
        _repair_store(layout, aside, report)
    if "contents" in parts:
        _fail(layout, {damage.content for damage in found if damage.content is not None}, aside, report)
    if parts & {"catalog", "store", "index", "contents"} and layout.index.exists():
        shutil.rmtree(layout.index)
    if aside.exists():
        report.set_aside = aside
    os.sync()
    return report


def _bring_up_to_date(layout: Layout) -> None:
    """Writes what a crash has left in the databases' logs into the databases, as an opening does."""
    for path in (layout.catalog, layout.truth):
        try:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except UNREADABLE:  # then what is in the log is read with the rest, so far as it can be
            continue


def _repair_catalog(layout: Layout, aside: Path, report: RepairReport) -> None:
    new = layout.root / "catalog.new"
    _remove(new)
    stored, embedders = _of_store(layout)
    try:
        with closing(open_to_read(layout.catalog)) as old:
            old.execute("SELECT count(*) FROM documents").fetchone()
            tenants = {row["tenant"] for row in salvaged(old, "documents") if isinstance(row["tenant"], str)}
            contents = intact_contents(layout.contents, tenants | {tenant for tenant, _ in embedders})
            rebuilt = rebuild_catalog(old, new, stored=stored, embedders=embedders, contents=contents)
    except UNREADABLE as error:
        _remove(new)
        raise MaintenanceError(
            f"the catalog {layout.catalog} cannot be read ({error}): nothing says any more which documents there are;"
            f" restore a backup. Their bytes are in {layout.contents}, and were not touched"
        ) from error
    report.restored += rebuilt.restored
    report.lost += rebuilt.lost
    _replace(layout.catalog, new, aside)
    _keep_unreferenced(layout, aside)
    named = {what: aside / sha256 for what, sha256 in rebuilt.lost_contents.items()}
    report.lost_bytes |= {what: path for what, path in named.items() if path.exists()}


def _of_store(
    layout: Layout,
) -> tuple[dict[tuple[str, str, str], DocumentRecord], dict[tuple[str, str], tuple[str, int]]]:
    """What the store knows of documents, and of corpora, so far as it is intact."""
    records: dict[tuple[str, str, str], DocumentRecord] = {}
    corpora: dict[tuple[str, str], tuple[str, int]] = {}
    columns = ["corpus_row", *DOCUMENT_COLUMNS.split(", ")]
    with _readable(layout.truth) as store:
        if store is None:
            return records, corpora
        rows = {row["id"]: row for row in salvaged(store, "corpora")}
        corpora = {
            (row["tenant"], row["corpus_id"]): (row["embedder"], row["dimension"])
            for row in rows.values()
            if CORPUS_NAME.fullmatch(names.corpus_name(row["corpus_id"]))  # others are the store's own, such as shadows
        }
        for row in salvaged(store, "documents"):
            corpus = rows.get(row["corpus_row"])
            if corpus is not None and is_intact_document([row[name] for name in columns], row.get("checksum")):
                key = (corpus["tenant"], corpus["corpus_id"], row["document_id"])
                records[key] = to_document([row[name] for name in columns[1:]])
    return records, corpora


@contextmanager
def _readable(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A database to read, or None if it cannot be opened."""
    try:
        connection = open_to_read(path)
    except UNREADABLE:
        yield None
        return
    with closing(connection):
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except UNREADABLE:
            yield None
            return
        yield connection


def _repair_store(layout: Layout, aside: Path, report: RepairReport) -> None:
    """Makes the store anew of what is intact, and lets the rest be read again."""
    new = layout.store / "truth.new"
    _remove(new)
    layout.store.mkdir(exist_ok=True)
    database = Database(layout.catalog)
    try:
        catalog = database.writer
        documents = {document.key: document for document in _documents(catalog)}
        with _readable(layout.truth) as old:
            kept = rebuild_store(old, new, corpora=_corpora(catalog), documents=documents)
        again = [each for each in documents.values() if each.state is DocumentState.READY and each.key not in kept]
        for document in again:
            _set_pending(catalog, document.key)
        _give_up_reembeddings(catalog)
    finally:
        database.close()
    report.read_again += [names.document_name(each.key.corpus_id, each.key.document_id) for each in again]
    _replace(layout.truth, new, aside)


def _documents(catalog: sqlite3.Connection) -> Iterator[Document]:
    for row in catalog.execute("SELECT * FROM documents WHERE deleting = 0"):
        yield document_of(row)


def _corpora(catalog: sqlite3.Connection) -> list[CorpusToKeep]:
    rows = catalog.execute("SELECT * FROM corpora WHERE deleting = 0").fetchall()
    return [
        CorpusToKeep(
            CorpusKey(row["tenant"], row["corpus_id"]),
            row["embedder"],
            row["dimension"] if "dimension" in row.keys() else None,  # noqa: SIM118 (a row has no other way to say)
        )
        for row in rows
    ]


def _set_pending(catalog: sqlite3.Connection, key: DocumentKey) -> None:
    catalog.execute(
        "UPDATE documents SET state = ?, error = x'', passage_count = 0, crashes = 0, interruptions = 0, unstored = 0"
        " WHERE tenant = ? AND corpus_id = ? AND document_id = ?",
        [DocumentState.PENDING, key.tenant, key.corpus_id, key.document_id],
    )


def _give_up_reembeddings(catalog: sqlite3.Connection) -> None:
    """Their passages were in the old store only; they can be begun again."""
    tables = {name for (name,) in catalog.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in ("reembedded", "reembeddings"):
        if table in tables:
            catalog.execute(f"DELETE FROM {table}")  # noqa: S608 (our own names)


def _fail(layout: Layout, damaged: set[ContentKey], aside: Path, report: RepairReport) -> None:
    """Makes the documents FAILED that have these contents, and takes the contents out of use."""
    database = Database(layout.catalog)
    try:
        catalog = database.writer
        failing = [each for each in _documents(catalog) if each.content in damaged]
        for document in failing:
            key = document.key
            catalog.execute(
                "UPDATE documents SET state = ?, error = ?, passage_count = 0"
                " WHERE tenant = ? AND corpus_id = ? AND document_id = ?",
                [DocumentState.FAILED, _DAMAGED.status_of(document), key.tenant, key.corpus_id, key.document_id],
            )
            report.failed.append(names.document_name(key.corpus_id, key.document_id))
    finally:
        database.close()
    _delete_from_store(layout.truth, [document.key for document in failing])
    report.read_again = [name for name in report.read_again if name not in set(report.failed)]
    for content in damaged:
        path = content_path(layout.contents, content)
        if path.exists():
            _set_aside(path, aside)


def _delete_from_store(truth: Path, keys: Iterable[DocumentKey]) -> None:
    writer = TruthWriter(truth)
    try:
        for key in keys:
            with suppress(CorpusUnknown):
                writer.delete_document(key.corpus, key.document_id)
    finally:
        writer.close()


def _keep_unreferenced(layout: Layout, aside: Path) -> None:
    """Sets aside the bytes of documents that the new catalog does not have: the next opening would remove them."""
    with closing(open_to_read(layout.catalog)) as catalog:
        rows = catalog.execute("SELECT DISTINCT tenant, sha256 FROM documents")
        referenced = {content_path(layout.contents, ContentKey(*row)) for row in rows}
    for path in sorted(layout.contents.glob("*/*/*")):
        if path not in referenced:
            _set_aside(path, aside)


def _set_aside(path: Path, aside: Path) -> None:
    aside.mkdir(exist_ok=True, mode=0o700)
    path.rename(aside / path.name)


def _replace(target: Path, new: Path, aside: Path) -> None:
    """Sets a database aside, and puts the new one in its place; at every moment there is one or the other."""
    with closing(sqlite3.connect(new)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    aside.mkdir(exist_ok=True, mode=0o700)
    if target.exists():
        (aside / target.name).hardlink_to(target)
    for suffix in _SUFFIXES[1:]:
        file = target.with_name(target.name + suffix)
        if file.exists():
            file.rename(aside / file.name)
    new.replace(target)
    _remove(new)


def _remove(path: Path) -> None:
    for suffix in _SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
