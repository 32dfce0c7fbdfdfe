"""Reading JSON piece by piece, with the place of each piece.

The standard library's reader says where nothing stands, recurses, and turns numbers into numbers, of which a document
may have unreadable ones. This one keeps a list of what is open, and takes numbers as they are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from headwater_server.retrieval.parsing.errors import DocumentTooLargeError

MAX_DEPTH = 500
"""Arrays and objects may be nested so deep."""

_SPACE = r"(?: [ \t\n\r\ufeff]++ | //[^\n]*+ | /\*.*?\*/ )*+"
_TOKEN = re.compile(
    rf"""
    {_SPACE}
    (?:
        (?P<string> "[^"\\]*+(?:\\.[^"\\]*+)*+" )
      | (?P<open> [\[{{] )
      | (?P<close> [\]}}] )
      | (?P<separator> [,:] )
      | (?P<literal>
            (?: true | false | null | NaN | [+-]?Infinity | -?\d++(?:\.\d++)?+(?:[eE][+-]?\d++)?+ ) (?![\w.+-])
        )
      | (?P<end> \Z )
    )
    """,
    re.X | re.S,
)
_SKIPPED = re.compile(_SPACE, re.X | re.S)
# A character beyond the first 65,536 is written as two escapes, which make one character.
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.S)
_CLOSING = {"[": "]", "{": "}"}


class JsonSyntaxError(ValueError):
    """The text is not JSON."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position
        """Where in the text."""


class Event(NamedTuple):
    """A piece of a JSON text: a bracket, a key or a scalar. A tuple, as there may be millions."""

    kind: Literal["open", "close", "key", "value"]
    text: str
    """Of a key or a string what it says; of another scalar how it is written; of a bracket the bracket."""
    start: int
    end: int
    """Its characters in the text, half-open."""


def read_events(text: str) -> Iterator[Event]:
    """Yield the pieces of a JSON text in order.

    It may hold several values one after the other. Comments and commas before a closing bracket are passed over, since
    configuration files have them. A key that comes twice comes twice.

    Raises:
        JsonSyntaxError: The text is not JSON.
        DocumentTooLargeError: It nests deeper than `MAX_DEPTH`.
    """
    grammar = _Grammar()
    position = 0
    while True:
        match = _TOKEN.match(text, position)
        if match is None:
            raise JsonSyntaxError(_end_of_space(text, position))
        kind = match.lastgroup or "end"
        token = match[kind]
        start, position = match.span(kind)
        if not grammar.accepts(kind, token):
            raise JsonSyntaxError(start)
        if kind == "end":
            return
        if kind in {"string", "literal"}:
            said = _unescape(token, start) if kind == "string" else token
            yield Event("key" if grammar.is_after_key else "value", said, start, position)
        elif kind != "separator":
            yield Event("open" if kind == "open" else "close", token, start, position)


def string_places(written: str, *, every: int) -> Iterator[tuple[int, int]]:
    """Yield where in a string, as it is written with its quotes, each so-many-th character of what it says stands.

    Yields:
        (position in what it says, position in what is written), from `every` on.
    """
    end = len(written) - 1
    said, at, wanted = 0, 1, every
    for escape in (*_ESCAPE.finditer(written, 1, end), None):
        start = escape.start() if escape else end
        while said + start - at > wanted:
            yield wanted, at + wanted - said
            wanted += every
        said += start - at
        if escape:
            if said == wanted:
                yield said, start
                wanted += every
            said += 1
            at = escape.end()


class _Grammar:
    """What may come next."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._expected = "value"  # or "key", ":", ","

    @property
    def is_after_key(self) -> bool:
        """Whether the last token was a key."""
        return self._expected == ":"

    def accepts(self, kind: str, written: str) -> bool:
        """Take a token, and return whether it may stand where it stands."""
        expected = self._expected
        match kind:
            case "string" if expected == "key":
                self._expected = ":"
            case "string" | "literal" if expected == "value":
                self._end_value()
            case "open" if expected == "value":
                self._open.append(written)
                if len(self._open) > MAX_DEPTH:
                    raise DocumentTooLargeError(f"the JSON nests deeper than {MAX_DEPTH} levels")
                self._expected = "key" if written == "{" else "value"
            case "close" if self._open and expected != ":" and _CLOSING[self._open.pop()] == written:
                self._end_value()
            case "separator" if written == expected:
                self._expected = "key" if written == "," and self._open[-1] == "{" else "value"
            case "end":
                return not self._open
            case _:
                return False
        return True

    def _end_value(self) -> None:
        self._expected = "," if self._open else "value"


def _end_of_space(text: str, position: int) -> int:
    match = _SKIPPED.match(text, position)
    return match.end() if match else position


def _unescape(string: str, start: int) -> str:
    if "\\" not in string:
        return string[1:-1]
    try:
        return str(json.loads(string, strict=False))
    except ValueError as error:
        raise JsonSyntaxError(start) from error
