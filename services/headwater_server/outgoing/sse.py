"""Server-sent events, read from bytes as they come.

The format is the one of the HTML standard, "Parsing an event stream"; lines end with CR, LF or CRLF and with nothing
else, so that U+2028, U+2029 and U+0085 inside a line stay what they are. Unlike a browser this parser keeps the bytes
of an event's data undecoded, for a damaged one is the protocol's matter, and it is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from headwater_server.outgoing.framing import MAX_ITEM_BYTES, BomRemover, FramingError

_LINE_END = re.compile(rb"\r\n|\r|\n")
_OTHER_KINDS = (b"{", b"[", b"<")
"""How JSON and pages begin."""


class EventTooLarge(FramingError):
    """An event, or one line of it, is over the limit."""


class NotEvents(FramingError):
    """The body is a document of another kind."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event that was ended by its empty line."""

    data: bytes
    """The `data` lines, joined by LF."""
    event: str = "message"
    """The type; `message` where the stream gave none."""


class EventParser:
    """Turns pieces of a body, cut anywhere, into events.

    An event counts when the empty line after it has come. What is left when the body ends was cut off and is not an
    event.
    """

    def __init__(self, *, max_event_bytes: int = MAX_ITEM_BYTES) -> None:
        self._limit = max_event_bytes
        self._bom = BomRemover()
        self._after_cr = False
        self._line: list[bytes] = []  # the parts of the line that has not ended
        self._line_size = 0
        self._data: list[bytes] = []
        self._data_size = 0
        self._type = ""
        self._first = b""  # the body's first character that is no blank
        self._found = False  # whether there was an event

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """Takes the next bytes of the body.

        Args:
            piece: Bytes, cut anywhere.

        Returns:
            The events that these bytes completed.

        Raises:
            EventTooLarge: A line, or the lines of an event together, have more bytes than the limit.
        """
        piece = self._bom.feed(piece)
        self._first = self._first or piece.lstrip()[:1]
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")  # the rest of a CRLF whose CR has ended its line already
        events: list[ServerSentEvent] = []
        is_plain = b"\r" not in piece
        begin, more = 0, True
        while more:
            if is_plain:
                begin = self._take_plain(piece, begin, events)
            more = False
            for line_end in _LINE_END.finditer(piece, begin):
                event = self._end_line(piece[begin : line_end.start()])
                begin = line_end.end()
                if event is not None:
                    events.append(event)
                    if more := is_plain:
                        break  # what follows it may be plain
        self._after_cr = piece.endswith(b"\r") or (self._after_cr and not piece)
        if begin < len(piece):
            self._keep(piece[begin:])
        return events

    def _take_plain(self, piece: bytes, begin: int, events: list[ServerSentEvent]) -> int:
        """Takes whole events of one line, as most providers send them, and returns where they end; LF ends lines.

        Many come at once from who is faster than we are; so they cost half.
        """
        if self._line or self._data or self._type:
            return begin
        while piece.startswith(b"data: ", begin):
            end = piece.find(b"\n", begin)
            if end < 0 or end - begin > self._limit or not piece.startswith(b"\n\n", end):
                break
            events.append(ServerSentEvent(piece[begin + 6 : end]))
            self._found = True
            begin = end + 2
        return begin

    def finish(self) -> list[ServerSentEvent]:
        """Nothing, as an event's own empty line ends it and nothing else does.

        Raises:
            NotEvents: There was none, and the body begins as JSON or as a page does. What it says it is
                (`content-type`) is not asked, as many servers name another type than they send.
        """
        if not self._found and self._first in _OTHER_KINDS:
            raise NotEvents("a document in place of a stream of events")
        return []

    def _keep(self, part: bytes) -> None:
        self._line_size += len(part)
        if self._line_size > self._limit:
            raise EventTooLarge(f"a line of more than {self._limit} bytes")
        self._line.append(part)

    def _end_line(self, part: bytes) -> ServerSentEvent | None:
        if self._line or len(part) > self._limit:  # the same bound, however the line was cut
            self._keep(part)
            part = b"".join(self._line)
            self._line.clear()
            self._line_size = 0
        if not part:
            return self._dispatch()
        name, _, value = part.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data_size += len(value) + 1
            if self._data_size > self._limit:
                raise EventTooLarge(f"an event of more than {self._limit} bytes")
            self._data.append(value)
        elif name == b"event":
            self._type = value.decode("utf-8", "replace")
        return None  # comments, id, retry and unknown fields mean nothing to a reader that never reconnects

    def _dispatch(self) -> ServerSentEvent | None:
        event = ServerSentEvent(b"\n".join(self._data), self._type or "message") if self._data else None
        self._data = []
        self._data_size = 0
        self._type = ""
        self._found = self._found or event is not None
        return event
