"""A copy of a data folder, made while a server works on it, that a server can be started on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from headwater_server.retrieval.catalog.contents import content_path
from headwater_server.retrieval.catalog.records import ContentKey
from headwater_server.retrieval.maintenance.layout import Layout, MaintenanceError
from headwater_server.retrieval.maintenance.snapshot import Snapshot, open_to_read, snapshot

NOTE_NAME = "backup.json"
"""Beside the data, what was copied and when; for people, and for `previous`."""

_TRIES = 10
_PAGES = 4096
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class BackupProgress:
    """How far a backup is."""

    what: str
    """`documents` or `databases`."""
    done: int
    total: int


@dataclass(slots=True)
class BackupReport:
    """What a backup has."""

    documents: int = 0
    contents: int = 0
    """How many files, as documents with the same bytes share one."""
    copied_bytes: int = 0
    """Of the contents that were copied, and not linked to those of an earlier backup."""
    damaged: list[str] = field(default_factory=list)
    """Documents whose bytes are damaged in the data folder, and so in the copy."""


Report = Callable[[BackupProgress], None]


def back_up(
    data_dir: Path, target: Path, *, previous: Path | None = None, others: Sequence[str] = (), progress: Report
) -> BackupReport:
    """Copies all that a data folder must have; the index is made anew by the first server that is started on the copy.

    The databases are copied as of one moment, and every document of that moment has its bytes in the copy: whatever
    was acknowledged before this was called is in it. What is copied is built up beside `target`, under the name with
    `.partial`, and renamed when all of it is on the disk; a backup that was interrupted goes on from there.

    Args:
        data_dir: The data folder; a server may be at work on it.
        target: The folder to make. It must not exist.
        previous: An earlier backup, with which the copy shares the contents that both have (hard links).
        others: Further SQLite databases of the data folder, as paths in it; each is copied as of a moment of its own,
            after the documents. One that is not there is left out.
        progress: Called now and then.

    Raises:
        MaintenanceError: There is something at `target`, or `data_dir` is no data folder.
        OSError: A file cannot be read or written.
        sqlite3.Error: A database of the data folder is damaged.
    """
    if target.exists():
        raise MaintenanceError(f"{target} exists: a backup makes a new folder, and never replaces one")
    if previous is not None and not (previous / NOTE_NAME).exists():
        raise MaintenanceError(f"{previous} is not a backup: it has no {NOTE_NAME}")
    if _contains(data_dir, target):
        raise MaintenanceError(f"{target} lies in the data folder: choose a place outside of it")
    source = Layout.of_data_folder(data_dir)
    partial = target.with_name(f"{target.name}.partial")
    copy = Layout.of_data_folder(partial)
    with snapshot(source) as early:
        most = early.referenced()
    for folder in (copy.contents, copy.store, copy.root / "uploads"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = _Contents(source.root, copy.root, None if previous is None else previous / "retrieval", progress)
    files.copy(most)  # without a transaction, which would let the server's log grow for as long as this takes
    report = _finish(source, copy, files, progress)
    for other in others:
        _copy_other(data_dir / other, partial / other, progress)
    _write_note(partial, data_dir, report)
    if (data_dir / "format.json").exists():
        shutil.copyfile(data_dir / "format.json", partial / "format.json")
    os.sync()
    partial.rename(target)
    _sync_folder(target.parent)
    return report


def _finish(source: Layout, copy: Layout, files: _Contents, progress: Report) -> BackupReport:
    for _ in range(_TRIES):
        with snapshot(source) as moment:
            wanted = moment.referenced()
            if files.copy(wanted):
                continue  # removed since the moment that is shown: take a later one
            files.keep_only(wanted)
            _copy_database(moment.catalog, copy.catalog, progress)
            _copy_database(moment.store, copy.truth, progress)
            (documents,) = moment.catalog.execute("SELECT count(*) FROM documents WHERE deleting = 0").fetchone()
            return BackupReport(
                documents=documents,
                contents=len(wanted),
                copied_bytes=files.copied_bytes,
                damaged=_names(moment, files.damaged & wanted),
            )
    raise MaintenanceError("documents are replaced faster than they can be copied: try again when there is less to do")


class _Contents:
    """The contents on their way from one folder to another.

    None is trusted by its name: what an earlier backup has, or an interrupted attempt has left, is compared with its
    checksum, and copied from the source where it differs. A damaged file would else be carried from backup to backup.
    """

    def __init__(self, source: Path, target: Path, previous: Path | None, progress: Report) -> None:
        self._source = source
        self._target = target
        self._previous = previous
        self._progress = progress
        self._done: set[ContentKey] = set()
        self.copied_bytes = 0
        self.damaged: set[ContentKey] = set()

    def copy(self, wanted: Iterable[ContentKey]) -> list[ContentKey]:
        """Copies those that are not there yet; returns those that have been removed from the source."""
        missing = [content for content in wanted if content not in self._done and not self._was_left(content)]
        gone = []
        for done, content in enumerate(sorted(missing, key=lambda each: (each.tenant, each.sha256))):
            self._progress(BackupProgress("documents", done, len(missing)))
            if self._link(content) or self._copy(content):
                self._done.add(content)
            else:
                gone.append(content)
        if missing:
            self._progress(BackupProgress("documents", len(missing), len(missing)))
        return gone

    def _was_left(self, content: ContentKey) -> bool:
        """Whether an attempt that was interrupted has left it, and whole."""
        if not _is_whole(content_path(self._target / "contents", content), content):
            return False
        self._done.add(content)
        return True

    def _link(self, content: ContentKey) -> bool:
        """Shares it with the earlier backup, if that has it, and whole."""
        if self._previous is None:
            return False
        earlier = content_path(self._previous / "contents", content)
        if not _is_whole(earlier, content):
            return False
        target = self._place(content)
        try:
            target.unlink(missing_ok=True)
            target.hardlink_to(earlier)
        except OSError:  # it is on another file system
            return False
        return True

    def _copy(self, content: ContentKey) -> bool:
        """Copies it, damaged or not; False if it has been removed."""
        staged = self._target / "uploads" / content.sha256  # emptied when a server is started on the copy
        sha256 = hashlib.sha256()
        try:
            file = content_path(self._source / "contents", content).open("rb")
        except FileNotFoundError:
            return False
        with file, staged.open("wb") as out:
            while block := file.read(_BLOCK):
                sha256.update(block)
                out.write(block)
                self.copied_bytes += len(block)
            out.flush()
            os.fsync(out.fileno())  # says what the disk could not take, which a sync of everything does not
        if sha256.hexdigest() != content.sha256:
            self.damaged.add(content)
        staged.replace(self._place(content))
        return True

    def _place(self, content: ContentKey) -> Path:
        """Its file in the copy, whose folder is made."""
        target = content_path(self._target / "contents", content)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return target

    def keep_only(self, wanted: Iterable[ContentKey]) -> None:
        """Removes what an earlier attempt has copied and nobody wants any more."""
        keep = {content_path(self._target / "contents", content) for content in wanted}
        for path in (self._target / "contents").glob("*/*/*"):
            if path not in keep:
                path.unlink()


def _is_whole(path: Path, content: ContentKey) -> bool:
    """Whether a file is there, can be read, and is the content."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == content.sha256
    except OSError:
        return False


