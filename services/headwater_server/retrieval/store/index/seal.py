"""A seal on a folder: checksums of its files, written when it is closed, checked before it is opened again.

The engine does not notice a flipped byte in its files; it would drop what the byte belonged to, or rank it wrongly.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

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


def sealed_json(value: Mapping[str, Any]) -> bytes:
    """A value as JSON, with a checksum of it."""
    text = json.dumps(value)
    return json.dumps({"value": value, "checksum": google_crc32c.value(text.encode())}).encode()


def read_sealed_json(data: bytes) -> dict[str, Any]:
    """The value of which `sealed_json` made this.

    Raises:
        ValueError: It is not as it was written.
    """
    whole = json.loads(data)
    value, checksum = (whole.get("value"), whole.get("checksum")) if isinstance(whole, dict) else (None, None)
    if not isinstance(value, dict) or google_crc32c.value(json.dumps(value).encode()) != checksum:
        raise ValueError("it is not as it was written")
    return value


@cache
def boot() -> str:
    """Changes when the machine is started again; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


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
