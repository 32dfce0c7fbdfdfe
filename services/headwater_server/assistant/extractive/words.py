"""Words, as they are compared: lower case, stemmed, without those that say nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import Stemmer

_TOKEN = re.compile(r"(?P<wide>[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+)|[^\W_]+")
_APOSTROPHE = re.compile(r"['’](?:s|t|re|ve|ll|d|m)\b")
_NEGATED = re.compile(r"un(?!i|de|til|less|it)[a-z]{4,}")
_STOP_WORDS = """
a about all also am an and any are as at be been being but by can could did do does doing for from had has have
having he her here hers him his how i if in into is it its just may me might more most must my no nor not of on one
or other our ours out own please shall she should so some such than that the their theirs them then there these they
this those to under up us very was we were what when where whether which while who whom whose why will with would
you your yours happen mean tell explain describe give find know need get got say says
"""


class Words:
    """Splits texts into stems. One object serves one thread."""

    def __init__(self) -> None:
        self._stemmer = Stemmer.Stemmer("english")
        self._stop = frozenset(self._stemmer.stemWords(_STOP_WORDS.split()))

    def stems(self, text: str) -> list[str]:
        """All stems of a text, in order. Of Chinese and Japanese, pairs of characters."""
        words = list(_tokens(_APOSTROPHE.sub("", text.lower())))
        stems: list[str] = self._stemmer.stemWords(words)
        return stems

    def content(self, text: str) -> list[str]:
        """The stems that say something, in order."""
        return self.saying(self.stems(text))

    def saying(self, stems: Iterable[str]) -> list[str]:
        """Those of the stems that say something, in order."""
        return [stem for stem in stems if stem not in self._stop]


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        token = match[0]
        if match["wide"] and len(token) > 1:
            yield from (token[index : index + 2] for index in range(len(token) - 1))
        else:
            yield token
            if _NEGATED.match(token):
                yield token[2:]  # "unused" is also "not used"
