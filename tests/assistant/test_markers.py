from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.assistant.markers import Marker, MarkerReader

Pieces = list[str | Marker]


def read(text: str, cuts: list[int] | None = None, presented: int = 3) -> Pieces:
    reader = MarkerReader(range(1, presented + 1))
    bounds = [0, *sorted(min(position, len(text)) for position in cuts or []), len(text)]
    pieces = [piece for begin, end in itertools.pairwise(bounds) for piece in reader.feed(text[begin:end])]
    return joined([*pieces, *reader.finish()])


def joined(pieces: Pieces) -> Pieces:
    together: Pieces = []
    for piece in pieces:
        last = together[-1] if together else None
        if isinstance(piece, str) and isinstance(last, str):
            together[-1] = last + piece
        else:
            together.append(piece)
    return together


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One [1]. Two", ["One", Marker((1,)), ". Two"]),
        ("One[1]. Two.[2]", ["One", Marker((1,)), ". Two.", Marker((2,))]),
        ("One [1] and two", ["One", Marker((1,)), " and two"]),
        ("One [1]and", ["One ", Marker((1,)), "and"]),
        ("One [1, 2] [3].", ["One", Marker((1, 2, 3)), "."]),
        ("One [1][3][1].", ["One", Marker((1, 3)), "."]),
        ("One [1-3]; two [2–3]", ["One", Marker((1, 2, 3)), "; two", Marker((2, 3))]),
        ("**One** [1]\n\nTwo", ["**One**", Marker((1,)), "\n\nTwo"]),
        ("- item [2]\n- item", ["- item", Marker((2,)), "\n- item"]),
        ("一つ[1]。二つ", ["一つ", Marker((1,)), "。二つ"]),
        ("`code` [1].", ["`code`", Marker((1,)), "."]),
        ("One [1]", ["One", Marker((1,))]),
    ],
)
def test_markers_are_taken_out_with_the_blank_before_them(text: str, pieces: Pieces) -> None:
    assert read(text) == pieces


@pytest.mark.parametrize(
    "text",
    [
        "In [2024] and array[0], the interval [0, 1], and source [4].",
        "See [1](https://example.org) and [text][1] and \\[1] and [^1].",
        "[1] Handbook, page 3\n[2] Another",
        "[1]: https://example.org",
        "- [1] a reference\n> [2] quoted",
        "Use `x[1]` or ``y ` [2]`` here.",
        "```python\nx = y [1]\n```",
        "~~~\nx [1]\n```\ny [2]\n~~~",
        "x[1] = 2; y[2]z; f[1](3)",
        "One [1, 9] and [ ] and [] and [a] and [1",
        "One [3-1] and [01] and [1,] and [1 2].",
        "One  two\t\t[x]   ",
    ],
)
def test_what_only_looks_like_a_marker_stays_word_for_word(text: str) -> None:
    assert read(text) == [text]


def test_after_a_block_of_code_markers_are_read_again() -> None:
    assert read("```\nx [1]\n```\nSo [1].") == ["```\nx [1]\n```\nSo", Marker((1,)), "."]


def test_an_open_backtick_counts_to_the_end_of_its_line_only() -> None:
    assert read("5` wide [1]\nand [2]") == ["5` wide [1]\nand", Marker((2,))]


def test_without_presented_sources_nothing_is_held_back() -> None:
    assert MarkerReader(()).feed("One [1] [") == ["One [1] ["]


def test_text_that_cannot_become_a_marker_is_not_held_back() -> None:
    reader = MarkerReader([1])
    assert reader.feed("One two") == ["One two"]
    assert reader.feed(" three [1") == [" three"]
    assert reader.feed("x") == [" [1x"]


def test_what_is_held_back_is_bounded() -> None:
    reader = MarkerReader([1])
    out = "".join(piece for _ in range(3000) for piece in reader.feed(" ") if isinstance(piece, str))
    assert len(out) > 2900
    out = "".join(piece for _ in range(3000) for piece in reader.feed("[1 ") if isinstance(piece, str))
    assert len(out) > 8000


ALPHABET = st.sampled_from(
    [
        "a",
        "1",
        "2",
        " ",
        "  ",
        "[",
        "]",
        ",",
        "-",
        "[1]",
        "[2]",
        "[1, 2]",
        "[9]",
        "`",
        "``",
        "```",
        "~~~",
        "\n",
        "(",
        ")",
        "=",
        ">",
        "\\",
        "*",
        "é",
        "。",
        ". ",
        "[1](",
        " " * 33,
        "[" + " " * 95 + "1]",
        "_",
        ":",
        "\r\n",
    ]
)


@given(st.lists(ALPHABET, max_size=40).map("".join), st.lists(st.integers(0, 120), max_size=20))
def test_where_a_text_is_cut_changes_nothing(text: str, cuts: list[int]) -> None:
    assert read(text, cuts) == read(text)


@given(st.lists(ALPHABET, max_size=25).map("".join))
def test_a_text_given_character_by_character_reads_the_same(text: str) -> None:
    assert read(text, list(range(len(text)))) == read(text)


@given(st.lists(ALPHABET, max_size=40).map("".join))
def test_all_that_is_not_a_marker_or_a_blank_before_one_stays(text: str) -> None:
    left = text
    for piece in read(text):
        if isinstance(piece, str):
            start = left.find(piece)
            assert start >= 0
            assert not left[:start].strip(" \t0123456789[],;-–")
            left = left[start + len(piece) :]
    assert not left.strip(" \t0123456789[],;-–")
