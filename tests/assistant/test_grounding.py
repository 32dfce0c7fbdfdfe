from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.assistant.grounding import MAX_EVIDENCE, CheckedCitation, GroundedAnswer, TextPiece
from headwater_server.assistant.protocol import CitationStyle, Cite, Evidence, Source
from headwater_server.assistant.spans import AnswerText

SOURCES = [
    Source("1", "You can carry over a maximum of 240\nannual leave hours, from one year to the next."),
    Source("2", "Größe: 12% of all."),
    Source("3", "Other words."),
]
Span = tuple[int, int, tuple[Evidence, ...]]


def grounded(text: str, cuts: list[int] | None = None) -> tuple[str, list[Span]]:
    answer = GroundedAnswer(SOURCES, style=CitationStyle.MARKERS)
    bounds = [0, *sorted(min(position, len(text)) for position in cuts or []), len(text)]
    events = [event for begin, end in pairwise(bounds) for event in answer.add(text[begin:end])]
    events += answer.finish()
    said, spans = "", []
    for event in events:
        if isinstance(event, TextPiece):
            assert event.offset_bytes == len(said.encode())
            said += event.text
        else:
            assert event.end_byte <= len(said.encode())
            spans.append((event.start_byte, event.end_byte, tuple(event.evidence)))
    assert answer.size == len(said.encode())
    return said, spans


def cited(text: str) -> list[tuple[str, str]]:
    said, spans = grounded(text)
    encoded = said.encode()
    return [
        (encoded[start:end].decode(), ",".join(item.source_id for item in evidence)) for start, end, evidence in spans
    ]


@pytest.mark.parametrize(
    ("text", "citations"),
    [
        ("One is so [1]. Two is not [2].", [("One is so", "1"), ("Two is not", "2")]),
        ("One is so.[1] Two is not. [2]", [("One is so.", "1"), ("Two is not.", "2")]),
        ("One is so [1], but two is not [2].", [("One is so", "1"), ("but two is not", "2")]),
        ("One is so [1]. [2] Two.", [("One is so", "1"), ("One is so", "2")]),
        ("One is so [1][3].", [("One is so", "1,3")]),
        ("Uncited. Größe ist 世界 [2].", [("Größe ist 世界", "2")]),
        ("# Title\n\n- One item [1]\n- Two items [2]", [("One item", "1"), ("Two items", "2")]),
        ("Dr. A. Smith says e.g. this [1].", [("Dr. A. Smith says e.g. this", "1")]),
        ("**Bold words** [1].", [("Bold words**", "1")]),
        ("None here [9].", []),
    ],
)
def test_a_citation_covers_the_words_that_its_marker_ends(text: str, citations: list[tuple[str, str]]) -> None:
    assert cited(text) == citations


def test_words_of_the_source_in_the_cited_sentence_are_its_quote() -> None:
    _, spans = grounded('It says "carry over a maximum of 240 annual leave hours" [1]. Other words 12% of all [2][3].')
    assert [[item.quote for item in evidence] for _, _, evidence in spans] == [
        ["carry over a maximum of 240\nannual leave hours"],
        ["", ""],
    ]


def test_a_marker_far_into_a_long_line_still_has_its_sentence() -> None:
    text = "word " * 5000 + "End here. So it is [1]."
    assert cited(text) == [("So it is", "1")]


TEXTS = st.lists(
    st.sampled_from(
        ["One", " two", " [1]", "[2]", "[1, 3]", ".", ". ", "\n", "é", "世", " ", ",", "`", "- ", "[9]", '"']
    ),
    max_size=40,
).map("".join)


@given(TEXTS, st.lists(st.integers(0, 80), max_size=15))
def test_where_a_text_is_cut_changes_neither_text_nor_citations(text: str, cuts: list[int]) -> None:
    assert grounded(text, cuts) == grounded(text)


@given(TEXTS)
def test_citations_are_of_presented_sources_and_spans_begin_and_end_at_characters(text: str) -> None:
    said, spans = grounded(text)
    for start, end, evidence in spans:
        assert said.encode()[start:end].decode().strip() == said.encode()[start:end].decode()
        assert start < end
        assert {item.source_id for item in evidence} <= {"1", "2", "3"}


