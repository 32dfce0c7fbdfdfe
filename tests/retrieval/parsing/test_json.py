from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import (
    DocumentTooLargeError,
    DocumentUnreadableError,
    ParseLimits,
    parse,
)
from headwater_server.retrieval.parsing.json_events import JsonSyntaxError, read_events


def read(source: str | bytes, *, name: str = "data.json") -> ParsedDocument:
    return parse(source if isinstance(source, bytes) else source.encode(), name=name)


def lines_of(document: ParsedDocument) -> list[str]:
    return [line for block in document.blocks for line in block.text.split("\n") if line]


def test_each_value_has_its_path_and_its_line() -> None:
    document = read(
        """{
  "title": "People",
  "users": [
    {"name": "Ann", "tags": ["a", "b"],
     "address": {"city": "Paris"}},
    {"name": "Bob"}
  ],
  "total": 2
}"""
    )
    assert (document.unit, document.title, document.media_type) == ("line", "People", "application/json")
    text = document.blocks[0].text
    assert text.split("\n") == [
        "title: People",
        "users[0].name: Ann",
        "users[0].tags: a, b",
        "users[0].address.city: Paris",
        "users[1].name: Bob",
        "total: 2",
    ]
    for words, line in [("People", 2), ("Ann", 4), ("a, b", 4), ("Paris", 5), ("Bob", 6), ("total", 8)]:
        start = text.index(words)
        assert document.blocks[0].source.locate(start, start + len(words)) == (line, line)


def test_items_of_the_outermost_array_have_no_index() -> None:
    assert lines_of(read('[{"a": 1}, {"a": 2}, "text"]')) == ["a: 1", "a: 2", "text"]


def test_a_file_without_line_ends_is_located_by_bytes() -> None:
    source = json.dumps([{"id": number, "text": f"Größe {number}"} for number in range(200)], ensure_ascii=False)
    content = source.encode()
    document = read(content)
    assert document.unit == "byte"
    for block in document.blocks:
        offset = block.text.index("Größe")
        end = block.text.index("\n", offset) if "\n" in block.text[offset:] else len(block.text)
        first, last = block.source.locate(offset, end)
        assert block.text[offset:end].encode() in content[first:last]
    first, last = document.blocks[-1].source.locate(0, len(document.blocks[-1].text))
    assert content[last:] == b"}]"


@settings(deadline=None)
@given(
    unit=st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\xad\ufeff\ufffe\uffff"), min_size=3
    ),
    ascii_only=st.booleans(),
)
def test_each_part_of_a_long_string_is_located_by_its_own_bytes(unit: str, *, ascii_only: bool) -> None:
    said = (unit + '"\n')[:40] * 300
    content = json.dumps([{"id": 7, "text": said}], ensure_ascii=ascii_only).encode()
    document = read(content)
    assert document.unit == "byte"
    (block,) = document.blocks
    begin = block.text.index("text: ") + len("text: ")
    for start in range(begin, len(block.text) - 20, 170):
        first, last = block.source.locate(start, start + 20)
        part = content[first:last].decode()
        assert json.dumps(block.text[start : start + 20], ensure_ascii=ascii_only)[1:-1] in part
        assert len(part) < len(content) / 2


def test_a_long_string_that_ends_with_blanks_does_not_misplace_what_follows() -> None:
    content = json.dumps([{"text": "x" * 900 + " " * 500, "after": "here"}]).encode()
    block = next(block for block in read(content).blocks if "after: here" in block.text)
    start = block.text.index("after: here")
    first, last = block.source.locate(start, start + 11)
    assert content[first:last] == b'"after": "here"'


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_long_line_is_read_in_other_encodings_too(encoding: str) -> None:
    content = json.dumps([{"word": "x"}] * 500).encode(encoding)
    document = read(content)
    assert lines_of(document) == ["word: x"] * 500
    assert document.unit == ("byte" if encoding == "utf-8-sig" else "line")
    if document.unit == "byte":
        first, last = document.blocks[0].source.locate(0, 7)
        assert content[first:last] == b'"word": "x"'


@pytest.mark.parametrize("name", ["data.jsonl", "data.ndjson"])
def test_json_lines_are_records_with_their_lines(name: str) -> None:
    document = read('{"level": "info", "message": "started"}\n\n{"level": "error"}\n["x", 1]\n', name=name)
    assert document.unit == "line"
    block = document.blocks[0]
    assert block.text == "level: info\nmessage: started\n\nlevel: error\n\nx, 1"
    start = block.text.index("level: error")
    assert block.source.locate(start, start + 12) == (3, 3)
    assert block.source.locate(len(block.text) - 1, len(block.text)) == (4, 4)


def test_a_broken_line_of_json_lines_is_text() -> None:
    assert lines_of(read('{"a": 1}\n{"a": 2, "b": "cut o\n', name="a.jsonl")) == ["a: 1", '{"a": 2, "b": "cut o']


