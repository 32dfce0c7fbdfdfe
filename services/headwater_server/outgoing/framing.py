"""What the readers of bodies have in common: each takes bytes as they come and gives what they complete."""

from __future__ import annotations

from typing import Protocol, TypeVar

MAX_ITEM_BYTES = 1 << 20
"""How long one event, line or array element may be, unless a reader is told otherwise."""

BOM = b"\xef\xbb\xbf"

ItemT = TypeVar("ItemT")


class FramingError(Exception):
    """A body cannot be taken apart. The message says how, in words that fit after "sent"; it holds no content."""


class CutOff(FramingError):
    """A body ended in the middle of an item."""


class BodyParser(Protocol[ItemT]):
    """Turns pieces of a body, cut anywhere, into the items that they complete."""

    def feed(self, piece: bytes) -> list[ItemT]:
        """Takes the next bytes of the body, and returns what they completed.

        Raises:
            FramingError: The body is not as its format demands, or passes a bound.
        """
        ...

    def finish(self) -> list[ItemT]:
        """Returns what the end of the body completed.

        Raises:
            CutOff: What is left cannot be whole.
        """
        ...


class BomRemover:
    """Takes a byte order mark off the beginning of a body, which may be cut inside it."""

    def __init__(self) -> None:
        self._start: bytes | None = b""  # the first bytes, until it is clear whether they are the mark

    def feed(self, piece: bytes) -> bytes:
        """The piece without the mark; empty while that is open."""
        if self._start is None:
            return piece
        beginning = self._start + piece
        if len(beginning) < len(BOM) and BOM.startswith(beginning):
            self._start = beginning
            return b""
        self._start = None
        return beginning.removeprefix(BOM)

    def finish(self) -> bytes:
        """What was held back, where the body ended before it was clear."""
        start, self._start = self._start or b"", None
        return start
