"""Cutting texts into requests that an API takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_BYTES_A_TOKEN = 3
"""English has some 4 bytes a token and Chinese 3, so this estimates more tokens than there are rather than fewer."""


def estimated_tokens(text: str) -> int:
    """About how many tokens a model makes of a text; rather too many."""
    return len(text.encode(errors="replace")) // _BYTES_A_TOKEN + 1


def batches(texts: Sequence[str], *, max_texts: int, max_tokens: int) -> Iterator[range]:
    """The positions of the texts of each request, in order: as few requests as the limits allow without reordering.

    A text that is above `max_tokens` by itself gets a request of its own.
    """
    start, tokens = 0, 0
    for position, text in enumerate(texts):
        size = estimated_tokens(text)
        if position > start and (position - start == max_texts or tokens + size > max_tokens):
            yield range(start, position)
            start, tokens = position, 0
        tokens += size
    if start < len(texts):
        yield range(start, len(texts))
