"""Splitting a parsed document into passages.

Blocks are gathered, in order, into passages as long as the settings allow. A heading opens a new passage, if what came
before it is worth one, and is never parted from what follows it. A block too long for a passage is cut (see `pieces`).
A passage stands on one slide or one sheet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

from headwater_server.retrieval.model import Block, Location, LocationKind, ParsedDocument, Passage
from headwater_server.retrieval.splitting.pieces import SEPARATOR, Piece, cut, join
from headwater_server.retrieval.splitting.settings import SplitSettings

# The share of the longest passage that must be there for a heading to open another; less is merged with what follows.
_WORTH_AT_TOP = 1 / 8
_WORTH_BELOW = 1 / 3


def split(document: ParsedDocument, *, settings: SplitSettings | None = None) -> tuple[Passage, ...]:
    """Return the passages of a document, in order.

    Apart from white space and the overlap, the passages' texts together are the blocks' texts. A passage's location is
    that of exactly the text in it.
    """
    settings = settings or SplitSettings()
    top_level = _top_level(document.blocks)
    groups = (
        pieces for blocks in _apart(document) for pieces in _Gatherer(settings, top_level).gather(cut(blocks, settings))
    )
    return tuple(_passage(ordinal, pieces, document.unit) for ordinal, pieces in enumerate(groups))


def _apart(document: ParsedDocument) -> Iterator[list[Block]]:
    """Yield the document's blocks in groups that share no passage: one group, but for slides and sheets."""
    on_slides = document.unit == "slide"  # a location has one slide, and a block stands on one
    for _, blocks in groupby(document.blocks, lambda block: (block.sheet, on_slides and block.source.starts[0])):
        yield list(blocks)


def _top_level(blocks: Iterable[Block]) -> int:
    """Return the level that divides the document: the highest with more than one heading at it or above."""
    counts = Counter(block.level for block in blocks if block.level)
    total = 0
    for level in sorted(counts):
        total += counts[level]
        if total > 1:
            return level
    return 1


def _passage(ordinal: int, pieces: Sequence[Piece], unit: LocationKind) -> Passage:
    ranges = [piece.block.source.locate(piece.start, piece.end) for piece in pieces]
    sheet = pieces[0].block.sheet
    location = Location(unit, min(start for start, _ in ranges), max(end for _, end in ranges), sheet)
    return Passage(ordinal, join(pieces), location, " > ".join(_shared_path(pieces)))


def _shared_path(pieces: Sequence[Piece]) -> Iterator[str]:
    """Yield the headings that all pieces stand under; a heading counts as part of what follows under it."""
    paths = [
        piece.path
        for piece, following in pairwise([*pieces, None])
        if piece and not (piece.block.level and following and following.path[: len(piece.path)] == piece.path)
    ]
    for headings in zip(*paths, strict=False):
        if len(set(headings)) > 1:
            return
        yield headings[0]


class _Gatherer:
    """Gathers pieces into passages, each a list of pieces."""

    def __init__(self, settings: SplitSettings, top_level: int) -> None:
        self._settings = settings
        self._top = top_level
        self._start([], repeated=0)

    def _start(self, pieces: list[Piece], *, repeated: int) -> None:
        self._pieces = pieces
        self._length = sum(len(piece) + len(SEPARATOR) for piece in pieces)  # a separator too many
        self._repeated = repeated  # how many pieces at the beginning are overlap
        self._has_body = False  # whether there is more than overlap and headings

    def gather(self, pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
        for piece in pieces:
            if self._has_body and piece.block.level and self._opens_passage(piece.block.level):
                yield self._finish()
            if self._length + len(piece) > self._settings.max_characters:
                yield from self._make_room(piece)
            self._pieces.append(piece)
            self._length += len(piece) + len(SEPARATOR)
            self._has_body = self._has_body or not piece.block.level
        if len(self._pieces) > self._repeated:
            yield self._finish()

    def _opens_passage(self, level: int) -> bool:
        is_top = level <= self._top
        if is_top and not self._pieces[0].block.level:
            return True  # the end of a section already begun in another passage
        worth = _WORTH_AT_TOP if is_top else _WORTH_BELOW
        return self._length >= worth * self._settings.max_characters

    def _make_room(self, piece: Piece) -> Iterator[list[Piece]]:
        """End the passage so that the piece fits the next, with the headings right above it where they fit too."""
        headings = self._take_headings_above(len(piece))
        overlap: list[Piece] = []
        if len(self._pieces) > self._repeated:
            overlap = [] if headings else self._overlap(piece)
            yield self._finish()
        self._start([*overlap, *headings], repeated=len(overlap))

    def _take_headings_above(self, following: int) -> list[Piece]:
        """Take the headings at the passage's end off it, if they fit one passage with as many characters following."""
        first, length = len(self._pieces), following
        while first > self._repeated and self._pieces[first - 1].block.level:
            first -= 1
            length += len(self._pieces[first]) + len(SEPARATOR)
        if length > self._settings.max_characters:
            return []
        headings = self._pieces[first:]
        del self._pieces[first:]
        return headings

    def _finish(self) -> list[Piece]:
        finished = self._pieces
        self._start([], repeated=0)
        return finished

    def _overlap(self, following: Piece) -> list[Piece]:
        """Return the end of the passage to repeat before a piece: whole words, as many as are allowed and fit."""
        last = self._pieces[-1]
        room = self._settings.max_characters - len(following) - len(SEPARATOR)
        allowed = min(self._settings.overlap_characters, room)
        if allowed <= 0 or last.block.level or following.block.level:
            return []
        start = last.start if len(last) <= allowed else _word_start(last, last.end - allowed)
        return [Piece(last.block, start, last.end, last.path)] if start < last.end else []


def _word_start(piece: Piece, position: int) -> int:
    """Return where the first word begins that begins at `position` or after it; the piece's end if none does."""
    text, end = piece.block.text, piece.end
    while position < end and not text[position - 1].isspace():
        position += 1
    while position < end and text[position].isspace():
        position += 1
    return position
