"""Document ids that stay the same: importing a file again means the same document."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import Path, PurePath

_READABLE = 60
_DIGITS = 16


def path_id(path: Path) -> str:
    """The id of a file's document: the file's name, readable, and a hash of its whole path.

    Args:
        path: The file. Symbolic links are followed, so that a file has one id however it is reached.

    Returns:
        An id of letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 77 characters long.
    """
    return resolved_id(os.path.realpath(path))


def resolved_id(resolved: str, *, entry: str = "") -> str:
    """The id of a file's document, as `path_id` makes it, or of the document that is an entry of an archive.

    Args:
        resolved: The file's whole path, or the archive's, in which nothing is a symbolic link.
        entry: The entry's name in the archive. Empty: the file itself is the document.
    """
    whole = f"{resolved}!/{entry}" if entry else resolved
    digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:_DIGITS]
    return f"{slug(whole.rpartition('/')[2])}-{digest}"


def content_id(path: PurePath, sha256: str) -> str:
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