def native(text: str, cite: Cite) -> CheckedCitation | None:
    answer = GroundedAnswer(SOURCES, style=CitationStyle.NATIVE)
    for character in text:
        list(answer.add(character))
    return answer.cite(cite)


def test_a_native_citation_keeps_what_holds_of_its_evidence() -> None:
    evidence = [
        Evidence("1", "maximum of 240 annual leave"),
        Evidence("2", "21% of all"),
        Evidence("2", "Gro\u0308ße: 12%"),
        Evidence("7", "x"),
    ]
    citation = native("Größe", Cite(0, 7, evidence))
    assert citation == CheckedCitation(
        0, 7, [Evidence("1", "maximum of 240\nannual leave"), Evidence("2"), Evidence("2", "Größe: 12%")]
    )


@pytest.mark.parametrize(("start", "end"), [(0, 8), (-1, 2), (2, 2), (3, 2), (0, 3), (3, 7)])
def test_a_native_citation_of_a_span_that_is_none_is_dropped(start: int, end: int) -> None:
    assert native("Größe", Cite(start, end, [Evidence("1")])) is None


def test_a_native_text_keeps_its_brackets() -> None:
    answer = GroundedAnswer(SOURCES, style=CitationStyle.NATIVE)
    assert list(answer.add("See [1].")) == [TextPiece("See [1].", 0)]


@pytest.mark.parametrize(
    ("text", "words", "cited_words"),
    [
        ("One [1]. Two [2] and three.", "One", "One"),
        ("One [1]. Two [2] and three.", "One [1].", "One."),
        ("One [1]. Two [2] and three.", "Two", "Two"),
        ("One [1]. Two [2] and three.", "three", "three"),
        ("Größe [1][2], weiter.", "Größe [1][2], weiter", "Größe, weiter"),
        ("Größe [1][2], weiter.", "weiter", "weiter"),
        ("One [9] two.", "[9] two", "[9] two"),
        ("One [1].", "[1]", None),
    ],
)
def test_a_citation_beside_markers_counts_the_text_with_them(text: str, words: str, cited_words: str | None) -> None:
    answer = GroundedAnswer(SOURCES, style=CitationStyle.BOTH)
    pieces = [*(piece for character in text for piece in answer.add(character)), *answer.settle(len(text.encode()))]
    said = "".join(piece.text for piece in pieces if isinstance(piece, TextPiece)).encode()
    start = len(text[: text.index(words)].encode())
    citation = answer.cite(Cite(start, start + len(words.encode()), [Evidence("3")]))
    assert (said[citation.start_byte : citation.end_byte].decode() if citation else None) == cited_words


def test_a_citation_without_any_evidence_left_is_dropped() -> None:
    assert native("abc", Cite(0, 3, [Evidence("8", "x")])) is None


def test_evidence_is_bounded() -> None:
    answer = GroundedAnswer(SOURCES, style=CitationStyle.MARKERS)
    events = [event for _ in range(MAX_EVIDENCE) for event in answer.add("So it is [1][2]. ")]
    citations = [event for event in events if isinstance(event, CheckedCitation)]
    assert sum(len(citation.evidence) for citation in citations) == MAX_EVIDENCE


def test_what_was_held_back_comes_out_at_the_end() -> None:
    assert grounded("So [1") == ("So [1", [])
    assert grounded("So  ") == ("So  ", [])


def test_an_answer_in_many_small_pieces_is_held_in_a_few_bytes_each() -> None:
    pieces = 20_000
    tracemalloc.start()
    try:
        answer, text = GroundedAnswer([Source(id="1", text="x")], style=CitationStyle.NATIVE), AnswerText()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(pieces):
            for _ in answer.add(text.add(f"{number % 1000:4d}")):
                pass
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held < 16 * pieces  # the text itself is 4 a piece, and is held twice
    assert text.size == answer.size == 4 * pieces
