"""Cutting blocks into pieces that fit a passage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from semantic_text_splitter import TextSplitter

from headwater_server.retrieval.model import Block
from headwater_server.retrieval.parsing.text import one_line
from headwater_server.retrieval.splitting.settings import SplitSettings

SEPARATOR = "\n\n"
"""What stands between two blocks of one passage."""

_MAX_HEADING = 200
# The splitter's time grows with the square of a text without boundaries (31 s for 480,000 Chinese characters).
_WINDOW = 4000


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a block's text from `start` to `end` (half-open), and the headings it stands under."""

    block: Block
    start: int
    end: int
    path: tuple[str, ...]

    @property
    def text(self) -> str:
        """The piece's text."""
        return self.block.text[self.start : self.end]

    def __len__(self) -> int:
        """Return the number of characters."""
        return self.end - self.start


def join(pieces: Sequence[Piece]) -> str:
    """Return the text of consecutive pieces; pieces of one block are put together as they were, but for indentation."""
    text = pieces[0].text
    for previous, piece in pairwise(pieces):
        text += SEPARATOR if piece.block is not previous.block else _gap(piece.block.text[previous.end : piece.start])
        text += piece.text
    return text


def _gap(space: str) -> str:
    """Return white space of at most the length of SEPARATOR."""
    return "\n" * min(space.count("\n"), 2) or " " * bool(space)


def cut(blocks: Iterable[Block], settings: SplitSettings) -> Iterator[Piece]:
    """Yield the pieces of blocks, in order; together they have all characters that are not white space.

    A block that fits with the headings right above it is one piece. One that does not is cut at the highest boundary
    there is (lines, then sentences, then words), into pieces of about the same length.
    """
    path: list[tuple[int, str]] = []
    above = 0  # characters of the headings right above, with their separators
    for block in blocks:
        if block.level:
            while path and path[-1][0] >= block.level:
                path.pop()
            path.append((block.level, one_line(block.name or block.text, limit=_MAX_HEADING)))
        headings = tuple(text for _, text in path)
        capacity = _capacity(above, settings)
        if len(block.text) <= capacity:
            yield Piece(block, 0, len(block.text), headings)
        else:
            for start, end in _cut_text(block.text, max(1, capacity - settings.overlap_characters)):
                yield Piece(block, start, end, headings)
        above = above + len(block.text) + len(SEPARATOR) if block.level else 0


def _capacity(above: int, settings: SplitSettings) -> int:
    """Return how long a piece may be to stand in one passage with the headings above it."""
    room = settings.max_characters - above
    return room if room >= settings.max_characters // 2 else settings.max_characters


def _cut_text(text: str, capacity: int) -> Iterator[tuple[int, int]]:
    for start, end in _windows(text, capacity):
        window = text[start:end]
        for offset, piece in _splitter(len(window), capacity).chunk_indices(window):
            yield start + offset, start + offset + len(piece)


def _windows(text: str, capacity: int) -> Iterator[tuple[int, int]]:
    """Yield consecutive ranges of a text, short enough for the splitter, that end at white space where there is any."""
    size = max(_WINDOW, 4 * capacity)
    start = 0
    while len(text) - start > size:
        end = start + size
        for boundary in ("\n", ". ", " "):
            found = text.rfind(boundary, start + size // 2, end)
            if found >= 0:
                end = found + len(boundary)
                break
        yield start, end
        start = end
    yield start, len(text)


def _splitter(length: int, capacity: int) -> TextSplitter:
    """Return a splitter that makes few pieces of a text of this length, none much shorter than the rest."""
    count = -(-length // capacity)
    return TextSplitter((-(-length // count), capacity))
