"""From characters of a text to lines or bytes of the file it came from, in one pass."""

from __future__ import annotations

from typing import Protocol

from headwater_server.retrieval.model import LocationKind


class Positions(Protocol):
    """Counts units of a file along its text."""

    @property
    def unit(self) -> LocationKind:
        """What is counted."""
        ...

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the units of the characters `start` to `end` (half-open, not empty).

        Every call must begin at or after where the one before it began: what is behind is not counted again.
        """
        ...


class LinePositions:
    """Counts lines, from 1. The text has LF as line end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1

    @property
    def unit(self) -> LocationKind:
        """Lines."""
        return "line"

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the first and the last line of some characters."""
        self._line += self._text.count("\n", self._at, start)
        self._at = start
        return self._line, self._line + self._text.count("\n", start, max(start, end - 1))


class BytePositions:
    """Counts bytes, from 0, of a text that is UTF-8; the end is the byte after the last."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._byte = 0

    @property
    def unit(self) -> LocationKind:
        """Bytes."""
        return "byte"

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the first byte of some characters and the one after their last."""
        self._byte += len(self._text[self._at : start].encode())
        self._at = start
        return self._byte, self._byte + len(self._text[start:end].encode())
