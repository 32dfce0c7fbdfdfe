from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import DocumentTooLargeError, DocumentUnreadableError, ParseLimits, parse

HEAD = (
    rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fnil Arial;}{\f1\fcharset204 Arial Cyr;}{\f2\fcharset128 MS;}"
    rb"{\f3\fcharset238 CE;}}{\colortbl;\red0\green0\blue0;}"
    rb"{\stylesheet{\s0 Normal;}{\s1\b heading 1;}{\s2 heading 2;}{\*\cs9 Char;}}{\info{\title The title}{\author Me}}"
)


def read(body: bytes, *, name: str = "letter.rtf") -> ParsedDocument:
    return parse(HEAD + body + b"}", name=name)


def texts(body: bytes) -> list[str]:
    return [block.text for block in read(body).blocks]


def test_paragraphs_and_headings_are_read_and_counted() -> None:
    document = read(
        rb"\pard\s1 Chapter {\b one}\par\pard Text\par\par\pard\s2 Part\par\pard\outlinelevel2 Deep\par\pard end"
    )
    assert (document.unit, document.title, document.media_type) == ("paragraph", "The title", "application/rtf")
    assert [(block.level, block.text, block.source.starts[0]) for block in document.blocks] == [
        (1, "Chapter one", 1),
        (0, "Text", 2),
        (2, "Part", 4),
        (3, "Deep", 5),
        (0, "end", 6),
    ]


def test_characters_are_read_in_every_way_of_writing_them() -> None:
    body = (
        rb"caf\'e9 \u8364?uro \u-10179?\u-8704? {\uc2\u233\'c3\'a9t\u233ab} \emdash\bullet\~x\_y\-z "
        rb"\{\\\} a\tab b\line c\par"
    )
    assert texts(body) == ["café €uro 😀 été —•\xa0x-yz {\\} a\tb\nc"]


@pytest.mark.parametrize(
    ("font", "text", "encoding"), [(1, "Привет", "cp1251"), (2, "日本語", "cp932"), (3, "Łódź żółć", "cp1250")]
)
def test_the_character_set_of_the_font_is_used(font: int, text: str, encoding: str) -> None:
    written = "".join(f"\\'{byte:02x}" for byte in text.encode(encoding)).encode()
    assert texts(rb"{\f%d " % font + written + rb"} caf\'e9\par") == [f"{text} café"]


def test_a_table_is_lines_of_cells() -> None:
    document = read(rb"before\par\trowd\cellx1\cellx2 a\cell b\par c\cell\row\trowd d\cell\cell\row\pard after\par")
    assert [(block.text, block.source.locate(0, len(block.text))) for block in document.blocks] == [
        ("before", (1, 1)),
        ("a | b c\nd |", (2, 6)),
        ("after", (7, 7)),
    ]


def test_lists_have_marks() -> None:
    assert texts(rb"{\listtext\'b7\tab}one\par{\pntext 1.\tab}two\par") == ["- one", "- two"]


def test_what_a_reader_does_not_see_is_left_out() -> None:
    body = (
        rb"{\header no\par}{\v no}{\deleted no}{\*\unknown no {no}}{\field{\*\fldinst HYPERLINK "
        rb'"no"}{\fldrslt link}}{\footnote no}{\pict\bin5 }}}}}}{\object{\*\objdata 00}{\result shown}} end\par'
    )
    assert texts(body) == ["linkshown end"]


def test_what_follows_the_end_is_not_read() -> None:
    assert [block.text for block in parse(HEAD + b"text}no{no}", name="a.rtf").blocks] == ["text"]


@pytest.mark.parametrize("body", [b"", b"{\\pict 00ff}", b"\\par\\par", b"{\\v hidden}"])
def test_a_document_without_text_is_unreadable(body: bytes) -> None:
    with pytest.raises(DocumentUnreadableError, match="no text"):
        read(body)


def test_what_does_not_begin_like_rtf_is_unreadable() -> None:
    with pytest.raises(DocumentUnreadableError, match="does not begin like"):
        parse(b"plain", name="a.rtf")


def test_groups_nested_too_deep_are_too_large() -> None:
    with pytest.raises(DocumentTooLargeError, match="nests groups"):
        read(b"{" * 100_000 + b"x")


def test_text_over_the_limit_is_too_large() -> None:
    with pytest.raises(DocumentTooLargeError, match="characters"):
        parse(HEAD + b"word " * 1000, name="a.rtf", limits=ParseLimits(max_characters=2000))


def written(text: str) -> bytes:
    """Write text as Word does: what is not ASCII in units of UTF-16 with a question mark to stand in."""
    units = text.encode("utf-16-le")
    out = b""
    for low, high in zip(units[::2], units[1::2], strict=True):
        unit = high << 8 | low
        if unit < 0x80:
            out += {0x5C: rb"\\", 0x7B: rb"\{", 0x7D: rb"\}"}.get(unit, bytes([unit]))
        else:
            out += b"\\u%d?" % (unit - 0x10000 if unit > 0x7FFF else unit)
    return out


@given(st.lists(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20), max_size=8))
def test_every_paragraph_comes_out_once_and_where_it_stood(paragraphs: list[str]) -> None:
    marked = [f"m{number} {text}" for number, text in enumerate(paragraphs)]
    document = read(b"".join(written(text) + b"\\par\n" for text in [*marked, "end"]))
    assert [block.text for block in document.blocks] == [text.strip() for text in [*marked, "end"]]
    assert [block.source.starts[0] for block in document.blocks] == list(range(1, len(marked) + 2))
