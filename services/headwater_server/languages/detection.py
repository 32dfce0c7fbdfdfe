"""Which language a text is in, by its stop words.

Function words are a fifth of any prose and hardly shared between languages, which is enough to tell the languages that
we have stop words of apart; nothing is loaded, and a passage costs some microseconds. A text of too few words, or of a
language that we do not know, is in none: its stems are then those of its document's other passages, or of English.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from headwater_server.languages.stop_words import STOP_WORDS

MOST_WORDS = 400
"""So many words of a text are looked at; more make no difference."""
_LEAST_EVIDENCE = 1.0
_LEAST_LEAD = 1.2
"""How many times as much evidence the language needs as the next."""


def _languages_by_word() -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for language, words in STOP_WORDS.items():
        for word in words:
            found[word].append(language)
    return {word: tuple(languages) for word, languages in found.items()}


_LANGUAGES = _languages_by_word()


def language_of(words: Sequence[str]) -> str:
    """The language of a text.

    Args:
        words: The text's words, in lower case.

    Returns:
        An ISO 639-1 code; empty where it cannot be told.
    """
    evidence: dict[str, float] = {}
    for word in words[:MOST_WORDS]:
        for language in (languages := _LANGUAGES.get(word, ())):
            # A word of several languages says less of each.
            evidence[language] = evidence.get(language, 0.0) + 1 / len(languages)
    most, best = max(((much, language) for language, much in evidence.items()), default=(0.0, ""))
    next_most = max((much for language, much in evidence.items() if language != best), default=0.0)
    return best if most >= max(_LEAST_EVIDENCE, _LEAST_LEAD * next_most) else ""


def with_neighbours(languages: Iterable[str]) -> list[str]:
    """The languages of a document's passages, where those that could not be told are those of most of the others."""
    told = list(languages)
    known = Counter(language for language in told if language)
    usual = known.most_common(1)[0][0] if known else ""
    return [language or usual for language in told]
