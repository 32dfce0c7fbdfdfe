"""Writing a file whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replaced_file(path: str | Path) -> Iterator[BinaryIO]:
    """Gives a new file to write to, which takes the path's place at the end, unless an exception comes first.

    Raises:
        OSError: The file cannot be written.
    """
    path = Path(path)
    part = path.with_name(
        f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    )  # in the same folder, so that replacing is atomic
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
