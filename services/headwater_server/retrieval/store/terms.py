"""From text to terms for BM25: words, lower-cased and stemmed, as sparse vectors.

The weight of a term in a passage is BM25's saturated term frequency (Robertson and Zaragoza, "The Probabilistic
Relevance Framework: BM25 and Beyond", 2009); the index multiplies it with the inverse document frequency, which only
the index knows. The length of a passage is measured against a fixed one, so that a vector never depends on what else
is in the corpus.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import Stemmer

ANALYSIS_VERSION = 1
"""Grows with every change of what a text's terms or weights are; an index made by another version is rebuilt."""

K1 = 1.2
"""How soon more occurrences of a term stop counting."""
B = 0.75
"""How much a long passage is held against its term frequencies, 0 to 1."""
USUAL_TERMS = 90.0
"""The length of a usual passage in terms (150 words or so, without stop words)."""

_MAX_WORD = 64
_WORD = re.compile(r"[^\W_]+")
_STOP_WORDS = frozenset(
    _WORD.findall("""
    a about above after again against all also am an and any are as at be because been before being below between both
    but by can could did do does doing down during each few for from further had has have having he her here hers
    herself him himself his how i if in into is it its itself just me more most my myself no nor not now of off on once
    only or other our ours ourselves out over own same she should so some such than that the their theirs them
    themselves then there these they this those through to too under until up very was we were what when where which
    while who whom why will with would you your yours yourself yourselves
    """)
)
_english = Stemmer.Stemmer("english", 0)  # not thread-safe; only ever called from the one thread of the index process


@dataclass(frozen=True, slots=True)
class SparseTerms:
    """Terms with their weights: two lists of one length, the ids without repetition."""

    ids: list[int]
    weights: list[float]


@lru_cache(maxsize=65_536)
def _term_id(word: str) -> int:
    """A stable 32-bit id of a word's stem; -1 for a stop word."""
    return -1 if word in _STOP_WORDS else zlib.crc32(_english.stemWord(word).encode())


def _term_ids(text: str) -> Iterator[int]:
    folded = unicodedata.normalize("NFKC", text).lower()
    for word in _WORD.findall(folded):
        identity = _term_id(word[:_MAX_WORD])
        if identity >= 0:
            yield identity


def passage_terms(text: str) -> SparseTerms:
    """The terms of a passage, each weighted by its saturated frequency."""
    counts = Counter(_term_ids(text))
    norm = K1 * (1 - B + B * counts.total() / USUAL_TERMS)
    return SparseTerms(list(counts), [count * (K1 + 1) / (count + norm) for count in counts.values()])


def query_terms(text: str) -> SparseTerms:
    """The terms of a query, each weighted by how often it stands there."""
    counts = Counter(_term_ids(text))
    return SparseTerms(list(counts), [float(count) for count in counts.values()])
