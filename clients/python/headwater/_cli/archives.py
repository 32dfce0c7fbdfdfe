"""ZIP archives of documents, read one entry at a time, and nothing unpacked to the disk.

Only what is stored or deflated is read: those two can be unpacked in steps of a bounded size, and again from their
beginning. A tar archive has no table of contents, and a compressed one no sizes either, so it would have to be unpacked
as a whole to know what is in it; its user does that better.
"""

from __future__ import annotations

import io
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from headwater._cli.left_out import LeftOut
from headwater._cli.readable import HIDDEN, is_document, no_document
from headwater._cli.walking import software_folder

MOST_ENTRIES = 100_000
MOST_DIRECTORY_BYTES = 64 * 1024 * 1024
MOST_RATIO = 200
"""How many times its size in the archive a large entry may have; texts rarely reach 20, zip bombs begin at 1,000."""
LARGE_BYTES = 16 * 1024 * 1024
"""Below this size an entry may have any ratio."""
LARGE_TOTAL_BYTES = 1024 * 1024 * 1024
"""Below this size of all its entries an archive may have any ratio."""
_MOST_ENTRY_BYTES = 2**31 - 1

_ENCRYPTED = 0x1
_UTF8_NAME = 0x800
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_OTHER_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd"}

# The end of the table of contents, APPNOTE.TXT 4.3.14 to 4.3.16.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY_SIGNATURE = b"PK\x01\x02"
_MOST_COMMENT = 0xFFFF

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)


class ArchiveRefused(Exception):
    """An archive cannot be read, or is not to be."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A document in an archive."""

    name: str
    """Its name, with `/` between folders."""
    info: zipfile.ZipInfo
    """What the archive says of it."""
    fault: str
    """Why it is not read. Empty: it is."""


class Archive:
    """A ZIP archive that is open. Any number of threads may read its entries.

    It closes when nobody holds it any longer: whoever reads the last entry does not know that it is the last.
    """

    def __init__(self, path: Path) -> None:
        """Opens an archive and reads its table of contents.

        Raises:
            ArchiveRefused: It is damaged, has too many entries, or unpacks to far more than it is.
            OSError: It cannot be read.
        """
        try:
            with path.open("rb") as file:
                _check_directory(file)
                size = file.seek(0, io.SEEK_END)
            self._zip = zipfile.ZipFile(path)
            # zipfile counts what is open of it, and counts wrong in several threads. Collecting garbage may close too.
            self._lock = threading.RLock()
        except _DAMAGE as error:
            raise ArchiveRefused(f"the archive is damaged, or none: {error}") from error
        total = sum(info.file_size for info in self._zip.infolist())
        if total > max(LARGE_TOTAL_BYTES, MOST_RATIO * size):
            raise ArchiveRefused(
                f"the archive has {size:,} bytes and unpacks to {total:,}, as only what does harm does"
            )

    def documents(self, left_out: LeftOut) -> Iterator[Entry]:
        """The documents in it, by the same rules as those of a folder, and what is not read for a fault of its own.

        Of several entries with one name the last is meant, as with every program that unpacks.
        """
        last = {_name(info): info for info in self._zip.infolist()}
        for info in self._zip.infolist():
            name = _name(info)
            if info.is_dir():
                continue
            if last[name] is not info:
                left_out.files["replaced by a later entry"] += 1
            elif stat.S_ISLNK(info.external_attr >> 16):
                left_out.files["symbolic link"] += 1
            elif _is_taken(name, left_out):
                yield Entry(name, info, _fault(name, info))

    def open(self, entry: Entry) -> BinaryIO:
        """Opens an entry for reading; it can be read again from its beginning.

        Raises:
            OSError: It is damaged. Reading raises this too, at the end at the latest, where its checksum is compared.
        """
        try:
            with self._lock:
                return cast("BinaryIO", _EntryFile(self._zip.open(entry.info), self._lock))
        except _DAMAGE as error:
            raise _damaged(error) from error


