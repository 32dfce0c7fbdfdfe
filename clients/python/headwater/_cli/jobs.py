"""What there is to import: the documents that a command's PATHs mean, one at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from headwater._cli.archives import Archive, ArchiveRefused, Entry
from headwater._cli.document_ids import resolved_id
from headwater._cli.left_out import LeftOut
from headwater._cli.walking import FoundFile, walk


@dataclass(frozen=True, slots=True)
class Job:
    """One document to import."""

    path: Path
    """The file, or the archive that the document is in."""
    document_id: str
    """The last part of its document's name."""
    entry: str = ""
    """Its name in the archive. Empty: the file itself is the document."""
    named: bool = True
    """Whether the user named it, rather than a folder or an archive that it is in."""
    fault: str = ""
    """Why it cannot be read, where that is known before. Empty: it is to be tried."""
    source: tuple[Archive, Entry] | None = field(default=None, repr=False, compare=False)
    """Where its content is, if not in the file itself."""

    @property
    def name(self) -> str:
        """Its own name, without folders."""
        return (self.entry or str(self.path)).rpartition("/")[2]

    @property
    def uri(self) -> str:
        """Its whole path, as text: what is not UTF-8 in it is replaced. An entry of an archive stands behind `!`."""
        path = os.fsencode(self.path.absolute()).decode("utf-8", "replace")
        return f"{path}!/{self.entry}" if self.entry else path

    def open(self) -> BinaryIO:
        """Opens its content for reading, from its beginning and more than once.

        Raises:
            OSError: It cannot be read.
        """
        if self.source is not None:
            archive, entry = self.source
            return archive.open(entry)
        return self.path.open("rb")


def find_jobs(paths: Iterable[Path], left_out: LeftOut) -> Iterator[Job]:
    """Finds the documents that the paths mean: files, what is in folders, and what is in ZIP archives.

    They come as they are asked for, so there may be any number.

    Args:
        paths: The files, folders and archives.
        left_out: Counts what is left out.

    Raises:
        CommandFailed: A path does not exist, or is neither a file nor a folder.
    """
    for found in walk(paths, left_out):
        if found.is_archive:
            yield from _jobs_in_archive(found, left_out)
        else:
            yield Job(found.path, resolved_id(found.resolved), named=found.named)


def _jobs_in_archive(found: FoundFile, left_out: LeftOut) -> Iterator[Job]:
    try:
        archive = Archive(found.path)
    except (ArchiveRefused, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield Job(found.path, resolved_id(found.resolved), named=found.named, fault=reason)
        return
    for entry in archive.documents(left_out):
        name = entry.name.encode("utf-8", "replace").decode()
        yield Job(
            found.path,
            resolved_id(found.resolved, entry=name),
            entry=name,
            named=False,
            fault=entry.fault,
            source=(archive, entry),
        )
