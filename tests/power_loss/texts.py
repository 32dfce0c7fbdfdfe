"""The documents that are imported: each edition of each tells in every paragraph which it is."""

from __future__ import annotations

_PARAGRAPHS = 8
_ABOUT = "the harbour master counts barrels of herring and coils of rope before the evening tide comes in again"


def word_of(document: int, edition: int) -> str:
    """A word that no other edition of any document has."""
    return f"edition{document:03d}x{edition:04d}"


def text_of(document: int, edition: int) -> str:
    """The text of an edition; of several passages."""
    word = word_of(document, edition)
    return "\n\n".join(f"In {word} paragraph {number} {_ABOUT} {_ABOUT}." for number in range(_PARAGRAPHS))
