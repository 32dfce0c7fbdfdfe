"""Writing the values of a JSON text as lines of text, each with its path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headwater_server.retrieval.model import Block
from headwater_server.retrieval.parsing.json_events import Event, string_places
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.line_buffer import LineBuffer
from headwater_server.retrieval.parsing.positions import Positions
from headwater_server.retrieval.parsing.text import clean, one_line

_LONGEST_PATH = 200
_LONGEST_KEY = 60
_LONGEST_ARRAY_LINE = 120
_LONG_SCALAR = 60

# A string that is longer is located piece by piece, since passages are cut out of it.
_LONG_STRING = 600
_PIECE = 200

# A block ends where a record begins, once it is worth a passage; sooner or later it ends anywhere.
_BLOCK_BEFORE_RECORD = 300
_BLOCK_ANYWHERE = 1500


@dataclass(slots=True)
class _Open:
    """An array or an object that is being read."""

    is_array: bool
    path: str
    is_outermost: bool
    """Whether it is an array whose items need no index."""
    count: int = 0
    key: str = ""
    start: int = 0
    """Where the key begins."""


class ValueWriter:
    """Turns events into blocks; `blocks` are those that are complete.

    Args:
        positions: Counts along the JSON text.
        limits: What it may cost.
        written: The JSON text, where what is counted tells the parts of a long string apart; else empty.
    """

    def __init__(self, positions: Positions, *, limits: ParseLimits, written: str = "") -> None:
        self.blocks: list[Block] = []
        self._written = written
        self._positions = positions
        self._limits = limits
        self._buffer = LineBuffer()
        self._length = 0  # of the block
        self._total = 0
        self._open: list[_Open] = []
        self._scalars: list[str] = []  # of an array, to share a line
        self._scalars_length = 0
        self._span = (0, 0)  # of their characters
        self._ends_record = False

    def add(self, event: Event) -> None:
        """Take an event."""
        match event.kind:
            case "open":
                self._begin(event)
            case "close":
                self._end(event)
            case "key":
                self._open[-1].key = event.text
                self._open[-1].start = event.start
            case "value":
                self._add_value(event)

    def finish(self) -> None:
        """Complete the last block."""
        self._end_line()
        self.blocks += self._buffer.take()

    def _begin(self, event: Event) -> None:
        self._end_line()
        parent = self._open[-1] if self._open else None
        if parent is None or parent.is_array:
            self._ends_record = self._ends_record or not parent or parent.is_outermost
            if self._length >= _BLOCK_BEFORE_RECORD:
                self._end_block()
        if parent and not parent.is_array and len(parent.key) > _LONGEST_KEY:
            self._write(parent.key, parent.start, event.start)  # what the path has no room for
        is_array = event.text == "["
        self._open.append(_Open(is_array, self._path(shorten=True), is_outermost=is_array and parent is None))
        self._open[-1].start = event.start
        if parent:
            parent.count += 1

    def _end(self, event: Event) -> None:
        self._end_line()
        closed = self._open.pop()
        if closed.count == 0:
            self._write(_labelled(closed.path, "[]" if closed.is_array else "{}"), closed.start, event.end)

    def _add_value(self, event: Event) -> None:
        parent = self._open[-1] if self._open else None
        value = clean(event.text)
        if parent is None or not parent.is_array:
            start = parent.start if parent else event.start
            self._write(_labelled(self._path(shorten=False), value), start, event.end, self._places(event, value))
        elif len(value) > _LONG_SCALAR or "\n" in value:
            self._end_line()
            self._write(_labelled(parent.path, value), event.start, event.end, self._places(event, value))
        else:
            if self._scalars_length + len(value) > _LONGEST_ARRAY_LINE:
                self._end_line()
            self._span = (self._span[0] if self._scalars else event.start, event.end)
            self._scalars.append(value)
            self._scalars_length += len(value) + 2
        if parent:
            parent.count += 1

    def _end_line(self) -> None:
        """Write the scalars of an array."""
        if self._scalars:
            text = _labelled(self._open[-1].path, ", ".join(self._scalars))
            self._scalars, self._scalars_length = [], 0
            self._write(text, *self._span)

    def _path(self, *, shorten: bool) -> str:
        """Return the path of the value that comes next."""
        if not self._open:
            return ""
        parent = self._open[-1]
        if parent.is_array:
            path = "" if parent.is_outermost else f"{parent.path}[{parent.count}]"
        else:
            key = one_line(parent.key, limit=_LONGEST_KEY) if shorten else clean(parent.key)
            path = f"{parent.path}.{key}" if parent.path else key
        return path if not shorten or len(path) <= _LONGEST_PATH else f"…{path[-_LONGEST_PATH:]}"

    def _places(self, event: Event, value: str) -> list[tuple[int, int]]:
        """Return where parts of a long string stand: (characters that are left of it, place in the JSON text)."""
        written = self._written[event.start : event.end]
        if len(value) <= _LONG_STRING or not written.startswith('"') or value != event.text:
            return []
        return [(len(value) - said, event.start + at) for said, at in string_places(written, every=_PIECE)]

    def _write(self, text: str, start: int, end: int, places: Sequence[tuple[int, int]] = ()) -> None:
        if self._length >= _BLOCK_ANYWHERE:
            self._end_block()
        if self._ends_record and self._length:
            self._buffer.add("", ())
        self._ends_record = False
        kept = len(text.rstrip())
        starts = [(0, start), *((len(text) - left, place) for left, place in places if len(text) - left < kept)]
        ends = [*(place for _, place in starts[1:]), end]
        self._buffer.add(
            text,
            [(offset, *self._positions.span(at, until)) for (offset, at), until in zip(starts, ends, strict=True)],
        )
        self._length += len(text) + 1
        self._total += len(text) + 1
        self._limits.check_characters(self._total)

    def _end_block(self) -> None:
        self.blocks += self._buffer.take()
        self._length = 0


def _labelled(path: str, value: str) -> str:
    return f"{path}: {value}" if path else value
