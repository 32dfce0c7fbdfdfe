from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.outgoing.sse import EventParser, EventTooLarge, NotEvents, ServerSentEvent
from tests.outgoing.cutting import by_byte, cut
from tests.outgoing.plain_sse import PARTS, reference


def parsed(pieces: Iterable[bytes], **options: int) -> list[ServerSentEvent]:
    parser = EventParser(**options)
    return [event for piece in pieces for event in parser.feed(piece)]


WORDS = st.sampled_from(PARTS)


@given(st.lists(WORDS, max_size=60).map(b"".join), st.lists(st.integers(0, 200), max_size=12))
def test_any_body_cut_anywhere_gives_the_events_of_the_plain_parser(body: bytes, cuts: list[int]) -> None:
    assert parsed(cut(body, cuts)) == reference(body)


@given(st.lists(WORDS, max_size=20).map(b"".join))
def test_a_body_given_byte_by_byte_gives_the_same_events(body: bytes) -> None:
    assert parsed(by_byte(body)) == reference(body)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_all_three_line_ends_end_lines_and_an_event_comes_with_its_empty_line(end: bytes) -> None:
    parser = EventParser()
    assert parser.feed(b"event: note" + end + b"data:one" + end + b"data: two" + end) == []
    assert parser.feed(end) == [ServerSentEvent(b"one\ntwo", "note")]


def test_unicode_separators_are_part_of_the_data() -> None:
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"
    assert parsed([f"data: {text}\n\n".encode()]) == [ServerSentEvent(text.encode())]


def test_what_is_cut_off_before_its_empty_line_is_no_event() -> None:
    assert parsed([b"data: [DONE]\n"]) == []


def test_an_event_without_data_is_none() -> None:
    assert parsed([b": comment\n\nevent: ping\nid: 3\n\n"]) == []


def test_a_line_over_the_limit_is_refused_before_it_has_ended() -> None:
    with pytest.raises(EventTooLarge):
        parsed([b"data: 12", b"345678", b"9012"], max_event_bytes=16)


@pytest.mark.parametrize("line", [b"data: 12345678901", b": a comment that is long"])
def test_a_whole_line_over_the_limit_is_refused_as_one_that_is_cut(line: bytes) -> None:
    for pieces in ([line + b"\n"], [line[:9], line[9:] + b"\n"]):
        with pytest.raises(EventTooLarge):
            parsed(pieces, max_event_bytes=16)


def test_many_lines_of_one_event_over_the_limit_are_refused() -> None:
    with pytest.raises(EventTooLarge):
        parsed([b"data: 1234\n"] * 4, max_event_bytes=16)


def test_many_events_within_the_limit_are_not_too_large() -> None:
    assert len(parsed([b"data: 1234\n\n"] * 40, max_event_bytes=16)) == 40


DOCUMENTS = [
    b'{"error": {"code": 503}}',
    b' \r\n[{"a": 1}]\n\n',
    b"\xef\xbb\xbf<!doctype html>\n\n<html>: data</html>\n",
]


@pytest.mark.parametrize("body", DOCUMENTS)
def test_a_body_that_begins_as_a_document_and_has_no_event_is_none_of_events(body: bytes) -> None:
    for pieces in ([body], list(by_byte(body))):
        parser = EventParser()
        assert [event for piece in pieces for event in parser.feed(piece)] == []
        with pytest.raises(NotEvents):
            parser.finish()


@pytest.mark.parametrize(
    "body",
    [b"", b"\xef\xbb", b"\n", b"d", b"data: x", b"data: {}\n", b": <html>", b"<\n\ndata: x\n\n", b"data: x\n\n{"],
)
def test_a_body_that_may_have_been_one_of_events_is_only_cut_off(body: bytes) -> None:
    for pieces in ([body], list(by_byte(body))):
        parser = EventParser()
        for piece in pieces:
            parser.feed(piece)
        assert parser.finish() == []
