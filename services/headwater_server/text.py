"""Strings from outside, made fit to be sent on."""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")
_ELLIPSIS = "…"


class SurrogateJoiner:
    r"""Joins UTF-16 surrogates that a provider's JSON has cut in two, and replaces what stays single.

    JSON may escape a character beyond U+FFFF as two `\uXXXX`, and a server that cuts between them sends halves, which
    no UTF-8 can carry.
    """

    def __init__(self) -> None:
        self._high = ""

    def feed(self, text: str) -> str:
        """The text without half characters; a half at its end is kept for the next call."""
        if not self._high and _SURROGATE.search(text) is None:
            return text
        text = self._high + text
        self._high = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._high = text[-1]
            text = text[:-1]
        return without_surrogates(text)

    def finish(self) -> str:
        """What is left, where the text ended in the middle of a character."""
        left, self._high = self._high, ""
        return "\ufffd" if left else ""


def without_surrogates(text: str) -> str:
    """The text with pairs of surrogates joined, and single ones replaced by U+FFFD."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def utf8_prefix(text: str, size: int) -> str:
    """The longest beginning of the text that has at most `size` bytes of UTF-8."""
    if len(text) * 4 <= size:
        return text
    encoded = text.encode()
    return text if len(encoded) <= size else encoded[:size].decode(errors="ignore")


def shortened(text: str, size: int) -> str:
    """The text on one line and without control characters, in at most `size` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: size * 4]).split())
    return line if len(line) <= size else line[: size - 1].rstrip() + _ELLIPSIS
