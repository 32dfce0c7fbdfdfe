from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.ranking.duplicates import without_duplicates
from tests.retrieval.ranking.hits import hit

WORDS = [f"word{chr(97 + at % 26)}{chr(97 + at // 26)}" for at in range(100)]
LONG = " ".join(WORDS)


def changed(at: int, word: str) -> str:
    return " ".join([*WORDS[:at], word, *WORDS[at + 1 :]])


@pytest.mark.parametrize("other", [LONG, LONG.upper(), LONG.replace(" ", "\n"), f"{LONG}.", changed(50, "another")])
def test_what_says_the_same_is_folded_and_the_best_stays(other: str) -> None:
    best, rest = hit(LONG, document="a", cosine=0.7), hit(other, document="b", cosine=0.68)
    assert without_duplicates([best, rest]) == [best]
    assert without_duplicates([rest, best]) == [rest]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(changed(50, "25"), id="a number more"),
        pytest.param(changed(50, "not"), id="a not more"),
        *(pytest.param(changed(50, word), id=f"a {word} more") for word in ("nobody", "nothing", "neither", "nor")),
        pytest.param(" ".join(WORDS[:60]), id="half of it"),
        pytest.param(" ".join([*WORDS[:50], "nobody", "7", *WORDS[50:]]), id="another number of words"),
        pytest.param(" ".join(WORDS[::-1]), id="the same words in another order"),
        pytest.param(changed(20, "one") + changed(60, "two"), id="twice as long"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_says_something_else_stays(other: str) -> None:
    hits = [hit(LONG, document="a"), hit(other, document="b")]
    assert without_duplicates(hits) == hits


@pytest.mark.parametrize(
    ("plain", "negated"), [("does", "doesn't"), ("will", "won't"), ("can", "can’t"), ("is", "ISN'T"), ("did", "didnʼt")]
)
def test_a_not_that_is_part_of_a_word_says_something_else(plain: str, negated: str) -> None:
    hits = [hit(changed(50, plain), document="a"), hit(changed(50, negated), document="b")]
    assert without_duplicates(hits) == hits


def test_the_same_numbers_in_other_places_say_something_else() -> None:
    texts = [" ".join([*WORDS[:40], one, *WORDS[40:80], two, *WORDS[80:]]) for one, two in (("3", "5"), ("5", "3"))]
    hits = [hit(text, ordinal=ordinal) for ordinal, text in enumerate(texts)]
    assert without_duplicates(hits) == hits


def test_short_passages_that_differ_in_a_word_stay() -> None:
    hits = [hit("Room three has four chairs.", ordinal=0), hit("Room seven has four chairs.", ordinal=1)]
    assert without_duplicates(hits) == hits


TEXTS = st.one_of(
    st.sampled_from([LONG, changed(3, "x"), changed(70, "y"), "short", "Short"]), st.text(alphabet="ab 1.", max_size=30)
)


@given(st.lists(TEXTS, max_size=12))
def test_folding_keeps_the_order_and_never_drops_the_best(contents: list[str]) -> None:
    hits = [hit(text, ordinal=ordinal, score=-ordinal) for ordinal, text in enumerate(contents)]
    kept = without_duplicates(hits)
    assert kept[:1] == hits[:1]
    assert kept == [each for each in hits if each in kept]
    assert without_duplicates(kept) == kept


@given(st.lists(TEXTS, max_size=8))
def test_doubling_every_hit_adds_none(contents: list[str]) -> None:
    hits = [hit(text, ordinal=ordinal) for ordinal, text in enumerate(contents)]
    doubled = [each for one in hits for each in (one, replace(one, passage_id="again"))]
    assert without_duplicates(doubled) == without_duplicates(hits)
