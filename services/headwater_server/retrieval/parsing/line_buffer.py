"""Gathering lines of text, each with the lines of the file that it came from, into one block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headwater_server.retrieval.model import Block, SourceMap


class LineBuffer:
    """Lines of a block under construction. Blank lines at its beginning and end are dropped."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._lines: list[str] = []
        self._parts: list[tuple[int, int, int]] = []
        self._length = 0  # of the lines, each with its newline
        self._blank = 0  # blank lines held back until another line follows

    def add(self, text: str, parts: Sequence[tuple[int, int, int]]) -> None:
        """Add one line.

        Args:
            text: The line; trailing white space is dropped.
            parts: (offset in the line, first line of the file, last line of the file), by offset, the first at 0.
        """
        text = text.rstrip()
        if not text:
            self._blank += bool(self._lines)
            return
        self._lines += [""] * self._blank
        self._length += self._blank
        self._blank = 0
        self._parts += [(self._length + offset, first, last) for offset, first, last in parts]
        self._lines.append(text)
        self._length += len(text) + 1

    def take(self, *, level: int = 0, name: str = "") -> Iterator[Block]:
        """Yield the block, if it has any text, and begin the next."""
        if self._lines:
            yield Block("\n".join(self._lines), SourceMap.parts(self._parts), level, name=name)
        self._clear()
