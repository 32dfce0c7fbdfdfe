"""What an argument must be, checked before protobuf sees it, so that the error names the argument."""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import index
from typing import TypeVar

from headwater._exceptions import ArgumentError

Item = TypeVar("Item")


def required_text(name: str, value: str) -> str:
    """The string, if it is one that UTF-8 can hold.

    Raises:
        ArgumentError: It is no string, or has lone surrogates.
    """
    if not isinstance(value, str):
        raise wrong_type(name, "a string", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"{name} is a string without lone surrogates: {reprlib.repr(value)}") from None
    return value


def text(name: str, value: str | None) -> str:
    """The string, or the empty one for None, which is how the wire leaves a string unset.

    Raises:
        ArgumentError: It is no string, or has lone surrogates.
    """
    return "" if value is None else required_text(name, value)


def items(name: str, values: Iterable[Item] | None) -> list[Item]:
    """The values as a list, none for None. One string is not taken for a list of characters.

    Raises:
        ArgumentError: It is no list, but one string or one other value.
    """
    if values is None:
        return []
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise wrong_type(name, "a list", values)
    return list(values)


def texts(name: str, values: Iterable[str] | None) -> list[str]:
    """The strings as a list, none for None.

    Raises:
        ArgumentError: It is no list, or holds what is no string.
    """
    if isinstance(values, str):
        raise ArgumentError(f"{name} is a list of strings, not one string")
    return [required_text(f"{name}[{place}]", value) for place, value in enumerate(items(name, values))]


def labels(values: Mapping[str, str] | None) -> dict[str, str]:
    """The labels as a dict, none for None.

    Raises:
        ArgumentError: It is no mapping of strings to strings.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise wrong_type("labels", "a mapping of strings to strings", values)
    return {
        required_text("a key of labels", key): required_text(f"labels[{key!r}]", value) for key, value in values.items()
    }


def whole(name: str, value: int | None, least: int, most: int) -> int | None:
    """The whole number, which is in its range, or None.

    Raises:
        ArgumentError: It is no whole number, or out of its range.
    """
    if value is None:
        return None
    try:
        number = index(value)
    except TypeError:
        raise wrong_type(name, "a whole number", value) from None
    if isinstance(value, bool) or not least <= number <= most:
        raise ArgumentError(f"{name} is a whole number from {least} to {most}: {value}")
    return number


def real(name: str, value: object) -> float | None:
    """The number, or None. Its range is the server's to check.

    Raises:
        ArgumentError: It is no number, or one that no float can hold.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise wrong_type(name, "a number", value)
    try:
        return float(value)
    except OverflowError:
        raise ArgumentError(f"{name} is a number that a float can hold: {reprlib.repr(value)}") from None


def page(page_size: int) -> int:
    """The size of a page, 0 for as the server likes.

    Raises:
        ArgumentError: It is no whole number, or below 0. Above 1,000 the server says what it thinks of it.
    """
    return whole("page_size", page_size, 0, 2**31 - 1) or 0


def truth(name: str, value: bool) -> bool:
    """The truth value.

    Raises:
        ArgumentError: It is something else.
    """
    if not isinstance(value, bool):
        raise wrong_type(name, "True or False", value)
    return value


def wrong_type(name: str, expected: str, value: object) -> ArgumentError:
    """The error for an argument of another type than it must have."""
    return ArgumentError(f"{name} is {expected}, not {type(value).__name__}: {reprlib.repr(value)}")


@contextmanager
def making(what: str) -> Iterator[None]:
    """Turns what protobuf refuses, and no check above has named, into an `ArgumentError`.

    Raises:
        ArgumentError: What the body raised, or made of its TypeError, ValueError or OverflowError.
    """
    try:
        yield
    except ArgumentError:
        raise
    except (TypeError, ValueError, OverflowError) as error:  # UnicodeEncodeError is a ValueError
        raise ArgumentError(f"{what} cannot be made of these arguments: {error}") from error
