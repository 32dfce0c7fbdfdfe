"""Document ids that stay the same: importing a file again means the same document."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import Path

_READABLE = 60
_DIGITS = 16


def path_id(path: Path) -> str:
    """The id of a file's document: the file's name, readable, and a hash of its whole path.

    Args:
        path: The file. Symbolic links are followed, so that a file has one id however it is reached.

    Returns:
        An id of letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 77 characters long.
    """
    resolved = path.resolve()
    digest = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:_DIGITS]
    return f"{slug(resolved.name)}-{digest}"


def content_id(path: Path, sha256: str) -> str:
    """The id of a content wherever it lies: of its bytes, and of the ending, which decides how they are read.

    Args:
        path: A file with that content.
        sha256: The content's SHA-256, in hexadecimal digits.
    """
    ending = slug(path.suffix.lower().lstrip("."), empty="none")
    return f"{sha256[:32]}-{ending}"


def slug(name: str, *, empty: str = "document") -> str:
    """A name in the characters that an id may have, shortened in the middle; `empty` where nothing is left of it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9.]+", "-", plain).strip("-.")
    if len(words) > _READABLE:
        half = _READABLE // 2 - 1
        words = f"{words[:half].rstrip('-.')}--{words[-half:].lstrip('-.')}"
    return words or empty
