"""The sentences of the sources that could stand in an answer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from headwater_server.assistant.extractive.words import Words
from headwater_server.assistant.protocol import Source
from headwater_server.assistant.sentences import Kind, Sentence, sentences

MAX_CANDIDATES = 20_000
"""How many are looked at: more than a hundred large sources have, if they are written in sentences of the usual length.
Of what is cut into smaller pieces, the best sources' are."""
MAX_CHARACTERS = 700
_MIN_WORDS = 4
_MAX_ITEMS = 6
_MAX_LISTED = 900
_DEPENDENT = re.compile(
    r"(?:this|that|these|those|it|they|them|he|she|such|its|their|his|her|then|also|however|therefore|thus|hence|"
    r"otherwise|moreover|furthermore|additionally|instead|but|and|or|so|in addition|as a result|for example|"
    r"for instance|if so|if not|the (?:former|latter|same|above|following)|both|neither)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence of a source, with what it needs to be understood."""

    source: int
    """The index of its source, best first."""
    order: int
    """Its place among the sentences of its source."""
    start: int
    end: int
    text: str
    """Its words, with every run of white space as one blank."""
    kind: Kind
    stems: frozenset[str]
    length: int
    """How many words it has."""
    context: frozenset[str]
    """Stems of what it stands under: headings and title."""
    before: Candidate | None = field(repr=False)
    """The sentence before it in the same block, or the line that introduces its list."""
    depends: bool
    """Whether it begins with a word that points back, so that it cannot stand alone."""
    items: tuple[Candidate, ...] = field(default=(), repr=False)
    """The items of the list that it introduces."""


def candidates(sources: Sequence[Source], words: Words, *, step: Callable[[], None]) -> list[Candidate]:
    """The candidates, source by source, in the order of the text.

    Args:
        sources: The sources, best first.
        words: Splits their texts.
        step: Called for each sentence; whatever it raises ends the work.
    """
    found: list[Candidate] = []
    for index, source in enumerate(sources):
        made = islice(_of_source(index, source, words, step), MAX_CANDIDATES - len(found))
        found += _with_items(list(made))
        if len(found) == MAX_CANDIDATES:
            break
    return found


def _of_source(index: int, source: Source, words: Words, step: Callable[[], None]) -> Iterator[Candidate]:
    reader = _Reader(index, source, words)
    for order, sentence in enumerate(sentences(source.text)):
        step()
        if candidate := reader.read(order, sentence):
            yield candidate


class _Reader:
    """Makes the candidates of one source, and remembers what each one stands under."""

    def __init__(self, index: int, source: Source, words: Words) -> None:
        self._index = index
        self._source = source
        self._words = words
        self._above = frozenset(words.content(f"{source.title} {source.heading}"))
        self._heading: frozenset[str] = frozenset()
        self._introduction: Candidate | None = None
        self._last: tuple[int, Candidate] | None = None  # the last candidate, and its block

    def read(self, order: int, sentence: Sentence) -> Candidate | None:
        """The candidate of a sentence; None of a heading, and of what is too short or too long to quote."""
        text = " ".join(self._source.text[sentence.start : sentence.end].split())
        stems = self._words.stems(text)
        if sentence.kind is Kind.HEADING:
            self._heading = frozenset(self._words.saying(stems))
            self._introduction = self._last = None
            return None
        if len(text) > MAX_CHARACTERS:
            self._last = None
            return None
        candidate = Candidate(
            source=self._index,
            order=order,
            start=sentence.start,
            end=sentence.end,
            text=text,
            kind=sentence.kind,
            stems=frozenset(self._words.saying(stems)),
            length=len(stems),
            context=self._above | self._heading,
            before=self._before(sentence),
            depends=_DEPENDENT.match(text) is not None,
        )
        if sentence.kind is Kind.PROSE:
            self._introduction = candidate if text.endswith(":") else None
        self._last = (sentence.block, candidate)
        return candidate if len(stems) >= _MIN_WORDS or sentence.kind is Kind.ITEM else None

    def _before(self, sentence: Sentence) -> Candidate | None:
        if self._last and self._last[0] == sentence.block:
            return self._last[1]
        return self._introduction if sentence.kind is Kind.ITEM else None


def _with_items(found: Sequence[Candidate]) -> Iterator[Candidate]:
    """The candidates, those that introduce a list with its items."""
    items = _items_by_introduction(found)
    for candidate in found:
        introduced = items.get(id(candidate), ()) if candidate.text.endswith(":") else ()
        yield replace(candidate, items=tuple(_quotable(introduced))) if introduced else candidate


def _items_by_introduction(found: Sequence[Candidate]) -> Mapping[int, list[Candidate]]:
    """The items that have something before them, by the identity of that, in one pass over a whole source."""
    items: dict[int, list[Candidate]] = defaultdict(list)
    for item in found:
        if item.before is not None and item.kind is Kind.ITEM:
            items[id(item.before)].append(item)
    return items


def _quotable(items: Sequence[Candidate]) -> Iterator[Candidate]:
    """The first items of a list, as far as they are short enough to be quoted with what introduces them."""
    length = 0
    for item in items[:_MAX_ITEMS]:
        length += len(item.text)
        if length > _MAX_LISTED:
            return
        yield item
