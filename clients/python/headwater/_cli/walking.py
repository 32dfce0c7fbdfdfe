"""Which files a command's PATHs mean."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater._cli.failures import USAGE, CommandFailed
from headwater._cli.left_out import LeftOut
from headwater._cli.readable import ARCHIVES, HIDDEN, ending, is_document, no_document

SOFTWARE = "software"
CACHE = "caches"

_SOFTWARE = frozenset(
    {"__pycache__", "node_modules", "bower_components", "jspm_packages", "site-packages", "CVS", "_darcs"}
)
_SOFTWARE_ENDINGS = (".egg-info", ".dist-info")
_VIRTUAL_ENVIRONMENT = "pyvenv.cfg"
_CACHE = "CACHEDIR.TAG"
_VENDORED = "vendor"
_VENDORING = frozenset({"go.mod", "composer.json", "Gemfile", "Cargo.toml"})
"""Beside one of these a folder `vendor` holds the software of others; elsewhere it may be about vendors."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that was found."""

    path: Path
    """Where, as the user would say it."""
    resolved: str
    """Where, whole, with symbolic links followed."""
    named: bool
    """Whether it was named itself, rather than found in a folder."""

    @property
    def is_archive(self) -> bool:
        """Whether it is to be entered like a folder."""
        return ending(self.path.name) in ARCHIVES


def walk(paths: Iterable[Path], left_out: LeftOut) -> Iterator[FoundFile]:
    """Finds the files that the paths mean: files themselves, and what is in folders, at any depth.

    In folders it leaves out hidden files and folders, those that hold software or a version control system's data,
    files whose names are not of documents or archives, lock files and what is minified. A path may be a symbolic link;
    those in folders are followed as far as they lead to what is in one of the paths, so that nobody imports more than
    they named. A folder is entered once, so loops end. Nothing is kept of what was found but 8 bytes a file, to take
    each once.

    Args:
        paths: The files and folders.
        left_out: Counts what is left out.

    Yields:
        The files, each once, those of a folder by name.

    Raises:
        CommandFailed: A path does not exist, or is neither a file nor a folder.
    """
    named = list(paths)
    walking = _Walk(left_out, within=[os.path.realpath(path) for path in named])
    for path in named:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise CommandFailed(f"{path}: {error.strerror}", code=USAGE) from error
        if stat.S_ISDIR(mode):
            yield from walking.enter(path)
        elif stat.S_ISREG(mode):
            yield from walking.take(path, os.path.realpath(path), named=True)
        else:
            raise CommandFailed(f"{path} is neither a file nor a folder", code=USAGE)


def software_folder(name: str) -> str:
    """Why a folder of this name is not entered: `hidden`, `software`. Empty: it is."""
    if name.startswith("."):
        return HIDDEN
    return SOFTWARE if name in _SOFTWARE or name.endswith(_SOFTWARE_ENDINGS) else ""


class _Walk:
    """Goes through folders, and remembers where it has been."""

    def __init__(self, left_out: LeftOut, *, within: Sequence[str]) -> None:
        self._left_out = left_out
        self._within = within
        self._entered: set[tuple[int, int]] = set()
        self._taken: set[int] = set()

    def take(self, path: Path, resolved: str, *, named: bool) -> Iterator[FoundFile]:
        known = hash(resolved)
        if known not in self._taken:
            self._taken.add(known)
            yield FoundFile(path, resolved, named)

    def enter(self, root: Path) -> Iterator[FoundFile]:
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            try:
                folders, files = self._look_into(folder, is_root=folder is root)
            except OSError as error:
                self._left_out.cannot_enter(folder, error)
                continue
            resolved = os.path.realpath(folder)
            for name, is_link in files:
                path = folder / name
                yield from self.take(path, os.path.realpath(path) if is_link else f"{resolved}/{name}", named=False)
            waiting += [folder / name for name in reversed(folders)]

    def _look_into(self, folder: Path, *, is_root: bool) -> tuple[list[str], list[tuple[str, bool]]]:
        """The folders to enter and the files to take, by name, and whether a file is a link; none at a second visit."""
        folders: list[tuple[str, bool]] = []
        files: list[tuple[str, bool]] = []
        status = folder.stat()
        if (status.st_dev, status.st_ino) in self._entered:
            return [], []
        self._entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is(entry, folder=True):
                    folders.append((entry.name, entry.is_symlink()))
                elif _is(entry, folder=False):
                    files.append((entry.name, entry.is_symlink()))
        names = {name for name, _ in files}
        reason = "" if is_root else _marked(names)
        if reason:
            self._left_out.folders[reason] += 1
            return [], []
        vendoring = bool(names & _VENDORING)
        entering = [
            name
            for name, is_link in folders
            if self._enters(name, vendoring=vendoring) and self._stays_within(folder / name, is_link=is_link)
        ]
        taking = [
            (name, is_link)
            for name, is_link in files
            if self._takes(name) and self._stays_within(folder / name, is_link=is_link)
        ]
        return sorted(entering), sorted(taking)

    def _enters(self, name: str, *, vendoring: bool) -> bool:
        reason = software_folder(name) or (SOFTWARE if vendoring and name == _VENDORED else "")
        if reason:
            self._left_out.folders[reason] += 1
        return not reason

    def _takes(self, name: str) -> bool:
        reason = no_document(name)
        if reason:
            self._left_out.files[reason] += 1
            return False
        if is_document(name) or ending(name) in ARCHIVES:
            return True
        self._left_out.other_kind(name)
        return False

    def _stays_within(self, path: Path, *, is_link: bool) -> bool:
        if not is_link:
            return True
        resolved = Path(os.path.realpath(path))
        if any(resolved.is_relative_to(root) for root in self._within):
            return True
        self._left_out.links += 1
        return False


def _marked(names: set[str]) -> str:
    """Why a folder in which there are these files is not for readers. Empty: it may be."""
    if _VIRTUAL_ENVIRONMENT in names:
        return SOFTWARE
    return CACHE if _CACHE in names else ""


def _is(entry: os.DirEntry[str], *, folder: bool) -> bool:
    try:
        return entry.is_dir() if folder else entry.is_file()
    except OSError:  # a symbolic link that leads in a circle
        return False
