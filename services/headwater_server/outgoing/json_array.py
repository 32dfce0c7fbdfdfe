"""The elements of a JSON array, read from bytes as they come (RFC 8259).

Only what is needed to tell where an element ends is looked at: strings, brackets and commas. Whether an element is
JSON shows when it is decoded. The array has ended when its closing bracket has come, and not before.
"""

from __future__ import annotations

import re

from headwater_server.outgoing.framing import MAX_ITEM_BYTES, BomRemover, CutOff, FramingError

_WHITE = b" \t\r\n"
_STRING = rb'(?:[^"\\]++|\\.)*+'
_TO_MARK_IN_ARRAY = re.compile(rb'(?:[^"\[\]{},]++|"' + _STRING + rb'")*+', re.DOTALL)
_TO_MARK_IN_ELEMENT = re.compile(rb'(?:[^"\[\]{}]++|"' + _STRING + rb'")*+', re.DOTALL)
"""Up to the next bracket, or comma where it ends an element, or string that has not ended."""
_TO_STRING_END = re.compile(_STRING, re.DOTALL)
_OPENING = b"[{"
_QUOTE = ord('"')
_COMMA = ord(",")
_CLOSING = ord("]")


class NotAnArray(FramingError):
    """The body is no JSON array."""


class ElementTooLarge(FramingError):
    """An element is over the limit."""


class ArrayParser:
    """Turns pieces of a body, cut anywhere, into the elements of the array that it is.

    Attributes:
        done: Whether the array has ended.
    """

    def __init__(self, *, max_element_bytes: int = MAX_ITEM_BYTES) -> None:
        self.done = False
        self._limit = max_element_bytes
        self._bom = BomRemover()
        self._depth = 0  # brackets that are open: 0 before the array, 1 in it, more inside an element
        self._in_string = False
        self._escaped = False  # whether the last byte was a backslash in a string
        self._after_comma = False
        self._parts: list[bytes] = []  # of the element that has not ended
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Takes the next bytes of the body.

        Args:
            piece: Bytes, cut anywhere.

        Returns:
            The elements that these bytes completed, without white space around them.

        Raises:
            NotAnArray: The body is something else, or goes on after its end.
            ElementTooLarge: An element has more bytes than the limit.
        """
        piece = self._bom.feed(piece)
        position = 0
        if not self._depth and not self.done:
            piece = piece.lstrip(_WHITE)
            if not piece:
                return []
            if not piece.startswith(b"["):
                raise NotAnArray("something that is no JSON array")
            self._depth = position = 1
        elements: list[bytes] = []
        begin = position
        while not self.done and position < len(piece):
            position = self._skipped(piece, position)
            if position < len(piece) and self._ends_element(piece[position]):
                self._keep(piece[begin:position])
                elements += self._taken(last=self.done)
                begin = position + 1
            position += 1
        if not self.done:
            self._keep(piece[begin:])
        elif piece[begin:].strip(_WHITE):
            raise NotAnArray("something after the end of its JSON array")
        return elements

    def finish(self) -> list[bytes]:
        """Nothing: the array's closing bracket has ended its last element.

        Raises:
            CutOff: It has not come.
        """
        if not self.done:
            raise CutOff("a JSON array without its end")
        return []

    def _skipped(self, piece: bytes, position: int) -> int:
        """The position of the next byte outside of strings that has a meaning, or the piece's length."""
        while position < len(piece):
            if self._in_string:
                position = self._string_end(piece, position)
                continue
            to_mark = _TO_MARK_IN_ARRAY if self._depth == 1 else _TO_MARK_IN_ELEMENT
            position = to_mark.match(piece, position).end()  # type: ignore[union-attr]  # it matches nothing, too
            if piece[position : position + 1] != b'"':
                return position
            self._in_string = True
            position += 1
        return len(piece)

    def _string_end(self, piece: bytes, position: int) -> int:
        """The position after the string that has begun, or the piece's length if it goes on."""
        if self._escaped:
            self._escaped = False
            position += 1
        position = _TO_STRING_END.match(piece, position).end()  # type: ignore[union-attr]  # it matches nothing, too
        if position < len(piece):
            self._in_string = piece[position] != _QUOTE
            self._escaped = self._in_string  # it is a backslash, and the last byte
        return position + 1

    def _ends_element(self, byte: int) -> bool:
        if byte in _OPENING:
            self._depth += 1
            return False
        if byte == _COMMA:
            return self._depth == 1
        self._depth -= 1
        if self._depth == 0 and byte != _CLOSING:
            raise NotAnArray("a JSON array whose brackets do not match")
        self.done = self._depth == 0
        return self.done

    def _keep(self, part: bytes) -> None:
        if not self._parts:
            part = part.lstrip(_WHITE)
        if not part:
            return
        self._size += len(part)
        if self._size > self._limit:
            raise ElementTooLarge(f"an array element of more than {self._limit} bytes")
        self._parts.append(part)

    def _taken(self, *, last: bool) -> list[bytes]:
        element = b"".join(self._parts).rstrip(_WHITE)
        self._parts.clear()
        self._size = 0
        if not element and (not last or self._after_comma):
            raise NotAnArray("a JSON array with an empty place")
        self._after_comma = not last
        return [element] if element else []
