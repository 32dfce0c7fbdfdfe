"""Lines of JSON, read from bytes as they come (https://github.com/ndjson/ndjson-spec).

A line ends with LF and nothing else, so that CR, U+2028, U+2029 and U+0085 inside a line stay what they are; a CR
before the LF is white space, which JSON allows there. Blank lines are passed over.
"""

from __future__ import annotations

import json

from headwater_server.outgoing.framing import MAX_ITEM_BYTES, BomRemover, CutOff, FramingError

_WHITE = b" \t\r"


class LineTooLarge(FramingError):
    """A line is over the limit."""


class LineParser:
    """Turns pieces of a body, cut anywhere, into lines, which hold no line end and are never blank."""

    def __init__(self, *, max_line_bytes: int = MAX_ITEM_BYTES) -> None:
        self._limit = max_line_bytes
        self._bom = BomRemover()
        self._parts: list[bytes] = []  # of the line that has not ended
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Takes the next bytes of the body.

        Args:
            piece: Bytes, cut anywhere.

        Returns:
            The lines that these bytes completed.

        Raises:
            LineTooLarge: A line has more bytes than the limit.
        """
        *ended, rest = self._bom.feed(piece).split(b"\n")
        lines: list[bytes] = []
        for part in ended:
            self._keep(part)
            lines += self._taken()
        self._keep(rest)
        return lines

    def finish(self) -> list[bytes]:
        """The last line, where it is whole and only its line end is missing.

        Raises:
            CutOff: It is no JSON object or array; what else there is of JSON cannot be told from its beginning.
        """
        self._keep(self._bom.finish())
        lines = self._taken()
        if not all(_is_whole(line) for line in lines):
            raise CutOff("half a line")
        return lines

    def _keep(self, part: bytes) -> None:
        if not part:
            return
        self._size += len(part)
        if self._size > self._limit:
            raise LineTooLarge(f"a line of more than {self._limit} bytes")
        self._parts.append(part)

    def _taken(self) -> list[bytes]:
        line = b"".join(self._parts).strip(_WHITE)
        self._parts.clear()
        self._size = 0
        return [line] if line else []


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), (dict, list))
    except (ValueError, RecursionError):
        return False
