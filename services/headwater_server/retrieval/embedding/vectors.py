"""Vectors that came from outside, made what an embedder promises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater_server.retrieval.embedding.apis.protocol import MalformedAnswer
from headwater_server.retrieval.embedding.protocol import Vectors


def unit_vectors(rows: Sequence[object], *, dimension: int | None) -> Vectors:
    """The rows as vectors of length 1.

    Args:
        rows: At least one, each a list of numbers.
        dimension: How many components each must have; None: as many as the first has.

    Raises:
        MalformedAnswer: A row is something else, has another dimension, a component that is no finite number, or no
            direction.
    """
    if not all(isinstance(row, list) and row and all(type(number) in {float, int} for number in row) for row in rows):
        raise MalformedAnswer("an embedding that is no list of numbers")
    lengths = {len(row) for row in rows if isinstance(row, list)}
    expected = dimension or min(lengths)
    if lengths != {expected}:
        found = ", ".join(map(str, sorted(lengths)))
        raise MalformedAnswer(f"vectors of {found} components where {expected} were expected")
    try:
        vectors = np.array(rows, dtype=np.float64)
    except OverflowError:
        raise MalformedAnswer("an embedding with a number that is too large") from None
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        raise MalformedAnswer("an embedding that is not finite")
    if (norms < np.finfo(np.float32).tiny).any():
        raise MalformedAnswer("an embedding of length 0")
    unit: Vectors = (vectors / norms).astype(np.float32)
    return unit
