"""Folding hits that say nearly the same: a document imported under two names, a notice that stands in many."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from headwater_server.retrieval.store.protocol import Hit

LEAST_RESEMBLANCE = 0.9
"""The least share of common word triples: one word of a hundred may be another.

Resemblance by shingles: Broder, "On the resemblance and containment of documents", 1997.
"""

_SHINGLE = 3
_LENGTHS_APART = 0.15
_COSINES_APART = 0.05
_PIECE = 24  # characters
_PIECES = 6
_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")
_CONTRACTED_NOT = re.compile(r"n['’ʼ]t$")
_WORD_OR_CONTRACTION = re.compile(r"\w+n['’]t\b|\w+")
_REVERSING = frozenset(
    _WORD.findall("""
    no not never none nothing nobody nowhere neither nor without only except cannot
    nicht kein keine keinen nie ohne nur außer ne pas jamais sans sauf
    nunca sin salvo non mai senza tranne niet geen nooit zonder não sem inte aldrig utan ikke aldri uten bez не нет без
    никогда
    """)
)


@dataclass(frozen=True)
class _Text:
    """A hit's words, looked at only when another hit is like it at first sight."""

    hit: Hit

    @cached_property
    def plain(self) -> str:
        """The text in small letters, with single blanks."""
        return " ".join(self.hit.text.casefold().split())

    @cached_property
    def pieces(self) -> Sequence[str]:
        """Some pieces of the text: of two texts that say nearly the same, one has some of the other's."""
        last = max(0, len(self.plain) - _PIECE)
        return [self.plain[last * part // _PIECES :][:_PIECE] for part in range(_PIECES + 1)]

    @cached_property
    def words(self) -> Sequence[str]:
        return _WORD.findall(self.plain)

    @cached_property
    def telling(self) -> Sequence[str]:
        """The numbers, and every "not", in their order: a single one may turn what the other words say around."""
        return [word for word in _WORD_OR_CONTRACTION.findall(self.plain) if _is_telling(word)]

    @cached_property
    def shingles(self) -> frozenset[tuple[str, ...]]:
        words = self.words
        return frozenset(tuple(words[at : at + _SHINGLE]) for at in range(max(1, len(words) - _SHINGLE + 1)))

    def says_nearly_what(self, other: _Text) -> bool:
        """Whether this hit adds nothing to the other."""
        if self.hit.text == other.hit.text:
            return True
        return self._is_like(other) and self.telling == other.telling and self._resembles(other)

    def _is_like(self, other: _Text) -> bool:
        one, two = len(self.hit.text), len(other.hit.text)
        if abs(one - two) > _LENGTHS_APART * max(one, two):
            return False
        near, far = self.hit.cosine, other.hit.cosine
        if near is not None and far is not None and abs(near - far) > _COSINES_APART:
            return False
        return any(piece in other.plain for piece in self.pieces)

    def _resembles(self, other: _Text) -> bool:
        common = len(self.shingles & other.shingles)
        return common >= LEAST_RESEMBLANCE * (len(self.shingles) + len(other.shingles) - common)


def _is_telling(word: str) -> bool:
    return word in _REVERSING or bool(_DIGIT.search(word) or _CONTRACTED_NOT.search(word))


def without_duplicates(hits: Iterable[Hit]) -> list[Hit]:
    """The hits without those that say nearly what a better one says.

    Args:
        hits: Best first.
    """
    kept: list[_Text] = []
    for hit in hits:
        text = _Text(hit)
        if not any(text.says_nearly_what(better) for better in kept):
            kept.append(text)
    return [text.hit for text in kept]
