"""Looking into a folder's files before they are sent: some are no documents though their names say so."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from headwater._cli.readable import MINIFIED, TEXT, ending

EMPTY = "empty"
BINARY = "binary data"

_HEAD_BYTES = 32 * 1024
_BLOCK_BYTES = 256 * 1024
_LONG_LINE = 5_000
_CODE = (".js", ".mjs", ".cjs", ".css")
_MARKED_TEXT = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff", b"%PDF-", b"PK\x03\x04")


def not_for_readers(file: BinaryIO, name: str) -> str:
    """Why a file is not worth an import: it is empty, or a binary or minified file with a text's ending.

    Args:
        file: The file, at its beginning, where it stands again afterwards.
        name: Its name.

    Returns:
        `EMPTY`, `BINARY` or `MINIFIED`; empty where it may be a document.

    Raises:
        OSError: It cannot be read.
    """
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if not head:
        return EMPTY
    kind = ending(name)
    if (not kind or kind in TEXT) and _is_binary(head):
        return BINARY
    if kind in _CODE and max(map(len, head.split(b"\n"))) > _LONG_LINE:
        return MINIFIED
    return ""


def sha256_of(file: BinaryIO) -> bytes:
    """The SHA-256 of what follows in a file.

    Raises:
        OSError: It cannot be read.
    """
    sha256 = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        sha256.update(block)
    return sha256.digest()


def _is_binary(head: bytes) -> bool:
    if b"\0" not in head or head.startswith(_MARKED_TEXT):
        return False
    fewer, more = sorted((head[::2].count(0), head[1::2].count(0)))
    looks_like_utf_16 = more * 4 > len(head) and fewer * 20 < more
    return not looks_like_utf_16
