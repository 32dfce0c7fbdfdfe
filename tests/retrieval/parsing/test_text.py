from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.parsing import DocumentUnsupportedError, parse
from headwater_server.retrieval.parsing.text import choose_title, clean, decode, one_line

RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 5
FRENCH = "L'été dernier, la forêt était très belle après la pluie; où êtes-vous allé, mon cher garçon? " * 5


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1251", "koi8-r"])
def test_russian_is_read_in_its_usual_encodings(encoding: str) -> None:
    assert decode(RUSSIAN.encode(encoding)) == RUSSIAN


def test_french_in_latin_1_is_read() -> None:
    assert decode(FRENCH.encode("latin-1")) == FRENCH


@pytest.mark.parametrize(("bom", "encoding"), [(codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF32_BE, "utf-32-be")])
def test_a_byte_order_mark_decides(bom: bytes, encoding: str) -> None:
    assert decode(bom + FRENCH.encode(encoding), charset="ascii") == FRENCH


def test_a_declared_charset_is_used_where_the_text_is_not_utf_8() -> None:
    assert decode(b"\xd3\xcc\xcf\xd7\xcf", charset="koi8-r") == "слово"
    assert decode("слово".encode(), charset="koi8-r") == "слово"


def test_an_unknown_or_wrong_declared_charset_does_no_harm() -> None:
    assert decode(FRENCH.encode("latin-1"), charset="no-such-charset") == FRENCH
    assert decode(FRENCH.encode("latin-1"), charset="ascii") == FRENCH


def test_a_broken_place_does_not_turn_utf_8_into_something_else() -> None:
    assert decode(FRENCH.encode() + b"\xff" + FRENCH.encode()) == f"{FRENCH}\ufffd{FRENCH}"


def test_nul_characters_mean_data() -> None:
    with pytest.raises(DocumentUnsupportedError, match="NUL"):
        decode("a\0b".encode("utf-16"))


def test_control_characters_go_and_line_ends_become_newlines() -> None:
    assert clean("a\r\nb\rc\nd\te\x0cf\x07g\u00adh\ufeff\x85i\x1b[0m\ud800") == "a\nb\nc\nd\te fgh i[0m\ufffd"


@given(st.text(st.characters()))
def test_clean_text_can_be_encoded_and_stays_as_it_is(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("candidates", "name", "expected"),
    [
        (("A  title\n of lines", "b"), "c.txt", "A title of lines"),
        ((None, "", " -- ", "b"), "c.txt", "b"),
        ((), "folder/report.final.txt", "report.final"),
        ((), "C:\\folder\\report.txt", "report"),
        ((), "", ""),
    ],
)
def test_the_first_title_that_says_something_is_chosen(
    candidates: tuple[str | None, ...], name: str, expected: str
) -> None:
    assert choose_title(*candidates, name=name) == expected


def test_a_long_title_is_cut() -> None:
    assert one_line("word " * 1000, limit=12) == "word word w…"


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t\v\f\x85\x1f"), max_size=60))
)
def test_every_block_of_plain_text_stands_in_the_lines_it_names(lines: list[str]) -> None:
    source = "\n".join(["# not a heading", *lines])
    document = parse(source.encode(), name="a.txt")
    cleaned = clean(source).split("\n")
    assert document.unit == "line"
    for block in document.blocks:
        for number, line in enumerate(block.text.split("\n"), start=block.source.starts[0]):
            assert cleaned[number - 1].startswith(line)
    assert "".join("".join(block.text for block in document.blocks).split()) == "".join(clean(source).split())


def test_lines_of_plain_text_end_with_any_of_the_usual_line_ends() -> None:
    document = parse(b"one\r\ntwo\r\rfour\n\n\nseven", name="notes.txt")
    assert [(b.text, b.source.locate(0, len(b.text))) for b in document.blocks] == [
        ("one\ntwo", (1, 2)),
        ("four", (4, 4)),
        ("seven", (7, 7)),
    ]
    assert document.title == "notes"
