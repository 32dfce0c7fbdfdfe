"""A seal on a folder: checksums of its files, written when it is closed, checked before it is opened again.

The engine does not notice a flipped byte in its files; it would drop what the byte belonged to, or rank it wrongly.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

_PIECE = 1 << 16
_ZEROS = bytes(_PIECE)


def make_seal(folder: Path) -> bytes:
    """The checksums (CRC-32C) of all files of a folder."""
    sums = {str(path.relative_to(folder)): _checksum(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    return json.dumps(sums, sort_keys=True).encode()


def is_intact(folder: Path, seal: bytes) -> bool:
    """Whether the folder has exactly the files that were sealed."""
    return make_seal(folder) == seal


def _checksum(path: Path) -> list[int]:
    """The size, and the checksum of all pieces that are not only zeros, each with its place."""
    checksum = 0
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for place in _places(file.fileno(), size):
            piece = os.pread(file.fileno(), _PIECE, place)
            if piece != _ZEROS[: len(piece)]:
                checksum = google_crc32c.extend(checksum, place.to_bytes(8, "big") + piece)
    return [size, checksum]


def _places(file: int, size: int) -> Iterator[int]:
    """Where pieces begin, without those in holes: the engine makes files of 32 MiB and more that are mostly holes."""
    place = 0
    while place < size:
        try:
            place = os.lseek(file, place, os.SEEK_DATA) // _PIECE * _PIECE
        except OSError:  # nothing but a hole until the end
            return
        yield place
        place += _PIECE