class _EntryFile(io.RawIOBase):
    """An entry as a file, whose damage is an `OSError` as everywhere else."""

    def __init__(self, file: IO[bytes], lock: threading.RLock) -> None:
        self._file = file
        self._lock = lock

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except _DAMAGE as error:
            raise _damaged(error) from error

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except _DAMAGE as error:
            raise _damaged(error) from error

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        with self._lock:
            self._file.close()
        super().close()


def _check_directory(file: BinaryIO) -> None:
    """Looks at how large the table of contents is, before `zipfile` makes an object of each entry in it."""
    size = file.seek(0, io.SEEK_END)
    tail_bytes = min(size, _END.size + _MOST_COMMENT)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    at = len(tail) - _END.size
    if not (tail[at:].startswith(_END_SIGNATURE) and tail.endswith(b"\0\0")):
        at = tail.rfind(_END_SIGNATURE)
    if at < 0:
        raise zipfile.BadZipFile("its table of contents is missing")
    end = size - tail_bytes + at
    directory_bytes = _END.unpack_from(tail, at)[5]
    locator_at = end - _LOCATOR.size
    if locator_at >= _END_64.size:
        file.seek(locator_at - _END_64.size)
        end_64, locator = file.read(_END_64.size), file.read(_LOCATOR.size)
        if locator.startswith(_LOCATOR_SIGNATURE):
            directory_bytes = _END_64.unpack(end_64)[8]
            end = locator_at - _END_64.size
    if directory_bytes > MOST_DIRECTORY_BYTES:
        raise ArchiveRefused(
            f"the archive's table of contents has {directory_bytes:,} bytes; at most {MOST_DIRECTORY_BYTES:,} are read:"
            " unpack it, and import the folder"
        )
    file.seek(max(0, end - directory_bytes))
    if file.read(directory_bytes).count(_ENTRY_SIGNATURE) > MOST_ENTRIES:
        raise ArchiveRefused(
            f"the archive has more than {MOST_ENTRIES:,} entries, which are too many: unpack it, and import the folder"
        )


def _name(info: zipfile.ZipInfo) -> str:
    """An entry's name, with `/` between folders, and in the characters that were meant."""
    name = info.filename
    if not info.flag_bits & _UTF8_NAME and not name.isascii():  # many programs write UTF-8 and do not say so
        with suppress(UnicodeError):
            name = name.encode("cp437").decode()
    if "/" not in name:
        name = name.replace("\\", "/")
    return name.removeprefix("./")


def _is_taken(name: str, left_out: LeftOut) -> bool:
    *folders, last = name.split("/")
    reason = next(filter(None, map(_closed, folders)), "") or no_document(last)
    if reason:
        left_out.files[reason] += 1
        return False
    if not is_document(last):
        left_out.other_kind(last)
        return False
    return True


def _closed(folder: str) -> str:
    if folder in {".", ".."}:
        return ""
    return HIDDEN if folder == "__MACOSX" else software_folder(folder)


def _fault(name: str, info: zipfile.ZipInfo) -> str:
    if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
        return "its name leads out of the archive"
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted: unpack the archive with its password, and import the folder"
    if info.compress_type not in _METHODS:
        method = _OTHER_METHODS.get(info.compress_type, f"method {info.compress_type}")
        return f"it is compressed by {method}, which is not read: unpack the archive, and import the folder"
    if info.file_size > _MOST_ENTRY_BYTES:
        return f"it has {info.file_size:,} bytes, which no server takes"
    if info.file_size > LARGE_BYTES and info.file_size > MOST_RATIO * info.compress_size:
        return f"it has {info.compress_size:,} bytes and unpacks to {info.file_size:,}, as only what does harm does"
    return ""


def _damaged(error: Exception) -> OSError:
    said = str(error)
    return OSError(f"it is damaged in the archive{f': {said}' if said else ''}")
