from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.model import Location
from headwater_server.retrieval.ranking.neighbours import MOST_BYTES, joined
from tests.retrieval.ranking.hits import hit


def test_neighbours_are_joined_in_their_order_in_the_place_of_the_best() -> None:
    second = hit("Second.", ordinal=1, location=Location("line", 3, 4), score=3.0, cosine=0.6)
    other = hit("Other.", document="e", score=2.0)
    first = hit("First.", ordinal=0, location=Location("line", 1, 2), score=1.0, cosine=0.3)
    source, last = joined([second, other, first])
    assert source.text == "First.\nSecond."
    assert source.location == Location("line", 1, 4)
    assert (source.passage_id, source.score, source.cosine) == ("p1", 3.0, 0.6)
    assert last == other


def test_what_a_passage_repeats_of_the_one_before_stands_once() -> None:
    overlap = "and this is said at the end of one."
    first, second = hit(f"It begins {overlap}", ordinal=0), hit(f"{overlap} It goes on.", ordinal=1)
    assert [source.text for source in joined([first, second])] == [f"It begins {overlap} It goes on."]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(hit("a", ordinal=0), hit("b", ordinal=2), id="a passage between"),
        pytest.param(hit("a", ordinal=0), hit("b", ordinal=1, document="e"), id="another document"),
        pytest.param(hit("a", heading="A"), hit("b", ordinal=1, heading="B"), id="another section"),
        pytest.param(
            hit("a", location=Location("slide", 1, 1)),
            hit("b", ordinal=1, location=Location("slide", 2, 2)),
            id="slide",
        ),
        pytest.param(
            hit("a", location=Location("row", 1, 1, "S")),
            hit("b", ordinal=1, location=Location("row", 2, 2, "T")),
            id="another sheet",
        ),
        pytest.param(hit("a", location=Location("line", 1, 1)), hit("b", ordinal=1), id="one without a location"),
        pytest.param(hit("a" * MOST_BYTES), hit("b", ordinal=1), id="too long"),
    ],
)
def test_what_does_not_belong_together_stays_apart(one: object, other: object) -> None:
    assert joined([one, other]) == [one, other]  # type: ignore[list-item]  # parametrized values have no type


@given(st.permutations(range(12)), st.lists(st.integers(min_value=1, max_value=2_000), min_size=12, max_size=12))
def test_every_passage_stands_in_one_source_and_no_source_is_too_long(order: list[int], sizes: list[int]) -> None:
    hits = [
        hit(f"<{ordinal}>" + "x" * sizes[ordinal], ordinal=ordinal, score=-rank) for rank, ordinal in enumerate(order)
    ]
    sources = joined(hits)
    together = "".join(source.text for source in sources)
    assert all(together.count(f"<{ordinal}>") == 1 for ordinal in order)
    assert all(len(source.text.encode()) <= MOST_BYTES for source in sources)
    assert [source.score for source in sources] == sorted((source.score for source in sources), reverse=True)
    assert sources[0].passage_id == hits[0].passage_id
