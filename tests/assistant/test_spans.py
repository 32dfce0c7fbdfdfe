from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.assistant.presented import PresentedSources
from headwater_server.assistant.protocol import Evidence, Source
from headwater_server.assistant.spans import AnswerText

TEXTS = st.text(st.sampled_from("ab é世😀\u2028\n "), max_size=30)


def answer(*blocks: str) -> AnswerText:
    """A text of these blocks."""
    text = AnswerText()
    for number, block in enumerate(blocks):
        text.begin(number)
        text.add(block)
    return text


@given(TEXTS, st.integers(0, 40), st.integers(0, 40), st.lists(st.integers(0, 30), max_size=4))
def test_characters_become_the_bytes_of_the_same_words(text: str, start: int, end: int, cuts: list[int]) -> None:
    made = AnswerText()
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for begin, stop in itertools.pairwise(bounds):
        made.add(text[begin:stop])
    span = made.in_characters(start, end, words="")
    if not start < end <= len(text):
        assert span is None
        return
    assert span is not None
    assert text.encode()[span[0] : span[1]].decode() == text[start:end]
    assert made.in_bytes(*span, words=text[start:end]) == span


@given(TEXTS, TEXTS)
def test_a_block_is_its_words_without_the_white_space_around_them(before: str, text: str) -> None:
    made = answer(before, text)
    span = made.block_span(1)
    if not text.strip():
        assert span is None
        return
    assert span is not None
    assert (before + text).encode()[span[0] : span[1]].decode() == text.strip()
    assert span[0] >= len(before.encode())


def test_characters_may_be_counted_from_their_block() -> None:
    text = answer("Möwen. ", "Gulls eat.")
    assert text.in_characters(0, 5, words="Gulls", block=1) == (8, 13)
    assert text.in_characters(0, 5, words="Gulls", block=None) is None
    assert text.in_characters(0, 5, words="Möwen", block=0) == (0, 6)


def test_a_span_of_other_words_or_of_half_a_character_is_none() -> None:
    text = answer("Möwen")
    assert text.in_bytes(0, 6, words="Mowen") is None
    assert text.in_bytes(0, 2, words="") is None
    assert text.in_bytes(0, 7, words="") is None
    assert text.in_characters(0, 5, words="Mowen") is None
    assert text.block_span(7) is None


def test_halves_of_a_character_count_when_they_are_joined() -> None:
    text = AnswerText()
    assert text.add("a\ud83d") == "a"
    assert text.size == 1
    assert text.add("\ude00") == "😀"
    assert text.size == 5
    assert text.add("\ud83d") == ""
    assert text.finish() == "\ufffd"
    assert text.in_characters(1, 2, words="😀") == (1, 5)


SOURCES = [
    Source("1", "Owls eat\n mice.", uri="https://x/birds"),
    Source("2", "Gulls eat fish.", uri="https://x/birds"),
    Source("3", "Gulls eat fish, too.", uri="https://x/gulls"),
]


@pytest.mark.parametrize(
    ("uri", "quote", "ids"),
    [
        ("https://x/birds", "Gulls eat", ["2"]),
        ("https://x/birds", "Owls eat mice.", ["1"]),
        ("https://x/birds", "Bees fly.", []),
        ("https://x/gulls", "Bees fly.", ["3"]),
        ("https://x/gulls", "", ["3"]),
        ("https://x/other", "Gulls eat fish", ["2", "3"]),
        ("", "Gulls eat fish…", ["2", "3"]),
        ("", "", []),
        ("https://x/other", "", []),
    ],
)
def test_what_a_provider_found_is_a_source_by_its_place_and_its_words(uri: str, quote: str, ids: list[str]) -> None:
    found = PresentedSources(SOURCES).of_page(uri=uri, quote=quote)
    assert [evidence.source_id for evidence in found] == ids


def test_a_place_or_an_id_that_was_not_given_is_no_source() -> None:
    sources = PresentedSources(SOURCES)
    assert sources.at(2, quote="x") == [Evidence("3", "x")]
    assert sources.at(3) == sources.at(-1) == sources.of_id("4") == []
    assert sources.of_id("2") == [Evidence("2")]


def test_the_text_since_a_block_began_is_all_that_follows() -> None:
    text = AnswerText("é ")
    text.begin(3)
    assert (text.since(3), text.since(4)) == ("", "")
    text.add("世")
    text.begin(4)
    text.add("x")
    assert (text.since(3), text.since(4)) == ("世x", "x")
