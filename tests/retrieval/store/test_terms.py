from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.store.fusion import best, fuse
from headwater_server.retrieval.store.terms import passage_terms, query_terms


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


def test_what_both_rankings_have_comes_before_what_one_has() -> None:
    fused = fuse([[(1, 9.0), (2, 8.0), (3, 7.0)], [(4, 0.9), (3, 0.8)]])
    assert [row for row, _ in fused] == [3, 1, 4, 2]


def test_equal_scores_are_in_the_order_of_the_rows() -> None:
    assert best([(3, 1.0), (1, 1.0), (2, 2.0)], depth=2) == [(2, 2.0), (1, 1.0)]
