"""Sentences of a text that may hold headings, lists, tables and hard line breaks.

Rules, not a model: good for the Latin scripts and for Chinese and Japanese, and never lossy, as all results are ranges
of the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

_LINE = re.compile(r"[^\n]*\n?")
_ITEM = re.compile(r"[ \t]*(?:[-*+•‣◦▪–][ \t]+|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{2,5})[.)][ \t]+)(?=\S)")
_HEADING_MARK = re.compile(r"[ \t]*#{1,6}[ \t]+")
_ROW = re.compile(r"[ \t]*\|.*\|[ \t]*\Z|[^\t]*\t[^\t]*\t")
_RULE = re.compile(r"[ \t|:=_*+-]*\Z")
_QUOTE_MARK = re.compile(r"(?:[ \t]*>)+[ \t]*")
_END = re.compile(r"""(?P<mark>(?<![.!?…])[.!?…]+["'”’»)\]]*)(?P<gap>\s+)|(?P<wide>[。！？]+[」』”’）]*)\s*""")
_STRONG = re.compile(r"""[.!?…。！？]["'”’»)\]」』）]*\Z""")
_INITIALS = re.compile(r"(?:[A-Za-z]\.)*[A-Za-z]\Z")
_ABBREVIATION_WORDS = """
approx apr art assn aug ave bldg blvd ca capt cf ch chap col corp dec dept dr ed eds eg e.g eq eqs est ex feb fig figs
fr ft gen gov hon hr hrs i.e ie inc jan jr jul jun lt ltd mar max messrs min misc mr mrs ms mt no nos nov oct op p para
pp prof ref refs rep rev sec sen sep sept sgt sr st tel u.k u.n u.s univ viz vol vols vs z.b d.h bzw nr
"""
_ABBREVIATIONS = frozenset(_ABBREVIATION_WORDS.split())
_WRAP_AT = 45
"""A block with a line of so many characters may have been broken to fit a width; in others a break is meant."""


class Kind(Enum):
    """What a sentence is part of."""

    PROSE = auto()
    ITEM = auto()
    HEADING = auto()
    ROW = auto()


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, or what stands in for one: an item of a list, a heading, a row of a table."""

    start: int
    """Its first character in the text; bullets, numbers and `#` before it are left out."""
    end: int
    kind: Kind
    block: int
    """The number of the paragraph, item, heading or row it stands in, from 0."""


def sentences(text: str) -> list[Sentence]:
    """Splits a text.

    Returns:
        Its sentences in order, without blanks around them. What lies between them is white space, or the marks of
        lists, headings and tables.
    """
    found: list[Sentence] = []
    for number, (start, end, kind) in enumerate(_blocks(text)):
        spans = _prose(text, start, end) if kind in {Kind.PROSE, Kind.ITEM} else [(start, end)]
        found.extend(Sentence(begin, stop, kind, number) for begin, stop in spans)
    return found


def _blocks(text: str) -> Iterator[tuple[int, int, Kind]]:
    """Paragraphs, items, headings and rows."""
    block: _Block | None = None
    for line in _LINE.finditer(text):
        content = _content(text, line.start(), line.end())
        if block and content and block.goes_on(text, content, indented=text[line.start()] in " \t"):
            block.take(content)
            continue
        if block:
            yield block.closed(text)
        block = _Block(*content) if content else None  # None: an empty line, or one that is only drawn
    if block:
        yield block.closed(text)


class _Block:
    """A block whose last line may not have come yet."""

    def __init__(self, start: int, end: int, kind: Kind) -> None:
        self._start = start
        self._end = end
        self._kind = kind
        self._longest = end - start

    def goes_on(self, text: str, content: tuple[int, int, Kind], *, indented: bool) -> bool:
        """Whether a line belongs to the block: whether the break before it is only where the line was full."""
        first, _, kind = content
        if kind is not Kind.PROSE or self._kind not in {Kind.PROSE, Kind.ITEM}:
            return False
        if text[first].islower() or text[self._end - 1] in ",;-–" or (indented and self._kind is Kind.ITEM):
            return True
        return self._longest >= _WRAP_AT and text[self._end - 1] != ":"

    def take(self, content: tuple[int, int, Kind]) -> None:
        """Takes a line."""
        self._end = content[1]
        self._longest = max(self._longest, content[1] - content[0])

    def closed(self, text: str) -> tuple[int, int, Kind]:
        """Its range and kind, when no line of it can follow."""
        block = text[self._start : self._end]
        is_heading = self._kind is Kind.PROSE and "\n" not in block and _is_heading(block)
        return self._start, self._end, Kind.HEADING if is_heading else self._kind


def _content(text: str, start: int, end: int) -> tuple[int, int, Kind] | None:
    """What stands on a line, without blanks and marks, and what kind of line it is."""
    line = text[start:end].rstrip()
    if _RULE.match(line):
        return None
    kind = Kind.PROSE
    offset = 0
    if quoted := _QUOTE_MARK.match(line):
        offset = quoted.end()
    if heading := _HEADING_MARK.match(line, offset):
        offset, kind = heading.end(), Kind.HEADING
    elif _ROW.match(line, offset):
        kind = Kind.ROW
    elif item := _ITEM.match(line, offset):
        offset, kind = item.end(), Kind.ITEM
    offset += len(line[offset:]) - len(line[offset:].lstrip())
    return (start + offset, start + len(line), kind) if offset < len(line) else None


def _is_heading(line: str) -> bool:
    """Whether a paragraph of one line is a heading: short, and not closed as a sentence is."""
    words = line.split()
    if _STRONG.search(line) or _END.search(line) or line[-1] in ":;," or len(words) > 12 or len(line) > 100:
        return False
    return len(words) <= 3 or line.isupper() or line[0].isupper() or line[0].isdigit()


def _prose(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begin = start
    for mark in _END.finditer(text, start, end):
        stop = mark.end("mark") if mark["mark"] else mark.end("wide")
        if mark.end() < end and (mark["wide"] or _ends_sentence(text, mark, begin)):
            yield begin, stop
            begin = mark.end()
    if begin < end:
        yield begin, end


def _ends_sentence(text: str, mark: re.Match[str], begin: int) -> bool:
    """Whether a full stop with a blank after it ends a sentence."""
    following, end = text[mark.end()], mark.start()
    if end == begin or text[end - 1].isspace():  # "what is . the next", as in texts that were taken apart into words
        return end > begin
    if following.islower() or following in ",;)":
        return False
    if mark["mark"][0] != ".":
        return True
    start = _word_start(text, begin, end)
    word = text[start:end]
    if word.lower() in _ABBREVIATIONS:
        return False
    if word.isdigit() and start == begin:  # "1. First"
        return False
    return not (_INITIALS.match(word) and word[-1:].isupper())


def _word_start(text: str, begin: int, end: int) -> int:
    """Where the word that ends at `end` begins. Goes back from there: a pattern would try every place before it."""
    start = end
    while start > begin and (text[start - 1].isalnum() or text[start - 1] in "_."):
        start -= 1
    return start
