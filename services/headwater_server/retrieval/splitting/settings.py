"""How long passages are."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PASSAGE_BYTES = 16 * 1024
"""A passage's text in UTF-8 is never longer: it is the bound on a source's content."""

_MAX_BYTES_A_CHARACTER = 4
_FEWEST_CHARACTERS = 50


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """How long passages are, in characters.

    The default suits an embedding model that reads 256 word pieces: 1,000 characters of English are 200 to 250.
    """

    max_characters: int = 1000
    """No passage is longer. From 50 to 4,096, so that it fits `MAX_PASSAGE_BYTES` in any script."""
    overlap_characters: int = 0
    """At most so many characters of a passage's end begin the next as well, where the text goes on; at most half of
    `max_characters`. Passages end between sentences or paragraphs wherever they can, so there is little to gain."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be kept.

        Raises:
            ValueError: A size is out of its bounds.
        """
        longest = MAX_PASSAGE_BYTES // _MAX_BYTES_A_CHARACTER
        if not _FEWEST_CHARACTERS <= self.max_characters <= longest:
            raise ValueError(f"max_characters must be from {_FEWEST_CHARACTERS} to {longest}")
        if not 0 <= self.overlap_characters <= self.max_characters // 2:
            raise ValueError("overlap_characters must be from 0 to half of max_characters")
