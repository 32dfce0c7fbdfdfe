"""Finding the lines that the pages of a document repeat: running heads, page numbers, footers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_FEWEST_PAGES = 5
_FEWEST_LINES = 5  # a page with fewer has no room for a margin: its first line may be all it says
_LONGEST = 120
_SHARE = 0.6
_FEWEST_NUMBERED = 3

_NUMBER = re.compile(r"\d+|\b[ivxlc]+\b")
_DIGITS = re.compile(r"\d{1,6}")


def without_running_lines(pages: Sequence[str]) -> list[list[str]]:
    """Return the lines of each page, without those that the pages repeat at their top or bottom.

    A line is repeated if most pages have it, or if several have it with a number that grows with the page. The first
    time a running line comes it stays, so that what it says can be found; one that is but a number goes everywhere.
    """
    lined = [[line.strip() for line in page.splitlines()] for page in pages]
    for edge in (0, -1):
        _drop_repeated(lined, edge)
    return lined


def _drop_repeated(pages: Sequence[list[str]], edge: int) -> None:
    eligible = {
        index: page for index, page in enumerate(pages) if len(page) >= _FEWEST_LINES and len(page[edge]) <= _LONGEST
    }
    keys = {index: _keys(page[edge], index) for index, page in eligible.items()}
    counts = Counter(key for page_keys in keys.values() for key in page_keys)
    often = max(_FEWEST_PAGES, _SHARE * len(eligible))
    seen: set[str] = set()
    for index, page in eligible.items():
        running = [key for key in keys[index] if counts[key] >= (often if key[1] is None else _FEWEST_NUMBERED)]
        if not running:
            continue
        wordings = {wording for wording, _ in running}
        if wordings & seen or not any(c.isalpha() for c in _shape(page[edge])):
            del page[edge]
        seen |= wordings


def _keys(line: str, index: int) -> set[tuple[str, int | None]]:
    """Return what a running line has in common with its like on other pages: its wording, or that and its numbering.

    One number of a line may be the page's, its first or its last. All others are part of the wording: a line in which
    they change says something new on each page.
    """
    found = list(_DIGITS.finditer(line))
    keys: set[tuple[str, int | None]] = {(line, None)}
    for number in (*found[:1], *found[-1:]):
        wording = f"{line[: number.start()]}#{line[number.end() :]}"
        keys.add((wording, int(number.group()) - index))
    return keys


def _shape(line: str) -> str:
    return _NUMBER.sub("#", line.lower())
