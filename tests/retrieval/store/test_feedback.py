from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.store import feedback
from headwater_server.retrieval.store.terms import SparseTerms, passage_terms, query_terms

WEIGHTS = st.dictionaries(st.integers(0, 40), st.floats(0.1, 2.2), max_size=30).map(
    lambda weights: SparseTerms(list(weights), list(weights.values()))
)


def test_a_passage_that_stands_out_speaks_almost_alone() -> None:
    outstanding, other = passage_terms("an ornithopter flaps"), passage_terms("a turtle swims")
    weights = feedback.relevant_terms([(8.0, outstanding), (1.0, other)])
    assert sum(weights[identity] for identity in outstanding.ids) > 0.99


def test_the_query_counts_for_its_share() -> None:
    query = query_terms("ornithopter wings")
    asked = feedback.expanded(query, {1: 0.25, 2: 0.75})
    weights = dict(zip(asked.ids, asked.weights, strict=True))
    assert sum(weights[identity] for identity in query.ids) == pytest.approx(feedback.SHARE)
    assert sum(weights.values()) == pytest.approx(1.0)


def test_without_passages_or_words_there_is_nothing_to_add() -> None:
    assert feedback.relevant_terms([]) == {}
    assert feedback.expanded(SparseTerms([], []), {}).ids == []


@given(st.lists(st.tuples(st.floats(-20, 20), WEIGHTS), max_size=8), WEIGHTS)
def test_terms_are_bounded_and_their_weights_sum_up(
    passages: list[tuple[float, SparseTerms]], query: SparseTerms
) -> None:
    relevant = feedback.relevant_terms(passages)
    assert len(relevant) <= feedback.TERMS
    assert not relevant or sum(relevant.values()) == pytest.approx(1.0)
    asked = feedback.expanded(query, relevant)
    assert set(asked.ids) == {*query.ids, *relevant}
    assert len(set(asked.ids)) == len(asked.ids) == len(asked.weights)
