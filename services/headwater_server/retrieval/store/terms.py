"""From text to terms for BM25: words, lower-cased and stemmed by language, as sparse vectors.

The weight of a term in a passage is BM25's saturated term frequency (Robertson and Zaragoza, "The Probabilistic
Relevance Framework: BM25 and Beyond", 2009); the index multiplies it with the inverse document frequency, which only
the index knows. The length of a passage is measured against a fixed one, so that a vector never depends on what else
is in the corpus.

Scripts that put no spaces between words (Chinese, Japanese, Thai and its neighbours; Korean glues its particles to
them) are cut into pairs of characters, which overlap: no dictionary, and no word is missed.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import Stemmer

from headwater_server.languages.detection import language_of
from headwater_server.languages.stop_words import STOP_WORDS

ANALYSIS_VERSION = 2
"""Grows with every change of what a text's terms or weights are; an index made by another version is rebuilt."""

K1 = 1.2
"""How soon more occurrences of a term stop counting."""
B = 0.75
"""How much a long passage is held against its term frequencies, 0 to 1."""
USUAL_TERMS = 90.0
"""The length of a usual passage in terms (150 words or so, without stop words)."""

DEFAULT_LANGUAGE = "en"
"""What a text is taken for whose language cannot be told."""
MOST_QUERY_WORDS = 1_024
"""The words of a query that count; a longer one is cut."""

_MAX_WORD = 64
_STEMMERS = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "nb": "norwegian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
_KNOWN = frozenset(Stemmer.algorithms())

# What `\w` lacks: vowel signs and the like, which stand inside words from Arabic to Khmer.
_MARKS = "".join(
    re.escape(chr(code)) for code in range(0x300, 0x1B00) if unicodedata.category(chr(code)) in {"Mn", "Mc"}
)
_WORD = re.compile(f"[\\w{_MARKS}]+")
_UNSPACED = re.compile(
    "["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Myanmar, Khmer
    "\u1100-\u11ff\uac00-\ud7af"  # Hangul
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # Kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Han
    "]+"
)


@dataclass(frozen=True, slots=True)
class SparseTerms:
    """Terms with their weights: two lists of one length, the ids without repetition."""

    ids: list[int]
    weights: list[float]


def analysis_languages() -> frozenset[str]:
    """The languages that have a stemmer or stop words of their own, as ISO 639-1 codes."""
    return frozenset(STOP_WORDS) | {language for language, name in _STEMMERS.items() if name in _KNOWN}


def detected_language(text: str) -> str:
    """The language of a text, an ISO 639-1 code; empty where it cannot be told."""
    return language_of(_words(text))


def passage_terms(text: str, *, language: str = "") -> SparseTerms:
    """The terms of a passage, each weighted by its saturated frequency.

    Args:
        text: The passage.
        language: An ISO 639-1 code; empty: detected.
    """
    words = _words(text)
    language = language or language_of(words) or DEFAULT_LANGUAGE
    counts = Counter(identity for word in words for identity in _term_ids(word, language))
    norm = K1 * (1 - B + B * counts.total() / USUAL_TERMS)
    return SparseTerms(list(counts), [count * (K1 + 1) / (count + norm) for count in counts.values()])


def query_terms(text: str, *, languages: Collection[str] = ()) -> SparseTerms:
    """The terms of a query, each weighted by how often it stands there.

    A word is stemmed in every one of the languages, since a passage has the stems of its own. What is a stop word in
    the query's language is none; where that cannot be told, what is a stop word in any of the languages.

    Args:
        text: The query.
        languages: The languages of the passages, as ISO 639-1 codes; empty: that of the query.
    """
    words = _words(text)[:MOST_QUERY_WORDS]
    if len(languages) == 1:
        (language,) = languages
        counts = Counter(identity for word in words for identity in _term_ids(word, language))
    else:
        own = language_of(words)
        counts = _counts_in_all(words, languages or [own or DEFAULT_LANGUAGE], own=own)
    return SparseTerms(list(counts), [float(count) for count in counts.values()])


def _counts_in_all(words: Sequence[str], languages: Collection[str], *, own: str) -> Counter[int]:
    stop_words = [STOP_WORDS.get(language, frozenset()) for language in ([own] if own else languages)]
    counts: Counter[int] = Counter()
    for word in words:
        if not any(word in some for some in stop_words):
            counts.update({identity for language in languages for identity in _term_ids(word, language)})
    return counts


def _words(text: str) -> list[str]:
    words: list[str] = _WORD.findall(unicodedata.normalize("NFKC", text).lower().replace("_", " "))
    return words


@lru_cache(maxsize=131_072)
def _term_ids(word: str, language: str) -> Sequence[int]:
    """Stable 32-bit ids of what a word is searched by: its stem, or pairs of characters; none for a stop word."""
    if word in STOP_WORDS.get(language, ()):
        return ()
    return tuple(zlib.crc32(piece.encode()) for piece in _pieces(word[:_MAX_WORD], language))


def _pieces(word: str, language: str) -> Iterator[str]:
    start = 0
    for run in _UNSPACED.finditer(word):
        yield from _stems(word[start : run.start()], language)
        characters = run.group()
        yield from (characters[at : at + 2] for at in range(max(1, len(characters) - 1)))
        start = run.end()
    yield from _stems(word[start:], language)


def _stems(word: str, language: str) -> Iterator[str]:
    if word:
        stemmer = _stemmer(language)
        yield stemmer.stemWord(word) if stemmer else word


@lru_cache
def _stemmer(language: str) -> Stemmer.Stemmer | None:
    """The stemmer of a language; not thread-safe, as it is only called from the one thread of the index process."""
    name = _STEMMERS.get(language, "")
    return Stemmer.Stemmer(name, 0) if name in _KNOWN else None
