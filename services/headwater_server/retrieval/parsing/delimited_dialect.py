"""Telling which character parts the columns of a table written as text."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass

_DELIMITERS = ",;\t|"
_SAMPLE_CHARACTERS = 64 * 1024
_SAMPLE_LINES = 200
# Excel reads this first line and does not count it as a row.
_DECLARATION = re.compile(r"sep=([^\n])\n", re.I)
_DECIMAL_COMMA = re.compile(r"\d,\d")
_ESCAPED_QUOTE = re.compile(r'\\"(?![,;\t|\n]|\Z)')
_DOUBLED_QUOTE = re.compile(r'[^,;\t|\n]""|""[^,;\t|\n]')
_MOSTLY = 0.8


@dataclass(frozen=True, slots=True)
class Dialect:
    """How cells are parted and quoted."""

    delimiter: str
    is_escaped: bool
    """Whether a quote within quotes has a backslash before it, instead of being doubled."""


def choose_dialect(text: str, *, usual: str) -> tuple[Dialect, str]:
    """Return how a table is written, and its text without a line that only says so.

    Args:
        text: The table, with LF as line end.
        usual: The delimiter to assume where several fit alike.
    """
    declared = _DECLARATION.match(text)
    body = text[declared.end() :] if declared else text
    sample = body[:_SAMPLE_CHARACTERS]
    is_escaped = bool(_ESCAPED_QUOTE.search(sample)) and not _DOUBLED_QUOTE.search(sample)
    if declared:
        return Dialect(declared[1], is_escaped), body
    return Dialect(_choose_delimiter(sample, usual), is_escaped), body


def _choose_delimiter(sample: str, usual: str) -> str:
    lines = sample.split("\n")[:_SAMPLE_LINES]
    if len(sample) == _SAMPLE_CHARACTERS and len(lines) > 1:
        lines.pop()  # cut off
    scores = {delimiter: _consistency(lines, delimiter) for delimiter in _DELIMITERS}
    commas = sample.count(",")
    if (
        commas
        and len(_DECIMAL_COMMA.findall(sample)) > _MOSTLY * commas
        and max(scores[";"], scores["\t"])[0] > _MOSTLY
    ):
        del scores[","]
    best = max(scores.values())
    if best[0] == 0:
        return usual
    fitting = [delimiter for delimiter, score in scores.items() if score == best]
    return usual if usual in fitting else fitting[0]


def _consistency(lines: list[str], delimiter: str) -> tuple[float, int]:
    """Return the share of lines that have the most common number of cells, and that number; zeros if it is one."""
    try:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if row)
    except csv.Error:  # a cell over the module's limit
        widths = Counter(line.count(delimiter) + 1 for line in lines if line)
    cells, rows = max(widths.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
    return (round(rows / widths.total(), 1), cells) if cells > 1 else (0, 0)
