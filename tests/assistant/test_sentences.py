from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.assistant.sentences import Kind, sentences


def split(text: str) -> list[str]:
    return [text[sentence.start : sentence.end] for sentence in sentences(text)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One is here. Two is there! Is three?", ["One is here.", "Two is there!", "Is three?"]),
        (
            "Dr. Smith met Mr. A. B. Jones on Main St. yesterday. He left.",
            ["Dr. Smith met Mr. A. B. Jones on Main St. yesterday.", "He left."],
        ),
        (
            "See e.g. Table 2, Fig. 3 and No. 5 of vol. 2. It is 3.14 long.",
            ["See e.g. Table 2, Fig. 3 and No. 5 of vol. 2.", "It is 3.14 long."],
        ),
        ('He said: "Go!" Then he left.', ['He said: "Go!"', "Then he left."]),
        ("It began in the U.S. Congress. It ended.", ["It began in the U.S. Congress.", "It ended."]),
        ("a flow is steady . the next is not .", ["a flow is steady .", "the next is not ."]),
        ("これは文です。次の文です。", ["これは文です。", "次の文です。"]),
        (
            "Mail a@example.org or see https://example.org/x.html today. Done.",
            ["Mail a@example.org or see https://example.org/x.html today.", "Done."],
        ),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, parts: list[str]) -> None:
    assert split(text) == parts


def test_headings_items_and_rows_are_told_apart() -> None:
    text = "# Leave types\n\nYou have these:\n\n- Annual leave\n- Sick leave. It accrues.\n\n1. First\n\n"
    text += "| a | b |\n|---|---|\n| 1 | 2 |"
    found = [(text[s.start : s.end], s.kind) for s in sentences(text)]
    assert found == [
        ("Leave types", Kind.HEADING),
        ("You have these:", Kind.PROSE),
        ("Annual leave", Kind.ITEM),
        ("Sick leave.", Kind.ITEM),
        ("It accrues.", Kind.ITEM),
        ("First", Kind.ITEM),
        ("| a | b |", Kind.ROW),
        ("| 1 | 2 |", Kind.ROW),
    ]


def test_a_line_broken_to_fit_a_width_goes_on_in_the_next() -> None:
    text = "If you observe prohibited material on our systems, report it to the\nGSA IT Service\nDesk. "
    text += "Then wait for an\nanswer."
    assert split(text) == [text[: text.index(" Then")], "Then wait for an\nanswer."]


def test_short_lines_without_a_full_stop_stay_apart() -> None:
    assert split("Name: Ada\nPlace: London") == ["Name: Ada", "Place: London"]


@given(
    st.lists(
        st.sampled_from(
            [
                "Word",
                "word",
                " ",
                "\n",
                "\n\n",
                ". ",
                "! ",
                "- ",
                "1. ",
                "# ",
                "|",
                "Dr. ",
                "。",
                ":",
                "a" * 50,
                "\t",
                "> ",
            ]
        ),
        max_size=40,
    ).map("".join)
)
def test_nothing_but_marks_and_blanks_lies_between_sentences(text: str) -> None:
    position = 0
    for sentence in sentences(text):
        assert position <= sentence.start < sentence.end
        assert not any(c.isalpha() for c in text[position : sentence.start])
        assert text[sentence.start : sentence.end].strip() == text[sentence.start : sentence.end]
        position = sentence.end
    assert not any(c.isalpha() for c in text[position:])
