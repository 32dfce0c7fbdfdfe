"""Whether a secret stands anywhere: whole, in a part that gives it away, or as it is encoded on its way."""

from __future__ import annotations

import base64
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

_PART = 12
"""A piece of a secret that is as long as this gives it away. Shorter ones are what providers tell keys apart by."""

_RUNS = re.compile(rb"[A-Za-z0-9%+/=_-]{12,}")
"""Where a piece can stand: it has no other letters."""


class Watch:
    """Looks through places, counts them, and remembers what it found.

    Args:
        secrets: What must be nowhere, by what it is.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._pieces = {piece: what for what, secret in secrets.items() for piece in _pieces(secret)}
        self.places: Counter[str] = Counter()
        self.leaks: list[str] = []

    def look(self, kind: str, where: str, content: str | bytes) -> None:
        """Looks through one place."""
        self.places[kind] += 1
        data = content.encode(errors="surrogatepass") if isinstance(content, str) else content
        for run in _RUNS.finditer(data):
            for at in range(run.start(), run.end() - _PART + 1):
                if what := self._pieces.get(data[at : at + _PART]):
                    self.leaks.append(f"{what} stands in {where}: {data[max(0, at - 60) : at + 60]!r}")
                    return

    def look_at_lines(self, kind: str, where: str, content: str) -> None:
        """Looks through the lines of something, each a place."""
        for line in content.splitlines():
            self.look(kind, where, line)

    def look_at_files(self, folder: Path) -> None:
        """Looks through all files under a folder, their names included."""
        for path in sorted(folder.rglob("*")):
            self.look("names", f"the name of {path}", path.name)
            if path.is_file():
                self.look("files", str(path.relative_to(folder)), b"\0".join(_written(path)))


def _written(path: Path) -> Iterator[bytes]:
    """What was written into a file, without its holes: the index has files of 32 MiB and more that are little else."""
    with path.open("rb", buffering=0) as file:
        size, place = os.fstat(file.fileno()).st_size, 0
        while place < size:
            try:
                begin = os.lseek(file.fileno(), place, os.SEEK_DATA)
            except OSError:  # nothing but a hole until the end
                return
            place = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            yield os.pread(file.fileno(), place - begin, begin)


def _pieces(secret: str) -> set[bytes]:
    """Its pieces, and those of its encoded forms; all of the letters that `_RUNS` has."""
    raw = secret.encode()
    encoded = [raw, quote(secret, safe="").encode(), raw.hex().encode(), secret[::-1].encode()]
    encoded += [base64.b64encode(b"x" * shift + raw)[4:-4] for shift in range(3)]
    return {each[at : at + _PART] for each in encoded for at in range(len(each) - _PART + 1)}
