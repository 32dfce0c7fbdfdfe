"""An answer's text as a provider's citations point into it: by blocks, and in the provider's own units.

Headwater counts bytes of UTF-8 over the whole answer. Providers count characters or bytes, in one block of the answer
or in all of it, and repeat the words they mean: a span whose words are others is not trusted.
"""

from __future__ import annotations

from headwater_server.text import SurrogateJoiner


class AnswerText:
    """The text of one answer as it grows."""

    def __init__(self, prefix: str = "") -> None:
        """Makes a text that goes on from what was said before; empty: that starts."""
        self._joiner = SurrogateJoiner()
        self._encoded = bytearray(prefix.encode())
        self._blocks: dict[int, int] = {}  # where each block begins, in bytes

    @property
    def size(self) -> int:
        """The length so far, in bytes of UTF-8."""
        return len(self._encoded)

    def begin(self, block: int) -> bool:
        """Says that a block begins here, and returns whether it does: it may have begun before."""
        if block in self._blocks:
            return False
        self._blocks[block] = self.size
        return True

    def add(self, text: str) -> str:
        """Appends text, and returns what of it can be sent: halves of a character wait for each other."""
        text = self._joiner.feed(text)
        self._encoded += text.encode()
        return text

    def finish(self) -> str:
        """The rest, when the answer has ended in half a character."""
        rest = self._joiner.finish()
        return self.add(rest) if rest else ""

    def since(self, block: int) -> str:
        """The text from where a block begins; empty where it has not begun."""
        return self._encoded[self._blocks[block] :].decode() if block in self._blocks else ""

    def whole(self) -> str:
        """All of it."""
        return self._encoded.decode()

    def block_span(self, block: int) -> tuple[int, int] | None:
        """The bytes from where a block begins to the end of the text, without the white space around them."""
        if block not in self._blocks:
            return None
        begin = self._blocks[block]
        text = self._encoded[begin:].decode()
        words = text.lstrip()
        begin += len(text[: len(text) - len(words)].encode())
        end = begin + len(words.rstrip().encode())
        return (begin, end) if begin < end else None

    def in_characters(self, start: int, end: int, *, words: str, block: int | None = None) -> tuple[int, int] | None:
        """The bytes of a span that is given in characters (code points).

        Args:
            start: The first character.
            end: The character after the last.
            words: The words that stand there, as the provider says; empty if it does not say.
            block: The block from whose beginning it counts. None: from the beginning of the text.

        Returns:
            Where it begins and ends; None if the words do not stand there.
        """
        begin = self._begin(block)
        text = self._encoded[begin:].decode()
        found = text[start:end] if 0 <= start < end <= len(text) else ""
        if not found or (words and found != words):
            return None
        first = begin + len(text[:start].encode())
        return first, first + len(found.encode())

    def in_bytes(self, start: int, end: int, *, words: str, block: int | None = None) -> tuple[int, int] | None:
        """The bytes of a span that is given in bytes; see `in_characters`."""
        begin = self._begin(block)
        start, end = (begin + start, begin + end) if start >= 0 else (-1, -1)
        found = self._encoded[start:end] if 0 <= start < end <= self.size else b""
        try:
            text = found.decode()
        except UnicodeDecodeError:
            return None
        return (start, end) if text and (not words or text == words) else None

    def _begin(self, block: int | None) -> int:
        return self._blocks.get(block, 0) if block is not None else 0
