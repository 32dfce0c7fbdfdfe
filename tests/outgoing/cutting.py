"""Bodies, cut into pieces."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator


def cut(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The body, cut before these bytes."""
    bounds = [0, *sorted({min(position, len(body)) for position in cuts}), len(body)]
    return [body[begin:end] for begin, end in itertools.pairwise(bounds)]


def by_byte(body: bytes) -> Iterator[bytes]:
    """The body in pieces of one byte."""
    return (body[index : index + 1] for index in range(len(body)))
