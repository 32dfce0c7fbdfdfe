"""An examination of a data folder: everything is read, and nothing is changed."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from headwater_server import names
from headwater_server.retrieval.catalog.contents import content_path
from headwater_server.retrieval.catalog.records import ContentKey, DocumentState
from headwater_server.retrieval.maintenance.agreement import disagreements
from headwater_server.retrieval.maintenance.catalog_examination import catalog_damage
from headwater_server.retrieval.maintenance.damage import Damage, Part
from headwater_server.retrieval.maintenance.layout import Layout, MaintenanceError
from headwater_server.retrieval.maintenance.snapshot import UNREADABLE, open_to_read, snapshot
from headwater_server.retrieval.maintenance.store_examination import store_damage
from headwater_server.retrieval.maintenance.versions import check_versions
from headwater_server.retrieval.store.index.seal import is_intact, read_sealed_json


def examine(layout: Layout, *, in_use: bool) -> Iterator[Damage]:
    """Compares everything with what was written: databases, documents' bytes, vectors and index.

    Args:
        layout: The folder.
        in_use: Whether a server may be at work on it; then the index, which changes all the time, is left out.

    Raises:
        MaintenanceError: There is no such folder, or it is of another version.
    """
    if not layout.catalog.exists():
        raise MaintenanceError(f"{layout.catalog} does not exist: is {layout.root.parent} a data folder?")
    check_versions(layout, exactly=True)
    unreadable = list(_unreadable(layout))
    yield from unreadable
    broken = {damage.part for damage in unreadable}
    if not broken:
        yield from _within_snapshot(layout)
    if "catalog" not in broken:
        yield from contents_damage(layout, in_use=in_use)
    if not in_use:
        yield from _index_damage(layout)


def _within_snapshot(layout: Layout) -> Iterator[Damage]:
    with snapshot(layout) as moment:
        whole = True
        for damage in _guarded("catalog", catalog_damage(moment.catalog)):
            whole = whole and not _is_of_a_database(damage)
            yield damage
        for damage in _guarded("store", store_damage(moment.store)):
            whole = whole and not _is_of_a_database(damage)
            yield damage
        if whole:  # of damaged pages anything may be read, or nothing
            yield from _guarded("store", disagreements(moment.catalog, moment.store))


def _is_of_a_database(damage: Damage) -> bool:
    return damage.what == "its database"


def _guarded(part: Part, found: Iterator[Damage]) -> Iterator[Damage]:
    """What is found, and where it ends because the database cannot be read on, that."""
    try:
        yield from found
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        yield Damage(part, "its database", f"cannot be read to its end: {error}")


def _unreadable(layout: Layout) -> Iterator[Damage]:
    databases: tuple[tuple[Part, Path], ...] = (("catalog", layout.catalog), ("store", layout.truth))
    for part, path in databases:
        if not path.exists():
            yield Damage(
                "catalog" if part == "catalog" else "store", "its database", f"cannot be read: {path} is missing"
            )
            continue
        try:
            with closing(open_to_read(path)) as connection:
                connection.execute("SELECT count(*) FROM corpora").fetchone()
                connection.execute("SELECT count(*) FROM documents").fetchone()
        except UNREADABLE as error:
            yield Damage(part, "its database", f"cannot be read: {error}")


def contents_damage(layout: Layout, *, in_use: bool) -> Iterator[Damage]:
    """Documents whose bytes are not those that were uploaded."""
    try:
        referenced = _referenced(layout)
    except UNREADABLE:  # said of the catalog already
        return
    for content, documents in sorted(referenced.items(), key=lambda each: each[1]):
        wrong = _wrong_content(content_path(layout.contents, content), content)
        if wrong and in_use and content not in _referenced(layout):  # deleted, or replaced, meanwhile
            continue
        if wrong:
            for document in documents:
                yield Damage("contents", document, wrong, content)


def _referenced(layout: Layout) -> dict[ContentKey, list[str]]:
    """The contents, each with the names of the documents that refer to it.

    A document that is FAILED may have lost its bytes, which its error says; what there is of them is looked at.
    """
    found: dict[ContentKey, list[str]] = {}
    with closing(open_to_read(layout.catalog)) as catalog:
        rows = catalog.execute("SELECT tenant, sha256, corpus_id, document_id, state FROM documents WHERE deleting = 0")
        for tenant, sha256, corpus, document, state in rows:
            content = ContentKey(tenant, sha256)
            if state != DocumentState.FAILED or content_path(layout.contents, content).exists():
                found.setdefault(content, []).append(names.document_name(corpus, document))
    return found


def _wrong_content(path: Path, content: ContentKey) -> str:
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "its bytes are missing"
    except (OSError, ValueError) as error:
        return f"its bytes cannot be read: {error}"
    return "" if sha256 == content.sha256 else "its bytes have changed"


def _index_damage(layout: Layout) -> Iterator[Damage]:
    for shard in _shards(layout.index):
        try:
            data = Path(str(read_sealed_json((shard / "state.json").read_bytes())["data"])).name
            intact = is_intact(shard / data, (shard / "seal.json").read_bytes())
        except FileNotFoundError:  # not closed in order: it is compared with the store when it is opened
            continue
        except (OSError, ValueError, KeyError) as error:
            yield Damage("index", f"index {shard.name}", f"cannot be read: {error}")
            continue
        if not intact:
            yield Damage("index", f"index {shard.name}", "its files have changed since it was closed")


def _shards(index: Path) -> Iterable[Path]:
    return sorted(path for path in index.iterdir() if path.is_dir()) if index.is_dir() else ()
