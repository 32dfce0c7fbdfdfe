"""Server-sent events, read from bytes as they come.

The format is the one of the HTML standard, "Parsing an event stream"; lines end with CR, LF or CRLF and with nothing
else, so that U+2028, U+2029 and U+0085 inside a line stay what they are. Unlike a browser this parser keeps the bytes
of an event's data undecoded, for a damaged one is the protocol's matter, and it is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_EVENT_BYTES = 1 << 20

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class EventTooLarge(Exception):
    """An event, or one line of it, is over the limit."""


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
    event; so there is nothing to flush.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._start: bytes | None = b""  # the first bytes, until it is clear whether they are a byte order mark
        self._after_cr = False
        self._line: list[bytes] = []  # the parts of the line that has not ended
        self._line_size = 0
        self._data: list[bytes] = []
        self._data_size = 0
        self._type = ""

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """Takes the next bytes of the body.

        Args:
            piece: Bytes, cut anywhere.

        Returns:
            The events that these bytes completed.

        Raises:
            EventTooLarge: A line, or the lines of an event together, have more bytes than the limit.
        """
        if self._start is not None:
            piece = self._without_bom(piece)
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")  # the rest of a CRLF whose CR has ended its line already
        events: list[ServerSentEvent] = []
        begin = 0
        for line_end in _LINE_END.finditer(piece):
            event = self._end_line(piece[begin : line_end.start()])
            if event is not None:
                events.append(event)
            begin = line_end.end()
        self._after_cr = piece.endswith(b"\r") or (self._after_cr and not piece)
        if begin < len(piece):
            self._keep(piece[begin:])
        return events

    def _without_bom(self, piece: bytes) -> bytes:
        beginning = (self._start or b"") + piece
        if len(beginning) < len(_BOM) and _BOM.startswith(beginning):
            self._start = beginning
            return b""
        self._start = None
        return beginning.removeprefix(_BOM)

    def _keep(self, part: bytes) -> None:
        self._line_size += len(part)
        if self._line_size > self._limit:
            raise EventTooLarge(f"a line has more than {self._limit} bytes")
        self._line.append(part)

    def _end_line(self, part: bytes) -> ServerSentEvent | None:
        if self._line:
            self._line.append(part)
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
                raise EventTooLarge(f"an event has more than {self._limit} bytes")
            self._data.append(value)
        elif name == b"event":
            self._type = value.decode("utf-8", "replace")
        return None  # comments, id, retry and unknown fields mean nothing to a reader that never reconnects

    def _dispatch(self) -> ServerSentEvent | None:
        event = ServerSentEvent(b"\n".join(self._data), self._type or "message") if self._data else None
        self._data = []
        self._data_size = 0
        self._type = ""
        return event
