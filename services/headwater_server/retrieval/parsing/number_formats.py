"""Numbers as a spreadsheet shows them, by the format codes of its cells (ECMA-376 part 1, 18.8.30 and 18.8.31).

Dates and times are written as ISO 8601 writes them, whatever the order of the format, for it depends on the reader's
country; what the format leaves out (the day, the seconds) is left out. Colours and widths have no part.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

_BUILT_IN = {
    1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 5: '"$"#,##0', 6: '"$"#,##0', 7: '"$"#,##0.00', 8: '"$"#,##0.00',
    9: "0%", 10: "0.00%", 11: "0.00E+00", 14: "m/d/yyyy", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss", 22: "m/d/yy h:mm", 37: "#,##0;(#,##0)", 38: "#,##0;(#,##0)",
    39: "#,##0.00;(#,##0.00)", 40: "#,##0.00;(#,##0.00)", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss", 48: "##0.0E+0",
    **dict.fromkeys((*range(27, 32), 36, *range(50, 55), 57, 58), "yyyy-mm-dd"), **dict.fromkeys((32, 33), "h:mm:ss"),
}  # fmt: skip
_GENERAL = "General"

_TOKEN = re.compile(
    r"""
    "(?P<quoted>[^"]*)"? | \\(?P<escaped>.) | _. | \*. | \[\$(?P<currency>[^\]-]*)[^\]]*\]
    | \[(?P<elapsed>h+|m+|s+)\] | \[(?P<comparison><=|>=|<>|<|>|=)(?P<bound>[+-]?\d{1,30}(?:\.\d{0,30})?)\]
    | \[[^\]]*\] | (?P<ampm>AM/PM|A/P) | (?P<general>General) | (?P<code>.)
    """,
    re.X | re.I | re.S,
)
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<>": operator.ne, "<": operator.lt, ">": operator.gt, "=": operator.eq,
}  # fmt: skip
_DIGITS = frozenset("0#?")
_MAX_CODE = 255  # characters, as in Excel
_MAX_DECIMALS = 30
_MAX_SCALE = 30  # of the power of ten that percent signs multiply with; more digits than `_WIDE` has come of it
_LAST_DAY = 2_958_466  # the first day that is not in the year 9999
_ONE_DAY = 86_400
_LARGEST = 1e30  # larger ones, and what is no number, are not written out
_PRECISION = Context(prec=15, rounding=ROUND_HALF_UP)  # what a spreadsheet computes with
_WIDE = Context(prec=100, rounding=ROUND_HALF_UP)


def built_in_code(number: int) -> str:
    """Return the format code that a number stands for without the workbook saying so."""
    return _BUILT_IN.get(number, _GENERAL)


def format_number(value: float, code: str, *, from_1904: bool = False) -> str:
    """Return a number as a cell of this format shows it.

    Args:
        value: The number; of a date, the days since the epoch.
        code: The format code, such as `0.0%` or `yyyy-mm-dd`.
        from_1904: Whether the workbook counts days from 1904 rather than 1900.
    """
    if not code or not abs(value) < _LARGEST:
        return _general(value)
    sections = _sections(code[:_MAX_CODE])
    section = next((section for section in sections if section.condition.holds(value)), None)
    if section is None or section.scale > _MAX_SCALE:
        return _general(value)
    if section.letters or section.elapsed:
        return _moment(value, section, from_1904=from_1904) or _general(value)
    return _number(abs(value) if section.condition.implies_sign else value, section)


def plain_number(text: str) -> str:
    """Return a number written with all its binary digits as a spreadsheet shows it; another text as it is."""
    try:
        value = float(text)
    except ValueError:
        return text
    return _general(value) if "." in text or "e" in text.lower() else text


@dataclass(frozen=True, slots=True)
class _Condition:
    """What a number must be like for a part of a format code to be used."""

    comparison: str = ""
    """Empty: any number will do."""
    bound: float = 0.0
    implies_sign: bool = False
    """Whether the part is for negative numbers by its place: it then has the sign that they are to have, if any."""

    def holds(self, value: float) -> bool:
        """Whether a number is like that."""
        return not self.comparison or _COMPARISONS[self.comparison](value, self.bound)


_ANY = _Condition()
_NEGATIVE = _Condition("<", implies_sign=True)


@dataclass(frozen=True, slots=True)
class _Section:
    """One of the up to four parts of a format code: for positive numbers, negative ones, zero, and text."""

    condition: _Condition
    letters: str
    """Of the placeholders of dates and times, in lower case."""
    elapsed: str
    """The letter of a time that is not of a day, such as of `[h]:mm`."""
    is_general: bool
    prefix: str
    suffix: str
    digits: tuple[str, ...]
    """The placeholders from the first to the last; a literal among them is marked with a leading quote."""
    decimals: tuple[int, int]
    """How many there are at least and at most."""
    scale: int
    """The power of ten to multiply with: a percent sign is worth two, a trailing comma minus three."""
    is_scientific: bool


@lru_cache(maxsize=1000)
def _sections(code: str) -> tuple[_Section, ...]:
    parts = _split_sections(code)[:3]
    return tuple(_parse_section(part, condition) for part, condition in zip(parts, _conditions(parts), strict=True))


def _conditions(parts: Sequence[str]) -> list[_Condition]:
    """Return when each part is used: where its condition holds, and else by its place. The first that holds counts."""
    written = [_written_condition(part) for part in parts]
    by_place = {
        1: [_ANY],
        2: [_Condition(">="), _ANY if any(written) else _NEGATIVE],
        3: [_Condition(">"), _NEGATIVE, _ANY],
    }[len(parts)]
    return [own or implied for own, implied in zip(written, by_place, strict=True)]


def _written_condition(code: str) -> _Condition | None:
    found = next((token for token in _TOKEN.finditer(code) if token["comparison"]), None)
    return _Condition(found["comparison"], float(found["bound"])) if found else None


def _split_sections(code: str) -> list[str]:
    parts = [""]
    for token in _TOKEN.finditer(code):
        if token["code"] == ";":
            parts.append("")
        else:
            parts[-1] += token[0]
    return parts


def _parse_section(code: str, condition: _Condition) -> _Section:
    mask: list[str] = []
    letters = elapsed = ""
    is_general = False
    for token in _TOKEN.finditer(code):
        character = token["code"] or ""
        if literal := token["quoted"] or token["escaped"] or token["currency"]:
            mask.append(f'"{literal}')
        elif token["elapsed"]:
            elapsed = elapsed or token["elapsed"][0].lower()
        elif token["general"]:
            is_general = True
        elif token["ampm"] or character.lower() in {*"ymdhs"}:
            letters += "h" if token["ampm"] else character.lower()
        elif character:
            mask.append(character if character in "0#?,.%Ee/@" else f'"{character}')
    places = [index for index, item in enumerate(mask) if item in _DIGITS] or [len(mask)]
    digits, tail = tuple(mask[places[0] : places[-1] + 1]), tuple(mask[places[-1] + 1 :])
    exponent = _first(digits, "Ee")
    return _Section(
        condition,
        letters,
        elapsed,
        is_general or "@" in mask or "/" in mask,
        _literals(mask[: places[0]]),
        _literals(tail),
        digits,
        _decimals(digits[:exponent]),
        2 * mask.count("%") - 3 * next((index for index, item in enumerate(tail) if item != ","), len(tail)),
        exponent < len(digits),
    )


def _general(value: float) -> str:
    if abs(value) < 1e15 and value == int(value):
        return str(int(value))
    return f"{value:.15g}"


def _moment(value: float, section: _Section, *, from_1904: bool) -> str:
    """Return a date or time; empty if the number is none."""
    if section.elapsed:
        return _elapsed(value, section)
    if not 0 <= value < _LAST_DAY:
        return ""
    epoch = datetime(1904, 1, 1) if from_1904 else datetime(1899, 12, 30 if value >= 60 else 31)
    try:
        moment = epoch + timedelta(seconds=round(value * _ONE_DAY))
    except OverflowError:
        return ""
    has_time = "h" in section.letters or "s" in section.letters
    has_date = "y" in section.letters or "d" in section.letters or not has_time
    parts = []
    if has_date and (value >= 1 or not has_time):
        parts.append(_date(moment, section.letters))
    if has_time:
        seconds = "s" in section.letters
        parts.append(moment.strftime(("%H:%M:%S" if seconds else "%H:%M") if "h" in section.letters else "%M:%S"))
    return " ".join(parts)


def _date(moment: datetime, letters: str) -> str:
    if "d" in letters or "y" not in letters:
        return moment.date().isoformat()
    return f"{moment.year:04}-{moment.month:02}" if "m" in letters else f"{moment.year:04}"


def _elapsed(value: float, section: _Section) -> str:
    seconds = round(abs(value) * _ONE_DAY)
    sign = "-" if value < 0 else ""
    if section.elapsed == "s":
        return f"{sign}{seconds}"
    minutes, seconds = divmod(seconds, 60)
    tail = f":{seconds:02}" if "s" in section.letters else ""
    if section.elapsed == "m":
        return f"{sign}{minutes}{tail}"
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02}{tail}" if "m" in section.letters or tail else f"{sign}{hours}"


def _number(value: float, section: _Section) -> str:
    if section.is_general:
        return _general(value)
    if not section.digits:
        return section.prefix
    if section.is_scientific:
        return f"{section.prefix}{value:.{section.decimals[1]}E}{section.suffix}"
    number = _PRECISION.create_decimal(repr(value)).scaleb(section.scale, _WIDE)
    text = _digits(abs(number), section)
    sign = "-" if number < 0 and text.strip("0.,") else ""
    return f"{sign}{section.prefix}{text}{section.suffix}".strip()


def _literals(items: Iterable[str]) -> str:
    return "".join(item[1:] if item.startswith('"') else "%" * (item == "%") for item in items)


def _first(items: Sequence[str], characters: str) -> int:
    return next((index for index, item in enumerate(items) if item in characters), len(items))


def _decimals(digits: Sequence[str]) -> tuple[int, int]:
    behind = [item for item in digits[_first(digits, ".") + 1 :] if item in _DIGITS][:_MAX_DECIMALS]
    return len(behind) - behind.count("#"), len(behind)


def _digits(number: Decimal, section: _Section) -> str:
    fewest, most = section.decimals
    rounded = number.quantize(Decimal(1).scaleb(-most), context=_WIDE)
    whole, _, fraction = f"{rounded:f}".partition(".")
    fraction = fraction[:fewest] + fraction[fewest:].rstrip("0")
    before = section.digits[: _first(section.digits, ".")]
    whole = whole.lstrip("0").rjust(before.count("0"), "0")
    if any(item.startswith('"') for item in before):
        whole = _masked(whole, before)
    elif "," in before:
        whole = f"{int(whole):,}" if whole and not whole.startswith("0") else whole
    return f"{whole}.{fraction}" if fraction else whole


def _masked(whole: str, mask: tuple[str, ...]) -> str:
    """Return digits with the literals that stand between them, as in `000-00-0000`."""
    rest = list(whole)
    out: list[str] = []
    for item in reversed(mask):
        if item.startswith('"'):
            out.append(item[1:])
        elif item in _DIGITS and rest:
            out.append(rest.pop())
    return "".join((*rest, *reversed(out)))
