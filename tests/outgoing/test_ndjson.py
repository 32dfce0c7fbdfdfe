from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.outgoing.framing import CutOff
from headwater_server.outgoing.ndjson import LineParser, LineTooLarge
from tests.outgoing.cutting import by_byte, cut

WORDS = st.sampled_from(
    [
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b" ",
        b"\t",
        b'{"a": 1}',
        b'{"a": "',
        b'"}',
        b"\xef\xbb\xbf",
        "é\u2028\u2029\x85\x0b\x0c\x1c😀".encode(),
        b"\xff",
        b"x",
    ]
)
BODIES = st.lists(WORDS, max_size=40).map(b"".join)


CUT = b"(cut off)"


def parsed(pieces: Iterable[bytes], **options: int) -> list[bytes]:
    parser = LineParser(**options)
    lines = [line for piece in pieces for line in parser.feed(piece)]
    try:
        return [*lines, *parser.finish()]
    except CutOff:
        return [*lines, CUT]


def reference(body: bytes) -> list[bytes]:
    """The same, written in the plainest way over a whole body."""
    *lines, last = (line.strip(b" \t\r") for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    found = [line for line in lines if line]
    return [*found, last if is_object(last) else CUT] if last else found


def is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@given(BODIES, st.lists(st.integers(0, 200), max_size=12))
def test_any_body_cut_anywhere_gives_the_lines_of_the_plain_parser(body: bytes, cuts: list[int]) -> None:
    assert parsed(cut(body, cuts)) == reference(body)


@given(BODIES)
def test_a_body_given_byte_by_byte_gives_the_same_lines(body: bytes) -> None:
    assert parsed(by_byte(body)) == reference(body)


def test_a_line_comes_with_its_line_end_and_not_before() -> None:
    parser = LineParser()
    assert parser.feed(b'{"done": true}') == []
    assert parser.feed(b"\n") == [b'{"done": true}']
    assert parser.finish() == []


@pytest.mark.parametrize("last", [b'{"b"', b'{"b": 1', b"12", b"tru", b'"b'])
def test_half_a_line_at_the_end_is_cut_off(last: bytes) -> None:
    assert parsed([b'{"a": 1}\n' + last]) == [b'{"a": 1}', CUT]


def test_a_whole_line_at_the_end_only_lacks_its_line_end() -> None:
    assert parsed([b'{"a": 1}\n', b'{"b": [2]}']) == [b'{"a": 1}', b'{"b": [2]}']


def test_unicode_separators_end_no_line() -> None:
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\rh".encode()
    assert parsed([text + b"\n"]) == [text]


@pytest.mark.parametrize("pieces", [[b"x" * 17], [b"x" * 9, b"x" * 9], [b"x" * 17 + b"\n"], [b"\n" + b"x" * 17]])
def test_a_line_over_the_limit_is_refused_however_it_is_cut(pieces: list[bytes]) -> None:
    with pytest.raises(LineTooLarge):
        parsed(pieces, max_line_bytes=16)


def test_many_lines_within_the_limit_are_not_too_large() -> None:
    assert len(parsed([b"x" * 16 + b"\n"] * 40, max_line_bytes=16)) == 40
