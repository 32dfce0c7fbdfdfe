"""Text with light markup: reStructuredText, AsciiDoc, Org and LaTeX.

Its headings are found; the rest is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from headwater_server.retrieval.model import Block, ParsedDocument, SourceMap
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.line_buffer import LineBuffer
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.text import choose_title, clean, decode

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1+\s*")  # of reStructuredText: a line of one sign
_ASCIIDOC = re.compile(r"(={1,6})\s+(\S.*)")
_ORG = re.compile(r"(\*{1,9})\s+(\S.*)")
_TEX = re.compile(
    r"""\s*\\(part|chapter|section|subsection|subsubsection|paragraph|title)\*?\s*
    (?:\[[^\]]*\])?\{(.+?)\}\s*(?:\\label\{[^}]*\}\s*)?(?:%.*)?""",
    re.X,
)
_LONGEST_LINE = 400
_TEX_LEVELS = {"title": 1, "part": 1, "chapter": 2, "section": 3, "subsection": 4, "subsubsection": 5, "paragraph": 6}
_DEEPEST = 9


class _Heading(NamedTuple):
    text: str
    level: int
    first: int
    """The index of its first line."""
    last: int


def parse_marked_up_text(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read text with light markup; a `Parser`. Locations are lines of the file."""
    text = clean(decode(file.content, charset=file.charset))
    limits.check_characters(len(text))
    lines = text.split("\n")
    headings = list(_FINDERS[file.media_type](lines))
    blocks = tuple(_blocks(lines, headings))
    if not blocks:
        raise DocumentUnreadableError("the file has no text, only white space")
    title = choose_title(headings[0].text if headings else "", name=file.name)
    return ParsedDocument(title, file.media_type, "line", blocks)


def _blocks(lines: Sequence[str], headings: Sequence[_Heading]) -> Iterator[Block]:
    position = 0
    for heading in headings:
        yield from _paragraphs(lines, position, heading.first)
        yield Block(heading.text, SourceMap.whole(heading.first + 1, heading.last + 1), heading.level)
        position = heading.last + 1
    yield from _paragraphs(lines, position, len(lines))


def _paragraphs(lines: Sequence[str], start: int, end: int) -> Iterator[Block]:
    buffer = LineBuffer()
    for index in range(start, end):
        if lines[index].strip():
            buffer.add(lines[index], [(0, index + 1, index + 1)])
        else:
            yield from buffer.take()
    yield from buffer.take()


def _find_underlined(lines: Sequence[str]) -> Iterator[_Heading]:
    """Find the titles of reStructuredText: underlined, perhaps overlined; each style is a level, in order of use."""
    styles: list[tuple[str, bool]] = []
    index = 1
    while index < len(lines):
        title, under = lines[index - 1], lines[index]
        above = lines[index - 2].rstrip() if index > 1 else ""
        is_overlined = bool(above) and above == under.rstrip()
        is_title = (
            _ADORNMENT.fullmatch(under)
            and title.strip()
            and not _ADORNMENT.fullmatch(title)
            and len(under.rstrip()) >= max(3, len(title.strip()))
            and (is_overlined or (not title[0].isspace() and not above.strip()))
        )
        if is_title:
            style = (under[0], is_overlined)
            if style not in styles:
                styles.append(style)
            level = min(styles.index(style) + 1, _DEEPEST)
            yield _Heading(" ".join(title.split()), level, index - 2 if is_overlined else index - 1, index)
            index += 1
        index += 1


def _find_marked(pattern: re.Pattern[str]) -> Callable[[Sequence[str]], Iterator[_Heading]]:
    """Return a function that finds headings with a sign for each of their levels before them."""

    def find(lines: Sequence[str]) -> Iterator[_Heading]:
        for index, line in enumerate(lines):
            if match := pattern.fullmatch(line.rstrip()):
                yield _Heading(" ".join(match[2].split()), len(match[1]), index, index)

    return find


def _find_sections(lines: Sequence[str]) -> Iterator[_Heading]:
    """Find the sectioning commands of LaTeX, as far as each has a line of its own."""
    for index, line in enumerate(lines):
        if len(line) <= _LONGEST_LINE and (match := _TEX.fullmatch(line)):
            yield _Heading(" ".join(match[2].split()), _TEX_LEVELS[match[1]], index, index)


_FINDERS = {
    "text/x-rst": _find_underlined,
    "text/asciidoc": _find_marked(_ASCIIDOC),
    "text/org": _find_marked(_ORG),
    "text/x-tex": _find_sections,
}