def test_a_pretty_file_with_the_ending_of_json_lines_is_read() -> None:
    assert lines_of(read('{\n  "a": 1\n}\n', name="a.jsonl")) == ["a: 1"]


def test_several_values_comments_and_trailing_commas_are_read() -> None:
    assert lines_of(read('// settings\n{"a": [1, 2,], /* b */ "b": "//c",}\n{"a": 3}\n')) == [
        "a: 1, 2",
        "b: //c",
        "a: 3",
    ]


def test_what_is_odd_in_json_stays_as_it_is_written() -> None:
    document = read(
        '{"n": 123456789012345678901234567890, "e": 1e999999, "x": NaN, "n": -0.0, "empty": {}, "none": [], '
        '"z": null, "half": "\\ud800", "pair": "\\ud83d\\ude00", "nul": "a\\u0000b"}'
    )
    assert lines_of(document) == [
        "n: 123456789012345678901234567890",
        "e: 1e999999",
        "x: NaN",
        "n: -0.0",
        "empty: {}",
        "none: []",
        "z: null",
        "half: \ufffd",
        "pair: 😀",
        "nul: ab",
    ]


def test_long_keys_and_long_paths_do_not_swell_the_text() -> None:
    key = "a sentence that is a key " * 20
    document = read(json.dumps({key: {f"k{number}": number for number in range(1000)}}))
    text = "\n".join(block.text for block in document.blocks)
    assert text.count(key.strip()) == 1
    assert len(text) < 100_000


@pytest.mark.parametrize(
    "source",
    ["{", '{"a" 1}', "[1 2]", "]", '{"a":1,,}', "[,1]", '"open', "{'a': 1}", "01x", '"\\x"', "tru", "[1}", "{1: 2}"],
)
def test_what_is_not_json_is_unreadable_and_the_message_names_the_line(source: str) -> None:
    with pytest.raises(DocumentUnreadableError, match="not valid JSON: line 3 "):
        read("\n\n" + source)


@pytest.mark.parametrize("source", ["  \n", '""'])
def test_json_without_text_is_unreadable(source: str) -> None:
    with pytest.raises(DocumentUnreadableError):
        read(source)


@pytest.mark.parametrize("source", ["[" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000])
def test_json_that_nests_too_deep_is_too_large(source: str) -> None:
    with pytest.raises(DocumentTooLargeError, match="nests deeper"):
        read(source)


def test_json_over_the_limit_is_too_large() -> None:
    with pytest.raises(DocumentTooLargeError):
        parse(json.dumps(["word"] * 5000).encode(), name="a.json", limits=ParseLimits(max_characters=10_000))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_json_is_read_in_the_encodings_of_its_standard(encoding: str) -> None:
    assert lines_of(read('{"Größe": "schön"}'.encode(encoding))) == ["Größe: schön"]


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
)


def scalars(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in scalars(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in scalars(inner)]
    return [value if isinstance(value, str) else json.dumps(value)]


@given(VALUES, st.sampled_from([None, 2]), st.booleans())
def test_the_reader_finds_the_scalars_that_the_standard_library_finds(
    value: Any, indent: int | None, ascii_only: bool
) -> None:
    source = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    events = list(read_events(source))
    assert [event.text for event in events if event.kind == "value"] == scalars(json.loads(source))
    for event in events:
        if event.kind in {"key", "value"} and source[event.start] == '"':
            assert json.loads(source[event.start : event.end]) == event.text


@given(st.text('[]{}:,"\\ 01ea.-trufalsn/*\n', max_size=30))
def test_what_the_standard_library_reads_is_read(source: str) -> None:
    try:
        json.loads(source, strict=False)
    except (ValueError, RecursionError):
        try:
            list(read_events(source))
        except JsonSyntaxError as error:
            assert 0 <= error.position <= len(source)  # noqa: PT017  any other error fails the test
        return
    list(read_events(source))


@given(st.lists(st.dictionaries(st.text("abc", min_size=1), st.integers(), min_size=1, max_size=3), max_size=30))
def test_every_value_comes_out_once_and_in_its_line(records: list[dict[str, int]]) -> None:
    marked = [{key: f"v{i}.{j}x" for j, key in enumerate(record)} for i, record in enumerate(records)]
    source = "[\n" + ",\n".join(json.dumps(record) for record in [{"first": "v"}, *marked]) + "\n]"
    document = read(source)
    text = "\n".join(block.text for block in document.blocks)
    for i, record in enumerate(marked):
        for value in record.values():
            assert text.count(value) == 1
            block = next(block for block in document.blocks if value in block.text)
            start = block.text.index(value)
            assert block.source.locate(start, start + len(value)) == (i + 3, i + 3)