def _copy_database(source: sqlite3.Connection, target: Path, progress: Report) -> None:
    """Copies a database as the transaction shows it, however much is written to it meanwhile."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)

    def tell(status: int, remaining: int, total: int) -> None:
        del status
        progress(BackupProgress("databases", total - remaining, total))

    with closing(sqlite3.connect(target)) as copy:
        source.backup(copy, pages=_PAGES, progress=tell, sleep=0)


def _copy_other(source: Path, target: Path, progress: Report) -> None:
    if source.exists():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(open_to_read(source)) as connection:
            _copy_database(connection, target, progress)


def _names(moment: Snapshot, contents: Iterable[ContentKey]) -> list[str]:
    names = []
    for content in contents:
        rows = moment.catalog.execute(
            "SELECT corpus_id, document_id FROM documents WHERE tenant = ? AND sha256 = ?",
            [content.tenant, content.sha256],
        )
        names += [f"corpora/{corpus}/documents/{document}" for corpus, document in rows]
    return sorted(names)


def _write_note(folder: Path, data_dir: Path, report: BackupReport) -> None:
    note = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "of": str(data_dir.absolute()),
        **asdict(report),
    }
    (folder / NOTE_NAME).write_text(json.dumps(note, indent=2) + "\n")


def _contains(folder: Path, inner: Path) -> bool:
    return folder.resolve() in (inner.resolve(), *inner.resolve().parents)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
