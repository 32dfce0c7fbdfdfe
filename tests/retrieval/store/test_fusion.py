from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.store.fusion import best, continued, fuse, missing_score

DEPTH = 5
SCORES = st.floats(min_value=-100, max_value=100).map(lambda score: round(score, 3))
RANKINGS = st.dictionaries(st.integers(0, 30), SCORES, min_size=1, max_size=DEPTH).map(
    lambda scores: best(list(scores.items()), depth=DEPTH)
)
POSITIVE = st.dictionaries(st.integers(0, 30), st.floats(0.1, 100), max_size=DEPTH).map(
    lambda scores: best(list(scores.items()), depth=DEPTH)
)


def rows(ranking: list[tuple[int, float]]) -> list[int]:
    return [row for row, _ in ranking]


def test_what_both_rankings_have_comes_before_what_one_has() -> None:
    fused = fuse([[(1, 9.0), (2, 8.0), (3, 7.0)], [(4, 0.9), (3, 0.8), (5, 0.1)]], depth=3)
    assert rows(fused)[0] == 1
    assert rows(fused).index(3) < rows(fused).index(5)


def test_the_one_passage_with_a_rare_word_comes_before_the_first_of_many_alike() -> None:
    alike = [(row, 0.5 - row / 1_000) for row in range(100)]
    assert rows(fuse([[(70, 12.0)], alike], depth=100))[0] == 70


def test_equal_scores_are_in_the_order_of_the_rows() -> None:
    assert best([(3, 1.0), (1, 1.0), (2, 2.0)], depth=2) == [(2, 2.0), (1, 1.0)]
    assert rows(fuse([[(3, 1.0), (1, 1.0)], [(1, 0.5), (3, 0.5)]], depth=5)) == [1, 3]


def test_what_has_found_nothing_changes_nothing() -> None:
    assert fuse([[], []], depth=5) == []
    assert fuse([], depth=5) == []
    assert rows(fuse([[], [(2, 5.0), (1, 4.0)]], depth=5)) == [2, 1]


def test_a_ranking_of_equal_scores_changes_nothing() -> None:
    assert rows(fuse([[(1, 0.1 + 0.2), (2, 0.3)], [(2, 5.0), (1, 4.0)]], depth=5)) == [2, 1]


@given(RANKINGS)
def test_fusing_one_ranking_keeps_its_order(ranking: list[tuple[int, float]]) -> None:
    fused = fuse([ranking], depth=DEPTH)
    scores = dict(ranking)
    assert sorted(rows(fused)) == sorted(scores)
    for (one, high), (other, low) in itertools.pairwise(fused):
        assert high >= low
        assert scores[one] >= scores[other] - 1e-3


@given(POSITIVE, RANKINGS)
def test_what_is_better_in_both_rankings_is_better_in_the_fused_one(
    lexical: list[tuple[int, float]], dense: list[tuple[int, float]]
) -> None:
    fused = dict(fuse([lexical, dense], depth=DEPTH))
    assert set(fused) == {row for row, _ in (*lexical, *dense)}
    common = [row for row in fused if row in dict(lexical) and row in dict(dense)]
    for one in common:
        for other in common:
            if dict(lexical)[one] >= dict(lexical)[other] and dict(dense)[one] >= dict(dense)[other]:
                assert fused[one] >= fused[other] - 1e-9


@given(RANKINGS, st.floats(0.5, 20), st.floats(0, 50))
def test_the_scale_of_a_ranking_does_not_matter(dense: list[tuple[int, float]], factor: float, offset: float) -> None:
    other = [(row, score * factor + offset) for row, score in dense]
    one_way, other_way = fuse([dense], depth=1), fuse([other], depth=1)
    assert dict(one_way) == pytest.approx(dict(other_way), abs=1e-3)


def test_what_a_whole_ranking_lacks_has_no_score_and_what_a_cut_one_lacks_has_its_last() -> None:
    assert missing_score([(1, 3.0), (2, 2.0)], depth=3) == 0.0
    assert missing_score([(1, 3.0), (2, 2.0)], depth=2) == 2.0
    assert missing_score([], depth=0) == 0.0


@given(RANKINGS, RANKINGS)
def test_a_ranking_goes_on_below_another(ranked: list[tuple[int, float]], rest: list[tuple[int, float]]) -> None:
    whole = continued(ranked, rest)
    assert rows(whole) == [*rows(ranked), *rows(rest)]
    scores = [score for _, score in whole]
    assert all(high >= low - 1e-9 for high, low in itertools.pairwise(scores))
