"""Which files a command's PATHs mean."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from headwater._cli.failures import USAGE, CommandFailed

READABLE = frozenset(
    {".txt", ".text", ".log", ".md", ".markdown", ".mdown", ".mkd", ".html", ".htm", ".xhtml", ".pdf", ".docx"}
)
"""The endings of files that a folder's import takes. A file that is named itself is left to the server to judge."""

_NOT_DOCUMENTS = frozenset({"__pycache__", "node_modules", "CVS", "_darcs"})
_VIRTUAL_ENVIRONMENT = "pyvenv.cfg"


@dataclass(slots=True)
class Found:
    """The files that were found, and what was left out."""

    files: list[Path] = field(default_factory=list)
    """The files, each once, those of a folder by name."""
    skipped: Counter[str] = field(default_factory=Counter)
    """How many files of folders were left out, by ending. Hidden ones do not count."""
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    """Folders that could not be looked into, and why."""

    def skipped_line(self) -> str:
        """What was left out, for people: `3 files skipped (.png 2, .zip 1)`. Empty if nothing was."""
        total = self.skipped.total()
        if not total:
            return ""
        kinds = ", ".join(f"{ending} {count}" for ending, count in self.skipped.most_common(6))
        more = ", …" if len(self.skipped) > 6 else ""
        return f"{total} {'file' if total == 1 else 'files'} of other kinds skipped ({kinds}{more})"


def find_files(paths: Iterable[Path]) -> Found:
    """Finds the files that the paths mean: files themselves, and what is in folders, at any depth.

    In folders it leaves out hidden files and folders, those that hold software or a version control system's data, and
    files whose ending is not in `READABLE`. Symbolic links are followed; a folder is entered once, so loops end.

    Raises:
        CommandFailed: A path does not exist, or is neither a file nor a folder.
    """
    found = Found()
    walk = _Walk(found)
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise CommandFailed(f"{path}: {error.strerror}", code=USAGE) from error
        if stat.S_ISDIR(mode):
            walk.enter(path)
        elif stat.S_ISREG(mode):
            walk.take(path)
        else:
            raise CommandFailed(f"{path} is neither a file nor a folder", code=USAGE)
    return found


class _Walk:
    """Goes through folders, and remembers where it has been."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._entered: set[tuple[int, int]] = set()
        self._taken: set[Path] = set()

    def take(self, path: Path) -> None:
        resolved = path.resolve()
        if resolved not in self._taken:
            self._taken.add(resolved)
            self._found.files.append(path)

    def enter(self, folder: Path) -> None:
        waiting = [folder]
        while waiting:
            current = waiting.pop()
            folders, files = self._look_into(current)
            for file in files:
                if file.suffix.lower() in READABLE:
                    self.take(file)
                else:
                    self._found.skipped[file.suffix.lower() or "no ending"] += 1
            waiting += reversed(folders)

    def _look_into(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """The folders and the regular files in a folder, by name; none where it has been entered before."""
        folders: list[Path] = []
        files: list[Path] = []
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in self._entered:
                return folders, files
            self._entered.add((status.st_dev, status.st_ino))
            entries = sorted(_entries(folder), key=lambda entry: entry.name)
        except OSError as error:
            self._found.unreadable.append((folder, error.strerror or str(error)))
            return folders, files
        if any(entry.name == _VIRTUAL_ENVIRONMENT for entry in entries):
            return folders, files
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _NOT_DOCUMENTS:
                continue
            if _is(entry, folder=True):
                folders.append(Path(entry.path))
            elif _is(entry, folder=False):
                files.append(Path(entry.path))
        return folders, files


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries


def _is(entry: os.DirEntry[str], *, folder: bool) -> bool:
    try:
        return entry.is_dir() if folder else entry.is_file()
    except OSError:  # a symbolic link that leads in a circle
        return False
