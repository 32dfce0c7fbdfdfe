"""`--metadata key=value`: values with types, as filters compare them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime

from headwater._cli.failures import USAGE, CommandFailed
from headwater._values import MetadataInput

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+)([eE][+-]?[0-9]+)?")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*(Z|[+-]\d{2}:?\d{2})")
_INT64 = range(-(2**63), 2**63)


def parse_metadata(pairs: Iterable[str]) -> dict[str, MetadataInput]:
    """Reads `key=value` and `key:=json` pairs.

    `key=value` takes a whole number, a number, `true` or `false`, or a timestamp of ISO 8601 with its zone for what it
    looks like, and anything else for a string. `key:=json` says the type itself: a string, a number, a truth value or
    a list of strings, such as `isbn:="0131103628"`.

    Raises:
        CommandFailed: A pair has no key or is not of this form; the message names it.
    """
    values: dict[str, MetadataInput] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        typed = key.endswith(":")
        key = key.removesuffix(":") if typed else key
        if not equals or not 1 <= len(key.encode()) <= 64:
            raise CommandFailed(f"metadata is key=value, with a key of 1 to 64 bytes: {pair!r}", code=USAGE)
        values[key] = _from_json(pair, text) if typed else _guessed(text)
    return values


def _guessed(text: str) -> MetadataInput:
    if text in {"true", "false"}:
        return text == "true"
    if _INTEGER.fullmatch(text) and int(text) in _INT64:
        return int(text)
    if _NUMBER.fullmatch(text) and abs(float(text)) != float("inf"):
        return float(text)
    if _TIMESTAMP.fullmatch(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:  # a day that no month has
            return text
    return text


def _from_json(pair: str, text: str) -> MetadataInput:
    try:
        value = json.loads(text, parse_constant=_refused)
    except ValueError as error:
        raise CommandFailed(f'after := comes JSON, such as "text" or ["a", "b"]: {pair!r}', code=USAGE) from error
    match value:
        case str() | bool() | int() | float():
            return value
        case list() if all(isinstance(item, str) for item in value):
            return list(value)
        case _:
            raise CommandFailed(
                f"metadata is a string, a number, true or false, or a list of strings: {pair!r}", code=USAGE
            )


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no number")
