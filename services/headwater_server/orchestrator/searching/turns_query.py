"""A query made of a prompt and the prompts before it, without a model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from headwater_server.languages.detection import language_of
from headwater_server.languages.stop_words import STOP_WORDS

MAX_PROMPTS = 4
"""How far back a conversation's subject is looked for."""
MAX_ADDED = 6
"""How many words are added to a prompt."""

_WHOLE = 5
"""So many words with a meaning of their own make a prompt that stands alone, whatever it points to."""
_SCANT = 2
"""So few do not."""
_LONGEST = 2_000
"""Characters of a prompt that are looked at: what is longer stands alone."""
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

_FIRST_WORDS = """
    a ale nebo tak og men eller så und oder aber also dann and but or then so y o pero entonces ja mutta tai et ou mais
    donc alors és de vagy e ma oppure quindi en maar of dus i lub więc mas então și dar sau och ve ama veya
"""
_BACK_WORDS = """
    it its they them their theirs those these he him his she hers same former latter dazu davon dafür dabei darauf
    damit daran ihn ihm ihnen deren dessen il elle ils elles lui leur leurs cela ça ceux celles ello ellos ellas esos
    esas ellos suyo essi esse loro questo quello hij zij hun daarvan daarvoor hiervoor eles elas isso disso
"""
_GOES_ON = frozenset(_FIRST_WORDS.split())
"""First words of prompts that go on ("And", "But", "Or", "So"), of a dozen languages."""
_POINTS_BACK = frozenset(_BACK_WORDS.split())
"""Words that point to what was said, and hardly ever to what follows."""


def query_of_turns(earlier: Sequence[str], prompt: str) -> str:
    """The prompt, and behind it what it leaves out of the prompts before it; a prompt that stands alone as it is.

    Whether it does is told by its words: those with a meaning of their own (no stop words), those that point back
    ("it", "those"), and its first ("and"). What is added are the words with a meaning of the prompt before it, first
    its own, then what that one left out itself, a few at most.

    Args:
        earlier: The prompts before it, oldest first.
        prompt: The prompt.
    """
    added = _subject([*earlier[-MAX_PROMPTS:], prompt])[1]
    return f"{prompt.rstrip()} {' '.join(added)}" if added else prompt


def _subject(prompts: Sequence[str]) -> tuple[list[str], list[str]]:
    """What the last of some prompts is about: its own words with a meaning, and those that it leaves out."""
    *before, prompt = prompts
    words = _words(prompt)
    own = list(_meaningful(words))
    if not before or not _leaves_out(words, own):
        return own, []
    added: list[str] = []
    said = {_stem(word) for word in own}
    for word in (word for part in _subject(before) for word in part):
        if _stem(word) not in said and len(added) < MAX_ADDED:
            said.add(_stem(word))
            added.append(word)
    return own, added


def _leaves_out(words: Sequence[str], own: Sequence[str]) -> bool:
    if len(own) <= _SCANT:
        return True
    if words[0] in _GOES_ON:
        return True
    return len(own) < _WHOLE and any(word in _POINTS_BACK for word in words)


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text[:_LONGEST]).lower())


def _meaningful(words: Sequence[str]) -> Iterator[str]:
    language = language_of(words)
    lists = [STOP_WORDS.get(language, frozenset())] if language else list(STOP_WORDS.values())
    return (word for word in dict.fromkeys(words) if not any(word in stop_words for stop_words in lists))


def _stem(word: str) -> str:
    """What two forms of a word share, roughly."""
    return word[: max(4, len(word) - 2)]
