"""The catalog's database made anew of what is intact in the old one, and of what the store knows too."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from headwater.v1 import document_pb2
from headwater_server import names
from headwater_server.retrieval.catalog.checksums import columns_of, ensure_sealed, register, row_checksum
from headwater_server.retrieval.catalog.records import DocumentState
from headwater_server.retrieval.catalog.schema import ensure_settings, migrate
from headwater_server.retrieval.embedding.registry import name_of
from headwater_server.retrieval.maintenance.salvage import Row, salvaged
from headwater_server.retrieval.store.metadata_values import to_proto
from headwater_server.retrieval.store.protocol import DocumentRecord

_NAME_DISTANCE = 2
"""In so many characters a name may differ from that in a damaged row, and still be meant by it."""

_Key = tuple[str, str, str]


@dataclass(slots=True)
class RebuiltCatalog:
    """What became of the catalog."""

    restored: list[str] = field(default_factory=list)
    """Documents whose row was damaged, with the source of what it says now."""
    lost: list[str] = field(default_factory=list)
    """What could not be kept, each once."""
    lost_contents: dict[str, str] = field(default_factory=dict)
    """Of what is lost, the name of the file that has its bytes, where that is known."""


def rebuild_catalog(
    old: sqlite3.Connection,
    target: Path,
    *,
    stored: Mapping[tuple[str, str, str], DocumentRecord],
    embedders: Mapping[tuple[str, str], tuple[str, int]],
    contents: Mapping[str, set[str]],
) -> RebuiltCatalog:
    """Makes a catalog of the rows that can be read.

    A row whose checksum fits once it has the name of a document that only the store knows is that document's, and is
    kept as it is. Another row that is not as it was written is put right from the store's record of the same document,
    and its content is the file of that name, or the one file of nearly that name that no other document has; it is read
    anew. The store has no checksums of contents: of a document whose row is gone nobody knows which file was its own.

    Args:
        old: The damaged database, read-only.
        target: The new database.
        stored: The store's intact records, by tenant, corpus and document.
        embedders: What the store says of each corpus: the embedder, and the dimension of its vectors.
        contents: The intact files, by tenant: their SHA-256.
    """
    report = RebuiltCatalog()
    with closing(sqlite3.connect(target, isolation_level=None)) as new:
        new.execute("PRAGMA journal_mode = WAL")
        new.execute("PRAGMA synchronous = FULL")
        register(new)
        migrate(new)
        ensure_settings(new)
        ensure_sealed(new)
        new.execute("BEGIN IMMEDIATE")
        rebuilding = _Rebuilding(old, new, report)
        rebuilding.copy_settings()
        rebuilding.add_corpora(embedders)
        rebuilding.add_documents(stored, contents)
        new.execute("COMMIT")
    return report


class _Rebuilding:
    """The old catalog and the new one."""

    def __init__(self, old: sqlite3.Connection, new: sqlite3.Connection, report: RebuiltCatalog) -> None:
        self._old = old
        self._new = new
        self._report = report
        self._revision = 0

    def copy_settings(self) -> None:
        """Takes the secret that signs page tokens, if it can be read; otherwise old tokens are refused."""
        for row in salvaged(self._old, "settings"):
            if row["key"] == "token_key" and isinstance(row["value"], bytes) and len(row["value"]) == 32:
                self._new.execute("UPDATE settings SET value = ? WHERE key = 'token_key'", [row["value"]])

    def add_corpora(self, embedders: Mapping[tuple[str, str], tuple[str, int]]) -> None:
        """Adds the corpora, and those that only the store, or a document, knows of."""
        there: set[tuple[str, str]] = set()
        rows = salvaged(self._old, "corpora")
        named = {row["embedder"]: row["embedder_name"] for row in rows if self._is_intact("corpora", row)}
        for row in rows:
            key = (row["tenant"], row["corpus_id"])
            if not self._is_intact("corpora", row):
                if key not in embedders:
                    continue
                row["embedder"], row["dimension"] = embedders[key]
                row["embedder_name"] = named.get(row["embedder"]) or name_of(row["embedder"], said=row["embedder_name"])
                row["labels"] = row["labels"] if _is_labels(row["labels"]) else "{}"
                self._report.restored.append(f"{names.corpus_name(key[1])}: look at its display name and labels")
            self._insert("corpora", row)
            there.add(key)
        for key, (embedder, dimension) in embedders.items():
            if key not in there and "!" not in key[1]:  # those are of corpora that were being embedded anew
                self._report.restored.append(f"{names.corpus_name(key[1])}: without its display name and labels")
                row = {"tenant": key[0], "corpus_id": key[1], "display_name": "", "labels": "{}"}
                times = {"create_time": 0, "update_time": 0}
                made_by = {"embedder": embedder, "dimension": dimension}
                self._insert(
                    "corpora", {**row, **made_by, "embedder_name": named.get(embedder) or name_of(embedder), **times}
                )

    def add_documents(self, stored: Mapping[_Key, DocumentRecord], contents: Mapping[str, set[str]]) -> None:
        """Adds the documents, each with its content."""
        corpora = {tuple(row) for row in self._new.execute("SELECT tenant, corpus_id FROM corpora")}
        intact, damaged = self._rightly_named(stored)
        used = {(row["tenant"], row["sha256"]) for row in intact}
        there = {_key(row) for row in intact}
        self._revision = max((row["revision"] for row in intact), default=0)
        losses: list[Row] = []
        for row in damaged:
            key = _key(row)
            if key in there:
                continue
            restored = _restored(row, stored.get(key), contents, used)
            if restored is None or key[:2] not in corpora:
                losses.append(row)
                continue
            self._report.restored.append(names.document_name(key[1], key[2]))
            there.add(key)
            self._revision += 1
            intact.append({**restored, "revision": self._revision})
        for row in intact:
            if _key(row)[:2] in corpora:
                self._insert("documents", row)
        self._name_losses(losses, {key for key in stored.keys() - there if key[:2] in corpora}, contents)
        self._new.execute("UPDATE settings SET value = max(value, ?) WHERE key = 'revision'", [self._revision])

    def _rightly_named(self, stored: Mapping[_Key, DocumentRecord]) -> tuple[list[Row], list[Row]]:
        """The rows that are as they were written, those with nothing but their name damaged too; and the others."""
        intact: list[Row] = []
        wrong: list[Row] = []
        for row in salvaged(self._old, "documents"):
            (intact if self._is_intact("documents", row) else wrong).append(row)
        strays = set(stored) - {_key(row) for row in intact}
        damaged = []
        for row in wrong:
            others = () if _key(row) in strays else sorted(strays)  # what the store knows by its name has its own
            named = ({**row, **dict(zip(_KEY, stray, strict=True))} for stray in others)
            meant = next((each for each in named if self._is_intact("documents", each)), None)
            if meant is None:
                damaged.append(row)
                continue
            strays.discard(_key(meant))
            intact.append(meant)
            self._report.restored.append(names.document_name(meant["corpus_id"], meant["document_id"]))
        return intact, damaged

    def _name_losses(self, rows: Iterable[Row], strays: set[_Key], contents: Mapping[str, set[str]]) -> None:
        """Says what is lost: damaged rows, and documents of the store that have none. A pair that may be one is."""
        for row in rows:
            near = [stray for stray in strays if stray[:2] == _key(row)[:2] and _is_near(stray[2], row["document_id"])]
            if len(near) == 1:
                strays.discard(near[0])
                what = names.document_name(near[0][1], near[0][2])
            else:
                what = f"a document whose row is damaged; its id may be {row['document_id']!r}"
            self._report.lost.append(what)
            if row["sha256"] in contents.get(row["tenant"], ()):
                self._report.lost_contents[what] = row["sha256"]
        self._report.lost += [names.document_name(corpus, document) for _, corpus, document in sorted(strays)]

    def _is_intact(self, table: str, row: Row) -> bool:
        sealed = columns_of(self._old, table).sealed
        return row_checksum(*(row[name] for name in sealed)) == row.get("checksum")

    def _insert(self, table: str, row: Row) -> None:
        known = columns_of(self._new, table).sealed
        columns = [name for name in row if name in known]
        marks = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 (names of the table's own)
        self._new.execute(sql, [row[name] for name in columns])


_KEY = ("tenant", "corpus_id", "document_id")


def _key(row: Row) -> _Key:
    return row["tenant"], row["corpus_id"], row["document_id"]


def _restored(
    row: Row, record: DocumentRecord | None, contents: Mapping[str, set[str]], used: set[tuple[str, str]]
) -> Row | None:
    """A damaged row with what others know of its document, to be read anew; None if its content is not known."""
    sha256 = _content(row, contents, used)
    if record is None or sha256 is None:
        return None
    metadata = document_pb2.Document(metadata={key: to_proto(value) for key, value in record.metadata.items()})
    return {
        **{name: row[name] for name in ("tenant", "corpus_id", "document_id", "size_bytes")},
        "title": record.title,
        "uri": record.uri,
        "media_type": record.media_type,
        "metadata": metadata.SerializeToString(deterministic=True),
        "sha256": sha256,
        "state": int(DocumentState.PENDING),
        "create_time": row["create_time"] if isinstance(row["create_time"], int) else 0,
        "update_time": row["update_time"] if isinstance(row["update_time"], int) else 0,
    }


def _content(row: Row, contents: Mapping[str, set[str]], used: set[tuple[str, str]]) -> str | None:
    there = contents.get(row["tenant"], set())
    named = row["sha256"]
    if named in there:
        return str(named)
    free = [sha256 for sha256 in there if (row["tenant"], sha256) not in used]
    near = [sha256 for sha256 in free if _is_near(sha256, named)]
    return near[0] if len(near) == 1 else None


def _is_near(name: str, damaged: object) -> bool:
    if not isinstance(damaged, str) or len(damaged) != len(name):
        return False
    return sum(a != b for a, b in zip(name, damaged, strict=True)) <= _NAME_DISTANCE


def _is_labels(text: object) -> bool:
    try:
        labels = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return False
    return isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values())


def intact_contents(contents: Path, tenants: set[str]) -> dict[str, set[str]]:
    """The files whose bytes are those that their names say, by tenant."""
    found: dict[str, set[str]] = {}
    folders = {hashlib.sha256(tenant.encode()).hexdigest()[:32]: tenant for tenant in tenants}
    for path in _files(contents):
        tenant = folders.get(path.parent.parent.name)
        with path.open("rb") as file:
            if tenant is not None and hashlib.file_digest(file, "sha256").hexdigest() == path.name:
                found.setdefault(tenant, set()).add(path.name)
    return found


def _files(contents: Path) -> Iterator[Path]:
    yield from (path for path in sorted(contents.glob("*/*/*")) if path.is_file())
