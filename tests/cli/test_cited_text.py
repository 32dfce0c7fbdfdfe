from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater._cli.cited_text import CitedText
from headwater.v1 import answer_pb2


def cite(*sources: str) -> answer_pb2.Citation:
    return answer_pb2.Citation(evidence=[answer_pb2.Evidence(source_id=source) for source in sources])


def shown(*events: str | answer_pb2.Citation) -> str:
    text = CitedText()
    pieces = [text.text(event) if isinstance(event, str) else text.citation(event) for event in events]
    return "".join([*pieces, text.end()])


def test_a_number_stands_behind_the_text_it_supports_and_before_the_white_space() -> None:
    assert shown("Thirty days. ", cite("2"), "Not more.", cite("1")) == "Thirty days. [2] Not more. [1]"


def test_numbers_of_one_place_stand_together_each_once_and_in_order() -> None:
    assert shown("Thirty days.", cite("10", "2"), cite("2"), cite("1")) == "Thirty days. [1][2][10]"


def test_paragraphs_stay_apart() -> None:
    assert shown("One.\n\n", cite("1"), "Two.") == "One. [1]\n\nTwo."


@given(st.lists(st.text()))
def test_without_citations_all_text_is_shown_but_white_space_at_the_end(pieces: list[str]) -> None:
    assert shown(*pieces) == "".join(pieces).rstrip()


@given(st.lists(st.one_of(st.text(), st.just(cite("7")))))
def test_taking_the_numbers_out_gives_the_text_back(events: list[str | answer_pb2.Citation]) -> None:
    text = "".join(event for event in events if isinstance(event, str))
    if "[7]" not in text:
        assert shown(*events).replace(" [7]", "").rstrip() == text.rstrip()
