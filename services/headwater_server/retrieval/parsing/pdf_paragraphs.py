"""From the lines of a PDF's pages to paragraphs. A PDF says where ink is, not what belongs together: this is a guess.

What is certain is kept: no character but line ends and the hyphens before them is dropped, the order stays, and each
paragraph knows its pages.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from headwater_server.retrieval.model import Block, SourceMap
from headwater_server.retrieval.parsing.pdf_hyphens import HyphenJoiner
from headwater_server.retrieval.parsing.text import clean, one_line, spell_out_ligatures

# A line shorter than this share of the page's width was ended by its author, not by the margin.
_FULL = 0.7
_NARROWEST = 30
_LONGEST = 20_000
_SENTENCE_END = re.compile(r"""[.!?:;]["'”’)\]]*$""")
_LIST_ITEM = re.compile(r"(?:[•◦▪‣∙●○■–*-]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s")
_SECTION_NUMBER = re.compile(r"^(?:chapter\s+)?[\divx]+(?:\.[\dA-Za-z]+)*[.:]?\s+", re.I)
_NOT_WORD = re.compile(r"\W+")


@dataclass(frozen=True, slots=True)
class Heading:
    """An entry of a document's outline."""

    title: str
    page: int
    level: int


@dataclass(slots=True)
class _Paragraph:
    text: str = ""
    parts: list[tuple[int, int, int]] = field(default_factory=list)

    def append(self, separator: str, line: str, page: int) -> None:
        self.text += separator
        if not self.parts or self.parts[-1][1] != page:
            self.parts.append((len(self.text), page, page))
        self.text += line


def read_paragraphs(pages: Sequence[list[str]], headings: Iterable[Heading]) -> Iterator[Block]:
    """Yield the paragraphs and headings of a document.

    Args:
        pages: The lines of each page, as PDFium gives them.
        headings: The outline; an entry's title that stands as a line of its own on its page is a heading there.
    """
    joiner = HyphenJoiner(pages)
    outline: dict[int, dict[str, int]] = defaultdict(dict)
    for heading in headings:
        if title := _normal(heading.title):
            outline[heading.page].setdefault(title, heading.level)
    paragraph = _Paragraph()
    previous = ""
    for number, raw_lines in enumerate(pages, start=1):
        lines = [clean(spell_out_ligatures(joiner.join_marked(line))).strip() for line in raw_lines]
        full = _FULL * _width(lines)
        for index, line in enumerate(lines):
            level = _heading_level(line, outline.get(number))
            separator = _separator(previous, line, full, new_page=index == 0) if paragraph.text else ""
            if separator is None or level or len(paragraph.text) > _LONGEST:
                yield from _finished(paragraph)
                paragraph, separator = _Paragraph(), ""
            if level:
                yield Block(one_line(line), SourceMap.whole(number), min(level, 9))
            elif separator == " " and (joined := joiner.join_ends(paragraph.text, line)) is not None:
                paragraph.text = joined[0]
                paragraph.append("", joined[1], number)
            elif line:
                paragraph.append(separator or "", line, number)
            previous = line
    yield from _finished(paragraph)


def _finished(paragraph: _Paragraph) -> Iterator[Block]:
    if paragraph.text:
        yield Block(paragraph.text, SourceMap.parts(paragraph.parts))


def _width(lines: Sequence[str]) -> int:
    lengths = sorted(len(line) for line in lines if line)
    return max(_NARROWEST, lengths[int(0.9 * (len(lengths) - 1))] if lengths else 0)


def _separator(previous: str, line: str, full: float, *, new_page: bool) -> str | None:
    """Return what stands between two lines: a space, a newline, or None where a paragraph ends."""
    if not line or not previous or _LIST_ITEM.match(line):
        return None
    ended = bool(_SENTENCE_END.search(previous))
    if new_page:
        return " " if line[0].islower() and not ended else None
    if len(previous) >= full:
        return " "
    return None if ended else "\n"


def _heading_level(line: str, outline: dict[str, int] | None) -> int:
    """Return the level of the outline's entry that a line is, and take it off the outline; 0 if it is none."""
    return outline.pop(_normal(line), 0) if outline and line else 0


def _normal(title: str) -> str:
    return _NOT_WORD.sub("", _SECTION_NUMBER.sub("", title)).casefold()
