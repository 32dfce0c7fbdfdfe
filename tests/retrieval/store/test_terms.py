from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater_server.retrieval.store.terms import (
    MOST_QUERY_WORDS,
    analysis_languages,
    detected_language,
    passage_terms,
    query_terms,
)


def test_inflections_and_case_make_one_term() -> None:
    assert query_terms("WINGS winged wing").ids == query_terms("wing").ids
    assert query_terms("WINGS winged wing").weights == [3.0]


def test_compatible_forms_of_a_letter_make_one_term() -> None:
    assert query_terms("ﬁle").ids == query_terms("file").ids
    assert query_terms("café").ids == query_terms("cafe\N{COMBINING ACUTE ACCENT}").ids


def test_stop_words_and_signs_are_no_terms() -> None:
    assert query_terms("what is the … of a __ -- ?").ids == []


def test_a_term_has_the_same_id_in_every_process() -> None:
    program = "from headwater_server.retrieval.store.terms import query_terms; print(query_terms('ornithopter').ids)"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(query_terms("ornithopter").ids)


def test_more_occurrences_weigh_more_but_never_without_bound() -> None:
    once, often, always = (passage_terms("wing " * times).weights[0] for times in (1, 5, 1_000))
    assert once < often
    assert always < 2.2


def test_the_same_occurrence_weighs_less_in_a_longer_passage() -> None:
    short = passage_terms("wing")
    long = passage_terms("wing " + " ".join(f"word{number}" for number in range(200)))
    assert long.weights[0] < short.weights[0]


@given(st.text())
def test_every_text_has_terms_without_repetition_and_with_positive_weights(text: str) -> None:
    for terms in (passage_terms(text), query_terms(text)):
        assert len(set(terms.ids)) == len(terms.ids) == len(terms.weights)
        assert all(0 <= identity < 2**32 for identity in terms.ids)
        assert all(weight > 0 for weight in terms.weights)


def test_a_passage_has_the_stems_of_its_language_and_a_query_those_of_all() -> None:
    german = passage_terms("Die Häuser haben keine Gärten", language="de")
    english = passage_terms("The houses have gardens", language="en")
    asked = query_terms("Haus house", languages=["de", "en"])
    assert set(asked.ids) & set(german.ids)
    assert set(asked.ids) & set(english.ids)
    assert not set(query_terms("Gärten", languages=["en"]).ids) & set(german.ids)


def test_a_passage_without_a_language_has_that_which_is_detected() -> None:
    text = "Die Häuser in der Stadt sind nicht neu und haben keine Gärten"
    assert detected_language(text) == "de"
    assert passage_terms(text) == passage_terms(text, language="de")


def test_a_word_that_says_nothing_in_the_language_of_the_query_is_no_term_in_any() -> None:
    assert query_terms("die Häuser und der Garten", languages=["de", "en"]) == query_terms(
        "Häuser Garten", languages=["de", "en"]
    )
    assert query_terms("die", languages=["en"]).ids
    assert not query_terms("die", languages=["de", "en"]).ids  # undecided: a stop word of any


@pytest.mark.parametrize(
    ("passage", "query"),
    [
        ("東京都の天気は晴れです", "天気"),
        ("我们明天去北京大学", "北京"),
        ("ภาษาไทยไม่มีช่องว่าง", "ไทย"),
        ("서울에서 열리는 회의", "서울"),
    ],
)
def test_scripts_without_spaces_are_found_by_a_part_of_what_is_written(passage: str, query: str) -> None:
    assert set(query_terms(query).ids) <= set(passage_terms(passage).ids)


def test_signs_inside_words_do_not_cut_them() -> None:
    assert len(passage_terms("किताबें", language="hi").ids) == 1


def test_the_words_of_a_query_are_bounded() -> None:
    words = " ".join(f"word{number}" for number in range(5_000))
    assert len(query_terms(words).ids) == MOST_QUERY_WORDS


@pytest.mark.parametrize("language", sorted(analysis_languages()))
@settings(max_examples=10)
@given(text=st.text(max_size=100))
def test_every_language_takes_every_text(language: str, text: str) -> None:
    for terms in (passage_terms(text, language=language), query_terms(text, languages=[language, "en"])):
        assert len(set(terms.ids)) == len(terms.ids) == len(terms.weights)
