from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from headwater_server.assistant.protocol import Reasoning, Text
from headwater_server.assistant.think_tags import ThinkTags
from headwater_server.text import SurrogateJoiner, shortened, utf8_prefix, without_surrogates


def joined(pieces: list[str]) -> str:
    joiner = SurrogateJoiner()
    return "".join(joiner.feed(piece) for piece in pieces) + joiner.finish()


def test_a_character_cut_into_two_surrogates_comes_out_whole() -> None:
    assert joined(["a\ud83d", "\ude00b"]) == "a😀b"


def test_a_surrogate_without_its_other_half_becomes_a_replacement_character() -> None:
    assert joined(["a\ud83d", "b"]) == "a\ufffdb"
    assert joined(["\ude00", "\ud83d"]) == "\ufffd\ufffd"


@given(st.lists(st.text(alphabet=["a", "é", "😀", "\ud83d", "\ude00"])))
def test_however_a_text_is_cut_its_characters_come_out_the_same(pieces: list[str]) -> None:
    assert joined(pieces) == without_surrogates("".join(pieces))
    joined(pieces).encode()


@given(st.text(), st.integers(0, 40))
def test_a_prefix_in_bytes_is_the_longest_that_fits(text: str, size: int) -> None:
    prefix = utf8_prefix(text, size)
    assert text.startswith(prefix)
    assert len(prefix.encode()) <= size
    assert prefix == text or len(text[: len(prefix) + 1].encode()) > size


def test_a_shortened_message_is_one_line_without_control_characters() -> None:
    assert shortened("a\n\tb\x00\x1b[31m c" + "d" * 100, 12) == "a b [31m cd…"


def thought(text: str, cuts: list[int]) -> tuple[str, str]:
    tags = ThinkTags()
    bounds = [0, *sorted(min(position, len(text)) for position in cuts), len(text)]
    events = [event for begin, end in itertools.pairwise(bounds) for event in tags.feed(text[begin:end])]
    events += tags.finish()
    assert all(event.text for event in events)
    said = "".join(event.text for event in events if isinstance(event, Text))
    return "".join(event.text for event in events if isinstance(event, Reasoning)), said


def test_a_think_block_at_the_start_is_reasoning() -> None:
    assert thought("\n<think>\nso\n</think>\n\nThe answer", []) == ("\nso\n", "The answer")


def test_a_think_block_elsewhere_is_text() -> None:
    assert thought("Say <think>x</think>", []) == ("", "Say <think>x</think>")


def test_an_answer_that_never_stops_thinking_has_no_text() -> None:
    assert thought("<think>so </thin", []) == ("so </thin", "")


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<", "think", "\n", " ", "a", "</", ">"]), max_size=12).map(
        "".join
    ),
    st.lists(st.integers(0, 60), max_size=8),
)
def test_where_a_text_is_cut_does_not_change_what_is_reasoning(text: str, cuts: list[int]) -> None:
    assert thought(text, cuts) == thought(text, [])
