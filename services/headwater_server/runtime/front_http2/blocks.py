"""Where the fields of a block of headers begin (RFC 7541, section 6).

For every literal hpack copies all that follows it in what it is given, so that a large block takes it as long as the
square of its size. Given one field at a time it copies nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

_LONGEST_SHIFT = 28
"""Of integers that hpack reads too."""


def fields_of(data: bytes) -> Iterator[bytes]:
    """Yields each field, and each change of the table's size, as it stands in a block; what is torn comes whole."""
    begin = 0
    while begin < len(data):
        try:
            end = _end(data, begin)
        except IndexError:
            end = len(data)
        yield data[begin:end]
        begin = end


def is_size_update(field: bytes) -> bool:
    """Whether it is no field, but a change of the table's size."""
    return field[0] & 0xE0 == 0x20


def _end(data: bytes, begin: int) -> int:
    first = data[begin]
    if first & 0x80:
        return _integer(data, begin, 7)[1]
    if first & 0xE0 == 0x20:
        return _integer(data, begin, 5)[1]
    index, at = _integer(data, begin, 6 if first & 0x40 else 4)
    if not index:
        at = _after_string(data, at)
    return _after_string(data, at)


def _after_string(data: bytes, at: int) -> int:
    size, at = _integer(data, at, 7)
    return at + size


def _integer(data: bytes, at: int, bits: int) -> tuple[int, int]:
    """An integer with a prefix of so many bits, and what comes after it."""
    most = (1 << bits) - 1
    value = data[at] & most
    at += 1
    if value < most:
        return value, at
    for shift in range(0, _LONGEST_SHIFT + 1, 7):
        byte = data[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError("an integer that is too long")
