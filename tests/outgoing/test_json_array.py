from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.outgoing.framing import CutOff
from headwater_server.outgoing.json_array import ArrayParser, ElementTooLarge, NotAnArray
from tests.outgoing.cutting import by_byte, cut

STRINGS = st.text(st.sampled_from('a\\"{}[],:\n\té😀\u2028 '), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=8,
)
ARRAYS = st.lists(VALUES, max_size=6)
CUTS = st.lists(st.integers(0, 400), max_size=12)


def parsed(pieces: Iterable[bytes], **options: int) -> tuple[list[bytes], bool]:
    parser = ArrayParser(**options)
    return [element for piece in pieces for element in parser.feed(piece)], parser.done


def written(array: list[object], *, indent: int | None, ascii_only: bool) -> bytes:
    return json.dumps(array, indent=indent, ensure_ascii=ascii_only).encode()


@given(ARRAYS, st.sampled_from([None, 0, 2]), st.booleans(), CUTS)
def test_any_array_cut_anywhere_gives_the_elements_that_a_whole_parser_gives(
    array: list[object], indent: int | None, ascii_only: bool, cuts: list[int]
) -> None:
    body = written(array, indent=indent, ascii_only=ascii_only)
    elements, done = parsed(cut(body, cuts))
    assert [json.loads(element) for element in elements] == array
    assert done


@given(ARRAYS)
def test_an_array_given_byte_by_byte_gives_the_same_elements(array: list[object]) -> None:
    elements, done = parsed(by_byte(b"\xef\xbb\xbf\r\n " + written(array, indent=1, ascii_only=False) + b"\r\n"))
    assert [json.loads(element) for element in elements] == array
    assert done


@given(ARRAYS, st.data())
def test_an_array_that_is_cut_off_has_not_ended_and_gives_only_whole_elements(
    array: list[object], data: st.DataObject
) -> None:
    body = written(array, indent=None, ascii_only=False)
    elements, done = parsed([body[: data.draw(st.integers(0, len(body) - 1))]])
    assert not done
    assert [json.loads(element) for element in elements] == array[: len(elements)]


@given(st.lists(st.sampled_from([b"[", b"]", b"{", b"}", b",", b'"', b"\\", b"a", b" ", b"\xff"]), max_size=30), CUTS)
def test_where_a_body_is_cut_never_changes_what_becomes_of_it(words: list[bytes], cuts: list[int]) -> None:
    body = b"".join(words)

    def outcome(pieces: Iterable[bytes]) -> tuple[list[bytes], str]:
        parser, elements = ArrayParser(), []
        try:
            for piece in pieces:
                elements += parser.feed(piece)
        except NotAnArray as error:
            return [], str(error)
        return elements, "done" if parser.done else "open"

    assert outcome(cut(body, cuts)) == outcome(by_byte(body)) == outcome([body])


def test_an_element_comes_with_its_comma_and_the_array_ends_with_its_bracket() -> None:
    parser = ArrayParser()
    assert parser.feed(b'[{"a": "],[\\"}"}') == []
    assert parser.feed(b",\r\n") == [b'{"a": "],[\\"}"}']
    assert parser.feed(b'{"b": 1}') == []
    assert not parser.done
    assert parser.feed(b"]") == [b'{"b": 1}']
    assert parser.done


def test_an_array_that_has_not_ended_is_cut_off_where_its_body_ends() -> None:
    for body in (b"", b"\xef\xbb", b"[", b"[1", b"[1]"):
        parser = ArrayParser()
        parser.feed(body)
        if body.endswith(b"]"):
            assert parser.finish() == []
        else:
            with pytest.raises(CutOff):
                parser.finish()


@pytest.mark.parametrize("body", [b"{}", b"data: x", b"[1] 2", b"[1,,2]", b"[1,]", b"[,1]", b'[{"a": 1}}'])
def test_what_is_no_array_is_refused(body: bytes) -> None:
    for pieces in ([body], by_byte(body)):
        with pytest.raises(NotAnArray):
            parsed(pieces)


@pytest.mark.parametrize("pieces", [[b'["' + b"x" * 20], [b"[", b"x" * 9, b"x" * 9], [b"[" + b"x" * 17 + b"]"]])
def test_an_element_over_the_limit_is_refused_however_it_is_cut(pieces: list[bytes]) -> None:
    with pytest.raises(ElementTooLarge):
        parsed(pieces, max_element_bytes=16)


def test_many_elements_within_the_limit_are_not_too_large() -> None:
    body = b"[" + b", ".join([b"x" * 16] * 40) + b"]"
    assert len(parsed([body], max_element_bytes=16)[0]) == 40
