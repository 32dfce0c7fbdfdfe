"""The documents' bytes: one file a content, named by its SHA-256, in a folder for each tenant.

Files and not rows, because a document of 256 MiB can then be written, read and handed to a worker in pieces, and
because a content once placed never changes. A file that no document refers to is of no use; a sweep at opening removes
what a crash has left.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import BinaryIO

from anyio import CancelScope, to_thread

from headwater_server.retrieval.catalog.database import disk_full_reported
from headwater_server.retrieval.catalog.records import ContentKey


class StagedFile:
    """Content on its way, in a file of its own; implements `StagedContent`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("xb", buffering=0)
        self._hash = hashlib.sha256()
        self._size = 0
        self._lock = threading.Lock()  # a cancelled write may still be under way in its thread

    @property
    def size_bytes(self) -> int:
        """How many bytes there are so far."""
        return self._size

    @property
    def sha256(self) -> str:
        """Their SHA-256."""
        return self._hash.hexdigest()

    async def write(self, data: bytes) -> None:
        """Appends bytes."""
        await to_thread.run_sync(self._write, data)

    def _write(self, data: bytes) -> None:
        with self._lock, disk_full_reported():
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            self._hash.update(data)
            self._size += len(data)

    async def seal(self) -> None:
        """Makes the bytes durable and ends the writing."""
        await to_thread.run_sync(self._seal)

    def _seal(self) -> None:
        with self._lock, disk_full_reported():
            if not self._file.closed:
                os.fsync(self._file.fileno())
                self._file.close()

    async def discard(self) -> None:
        """Removes the file, unless it was placed."""
        with CancelScope(shield=True):  # short, and nothing may stay behind
            await to_thread.run_sync(self._discard)

    def _discard(self) -> None:
        with self._lock:
            self._file.close()
        self.path.unlink(missing_ok=True)


class ContentFolder:
    """Where contents are kept. All methods block, and are called by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._contents = path / "contents"
        self._uploads = path / "uploads"
        for folder in (self._contents, self._uploads):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (path, path.parent):
            _sync_folder(folder)
        for left in self._uploads.iterdir():
            left.unlink()

    def stage(self) -> StagedFile:
        """A new file for content that is coming."""
        with disk_full_reported():
            return StagedFile(self._uploads / secrets.token_hex(16))

    def path(self, content: ContentKey) -> Path:
        """The file of a content."""
        return content_path(self._contents, content)

    def tenant_folder(self, tenant: str) -> Path:
        """Where a tenant's contents are; it may not be there yet."""
        return _tenant_folder(self._contents, tenant)

    def place(self, staged: StagedFile, content: ContentKey) -> None:
        """Puts a sealed file in its place; after that it survives a loss of power."""
        target = self.path(content)
        with disk_full_reported():
            created = [folder for folder in (target.parent, target.parent.parent) if not folder.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.path.replace(target)
            _sync_folder(target.parent)
            for folder in created:
                _sync_folder(folder.parent)

    def remove(self, content: ContentKey) -> None:
        """Removes a content; one that is not there is no error."""
        self.path(content).unlink(missing_ok=True)

    def sweep(self, referenced: AbstractSet[ContentKey]) -> None:
        """Removes every file but the `referenced` ones."""
        keep = {self.path(content) for content in referenced}
        for path in self._contents.glob("*/*/*"):
            if path not in keep:
                path.unlink()


def content_path(contents: Path, content: ContentKey) -> Path:
    """The file of a content in the folder `contents`."""
    return _tenant_folder(contents, content.tenant) / content.sha256[:2] / content.sha256


def _tenant_folder(contents: Path, tenant: str) -> Path:
    # A tenant's name comes from a credential and may be anything; its digest is a file name.
    return contents / hashlib.sha256(tenant.encode()).hexdigest()[:32]


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
