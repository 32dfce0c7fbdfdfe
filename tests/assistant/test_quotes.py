from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.assistant.quotes import QuotedText, normalized

TEXTS = st.text(
    alphabet=st.sampled_from("ab1%.- \n\t\u00a0é\u0301\u0323\u0302d한\u1100\u1161\u11a8ㄱㅏｶﾞかﬁ½\u00a8\u09c7\u09be日Å"),
    max_size=40,
)


def test_a_quote_is_found_across_line_breaks_and_given_in_the_sources_words() -> None:
    source = QuotedText("The limit\n  is 240\u00a0hours. More.")
    assert source.verified("limit is 240 hours.") == "limit\n  is 240\u00a0hours."


def test_a_quote_is_found_whatever_way_its_characters_are_composed() -> None:
    source = QuotedText("Cafe\u0301 of the ﬁrst order, ½ price")
    assert source.verified("Café of the first") == "Cafe\u0301 of the ﬁrst"


@pytest.mark.parametrize("quote", ["21% of all", "12 % of all", "12% of All", "12% of al l", "", "  \n "])
def test_a_quote_that_is_only_alike_is_not_found(quote: str) -> None:
    assert QuotedText("It is 12% of all.").find(quote) is None


def test_a_long_quote_is_given_in_at_most_512_bytes_that_end_at_a_character() -> None:
    text = "größer " * 200
    quote = QuotedText(text).verified(text)
    assert 500 <= len(quote.encode()) <= 512
    assert text.startswith(quote)


@given(TEXTS)
def test_a_text_normalised_in_parts_is_the_text_normalised_as_a_whole(text: str) -> None:
    assert QuotedText(text)._normal.strip() == normalized(text)


@given(TEXTS, st.data())
def test_every_part_of_a_text_is_found_in_it_and_what_is_found_reads_the_same(text: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    wanted = normalized(text[begin:end])
    if not wanted or wanted not in normalized(text):  # cut inside a composed character
        return
    found = QuotedText(text).find(text[begin:end])
    assert found is not None
    assert wanted in normalized(text[slice(*found)])


@given(TEXTS, TEXTS)
def test_what_is_found_is_there_by_the_plain_comparison_too(text: str, quote: str) -> None:
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    wanted = " ".join(unicodedata.normalize("NFKC", quote).split())
    assert (QuotedText(text).find(quote) is not None) == bool(wanted and wanted in plain)
