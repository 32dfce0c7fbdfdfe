from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.outgoing.sse import EventParser, EventTooLarge, ServerSentEvent


def parsed(pieces: Iterable[bytes], **options: int) -> list[ServerSentEvent]:
    parser = EventParser(**options)
    return [event for piece in pieces for event in parser.feed(piece)]


def reference(body: bytes) -> list[ServerSentEvent]:
    """The same, written in the plainest way over a whole body."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    events: list[ServerSentEvent] = []
    data: list[bytes] = []
    kind = b""
    for line in lines:
        if not line:
            if data:
                events.append(ServerSentEvent(b"\n".join(data), kind.decode("utf-8", "replace") or "message"))
            data, kind = [], b""
            continue
        name, colon, value = line.partition(b":")
        if colon and value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
    return events


def cut(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted({min(position, len(body)) for position in cuts}), len(body)]
    return [body[begin:end] for begin, end in itertools.pairwise(bounds)]


WORDS = st.sampled_from(
    [
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b": ",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"data: x\n\n",
        b"\xef\xbb\xbf",
        "é\u2028\u2029\x85\x0b\x0c\x1c😀".encode(),
        b"\xff",
        b"[DONE]",
        b"{}",
        b"a",
    ]
)


@given(st.lists(WORDS, max_size=60).map(b"".join), st.lists(st.integers(0, 200), max_size=12))
def test_any_body_cut_anywhere_gives_the_events_of_the_plain_parser(body: bytes, cuts: list[int]) -> None:
    assert parsed(cut(body, cuts)) == reference(body)


@given(st.lists(WORDS, max_size=20).map(b"".join))
def test_a_body_given_byte_by_byte_gives_the_same_events(body: bytes) -> None:
    assert parsed(body[index : index + 1] for index in range(len(body))) == reference(body)


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


def test_many_lines_of_one_event_over_the_limit_are_refused() -> None:
    with pytest.raises(EventTooLarge):
        parsed([b"data: 1234\n"] * 4, max_event_bytes=16)


def test_many_events_within_the_limit_are_not_too_large() -> None:
    assert len(parsed([b"data: 1234\n\n"] * 40, max_event_bytes=16)) == 40
