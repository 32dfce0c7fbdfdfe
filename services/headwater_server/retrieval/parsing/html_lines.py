"""Marking the text of an HTML source with its line numbers, and making the source safe to build a tree of.

The tree builder does not tell where in the source a text stood. So, before it runs, a mark that carries the line number
is put in front of the first visible character of every line of every piece of text. A mark is made of characters that
are text themselves, next to text: it changes nothing in the tree, travels with the text wherever the rules for broken
markup move it, and is read off afterwards.

On the way the source is rid of what has no text or would make the builder slow:

- comments, doctypes, scripts, styles and other raw text (but for `title`);
- tags of inline formatting, which mean nothing for plain text, and of which an open one is built again in each
  paragraph that follows: a few thousand would multiply a page beyond all memory;
- elements open inside more than `MAX_DEPTH` others: the builder's time grows with the square of the depth. Their text
  stays. (Browsers do the same, at 512.)

In XHTML an element may be closed in its own tag. HTML has no such tags: the builder would take all that follows for
what is in the element. They become empty elements, or nothing.

The tokens follow the tokenization rules of the HTML standard (section 13.2.5), apart from the escaped states of scripts
and CDATA sections of foreign content.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from headwater_server.retrieval.parsing.html_elements import DROPPED, FOREIGN, INLINE, SELF_LIMITING, VOID

MAX_DEPTH = 1000

_HIGH, _LOW = 0xF0000, 0x100000  # the first characters of the two private-use planes
_LOW_BITS = 15
_PRIVATE = re.compile("[\U000f0000-\U0010ffff]")
_PRIVATE_REFERENCE = re.compile(r"&#(?:0*(?:98[3-9]|99\d|10\d\d|11[01]\d)\d{3}|[xX]0*(?:[fF]|10)[0-9a-fA-F]{4});?")
_MARK = re.compile("([\U000f0000-\U000fffff])([\U00100000-\U0010ffff])")

_ATTRIBUTES = r"""(?:[\s/]++|[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)?+)?+)*+"""
_RAW = "script|style|xmp|iframe|noembed|noframes|noscript|textarea|title"
_XHTML_HEAD = 4096
_XHTML_ROOT = re.compile(r"""<html\s[^>]*?\bxmlns\s*+=\s*+["']http://www\.w3\.org/1999/xhtml["']""", re.I)


def _tokens(*, raw_begins: str) -> re.Pattern[str]:
    return re.compile(
        rf"""<!--(?:-?>|.*?(?:--!?>|\Z))
        |<(?P<raw>{_RAW})(?=[\s/>]){_ATTRIBUTES}{raw_begins}.*?(?:</(?P=raw)(?=[\s/>])[^>]*+(?:>|\Z)|\Z)
        |<(?P<end>/?)(?P<name>[a-z][^\s/>]*+)(?P<rest>{_ATTRIBUTES})(?:>|\Z)
        |<[!?/][^>]*+(?:>|\Z)""",
        re.I | re.S | re.X | re.A,
    )


_TOKEN = _tokens(raw_begins=">")
_XHTML_TOKEN = _tokens(raw_begins="(?<!/)>")
_RAW_NAMES = frozenset(_RAW.split("|"))


def is_xhtml(source: str) -> bool:
    """Whether a page says at its beginning that it is XHTML."""
    head = source[:_XHTML_HEAD]
    return head.lstrip().startswith("<?xml") or _XHTML_ROOT.search(head) is not None


def mark_lines(source: str, *, xhtml: bool = False) -> str:
    """Return HTML to build a tree of, its text marked with line numbers; see the module's text.

    Args:
        source: The page.
        xhtml: Whether it is XHTML.
    """
    source = _PRIVATE_REFERENCE.sub("\ufffd", _PRIVATE.sub("\ufffd", source))
    return "".join(_marked(source, xhtml=xhtml))


def split_marks(text: str) -> Iterator[tuple[int, str]]:
    """Yield the pieces of a marked text without their marks, each with its line; 0 before the first mark."""
    pieces = _MARK.split(text)
    yield 0, pieces[0]
    for high, low, piece in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        yield ((ord(high) - _HIGH) << _LOW_BITS) + ord(low) - _LOW, piece


def _marked(source: str, *, xhtml: bool) -> Iterator[str]:
    depth = _Depth(xhtml=xhtml)
    line, position = 1, 0
    for token in (_XHTML_TOKEN if xhtml else _TOKEN).finditer(source):
        if token.start() > position:
            yield _mark_text(source[position : token.start()], line)
        line += source.count("\n", position, token.end())
        position = token.end()
        yield depth.filter(token)
    yield _mark_text(source[position:], line)


def _mark_text(text: str, first: int) -> str:
    if text.isspace():
        return text
    return "\n".join([_mark_line(line, first + i) for i, line in enumerate(text.split("\n"))])


def _mark_line(text: str, number: int) -> str:
    visible = text.lstrip()
    if not visible:
        return text
    mark = chr(_HIGH + (number >> _LOW_BITS)) + chr(_LOW + (number & ((1 << _LOW_BITS) - 1)))
    return text[: len(text) - len(visible)] + mark + visible


class _Depth:
    """Decides which tags stay, by how many elements are open."""

    def __init__(self, *, xhtml: bool) -> None:
        self._xhtml = xhtml
        self._open: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._total = 0

    def filter(self, token: re.Match[str]) -> str:
        """Return the token as it shall stand in the source; empty to leave it out."""
        name = (token["name"] or "").lower()
        if not name:
            return token[0] if (token["raw"] or "").lower() == "title" else ""
        if name in INLINE:
            return ""
        if self._xhtml and name not in VOID and not token["end"] and token["rest"].endswith("/"):
            return self._empty(name)
        if name in VOID or name in SELF_LIMITING:
            return token[0]
        if token["end"]:
            return token[0] if self._close(name) else ""
        return token[0] if self._enter(name, token["rest"]) else ""

    def _empty(self, name: str) -> str:
        """Return an element without content; empty for one that is not looked into anyway, or may not be empty."""
        is_seen = name not in DROPPED and name not in _RAW_NAMES and not self._is_in_foreign()
        return f"<{name}></{name}>" if is_seen else ""

    def _is_in_foreign(self) -> bool:
        return any(self._open[foreign] for foreign in FOREIGN)

    def _enter(self, name: str, attributes: str) -> bool:
        if attributes.endswith("/") and self._is_in_foreign() and name not in FOREIGN:
            return False  # empty in foreign content; elsewhere the slash means nothing
        if self._total >= MAX_DEPTH:
            self._dropped[name] += 1
            return False
        self._open[name] += 1
        self._total += 1
        return True

    def _close(self, name: str) -> bool:
        if self._dropped[name]:
            self._dropped[name] -= 1
            return False
        if self._open[name]:
            self._open[name] -= 1
            self._total -= 1
        return True
