from __future__ import annotations

import base64
import random
import zlib
from contextlib import suppress

import pytest

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import (
    DocumentError,
    DocumentTooLargeError,
    DocumentUnreadableError,
    ParseLimits,
    parse,
)
from tests.retrieval.parsing.hostile import pdf_of_one_page, pdf_stream
from tests.retrieval.parsing.samples import make_pdf

LONG = "This is a line of a paragraph that is long enough to look full"


def read(pages: list[list[str]], **options: str) -> ParsedDocument:
    return parse(make_pdf(pages, **options), name="folder/paper.pdf")  # type: ignore[arg-type]  # only text options


def located(document: ParsedDocument) -> list[tuple[str, int, int]]:
    return [(block.text, *block.source.locate(0, len(block.text))) for block in document.blocks]


def test_each_page_is_located() -> None:
    document = read([["First page."], [], ["Third page."]])
    assert document.unit == "page"
    assert located(document) == [("First page.", 1, 1), ("Third page.", 3, 3)]


def test_wrapped_lines_are_joined_and_paragraphs_kept_apart() -> None:
    document = read([[LONG, "and goes on", "as verse.", LONG + ".", "- item one", "- item two"]])
    assert [block.text for block in document.blocks] == [
        f"{LONG} and goes on\nas verse.",
        f"{LONG}.",
        "- item one",
        "- item two",
    ]


def test_a_paragraph_can_span_pages() -> None:
    document = read([["Intro.", LONG], ["continues here."]])
    assert located(document) == [("Intro.", 1, 1), (f"{LONG} continues here.", 1, 2)]
    spanning = document.blocks[1]
    assert spanning.source.locate(0, len(LONG)) == (1, 1)
    assert spanning.source.locate(len(LONG) + 1, len(spanning.text)) == (2, 2)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([f"{LONG} of a docu-", "ment in parts"], "document in parts"),
        ([f"{LONG} of well-known and well-", "known things"], "well-known and well-known things"),
        ([f"{LONG} of the database and data-", "base things"], "the database and database things"),
        ([f"{LONG} of the Anglo-", "Saxon kings"], "Anglo-Saxon kings"),
        ([f"{LONG} of the year 1999-", "2000 or so"], "1999-2000 or so"),
    ],
)
def test_words_parted_by_a_line_end_are_joined_with_care(lines: list[str], expected: str) -> None:
    text = read([lines]).blocks[0].text
    assert text.endswith(expected)


def test_a_word_parted_by_a_page_end_is_joined() -> None:
    document = read([[f"{LONG} of a docu-"], ["ment in parts"]])
    assert document.blocks[0].text.endswith("a document in parts")
    assert document.blocks[0].source.ends == (1, 2)


def test_running_heads_and_page_numbers_stand_once_or_not_at_all() -> None:
    pages = [[f"The Journal {n}", "One.", "Two.", f"Page {n} text.", "Four.", str(n)] for n in range(1, 9)]
    text = "\n".join(block.text for block in read(pages).blocks)
    assert text.count("The Journal") == 1
    assert all(f"Page {n} text." in text for n in range(1, 9))
    assert not any(line.isdecimal() for line in text.split("\n"))


def test_first_lines_that_only_look_alike_stay() -> None:
    pages = [["Chapter one", "a.", "b.", "c.", "d.", "e."] for _ in range(3)] + [[f"Only {n}"] for n in range(9)]
    text = "\n".join(block.text for block in read(pages).blocks)
    assert text.count("Chapter one") == 3
    assert text.count("Only") == 9


def test_first_lines_that_say_something_new_on_each_page_stay() -> None:
    pages = [[f"Chapter {n}: type {n} is reported to office {n}.", "a.", "b.", "c.", "d.", "e."] for n in range(1, 9)]
    text = "\n".join(block.text for block in read(pages).blocks)
    assert all(f"type {n} is reported to office {n}." in text for n in range(1, 9))


def test_the_outline_gives_the_headings() -> None:
    pages = [["1 Introduction", "Text of it.", "Method"], ["2.1 Method", "Introduction", "More."]]
    content = make_pdf(pages, outline=[("Introduction", 1), ("2.1 Method", 2)])
    levels = [(block.level, block.text) for block in parse(content, name="a.pdf").blocks]
    assert levels == [
        (1, "1 Introduction"),
        (0, "Text of it."),
        (0, "Method"),
        (1, "2.1 Method"),
        (0, "Introduction\nMore."),
    ]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("On Rivers", "On Rivers"),
        ("Microsoft Word - On Rivers", "On Rivers"),
        ("rivers_v2.docx", "paper"),
        ("untitled", "paper"),
        ("", "paper"),
    ],
)
def test_the_title_is_that_of_the_metadata_if_it_is_one(title: str, expected: str) -> None:
    assert read([["Text."]], title=title).title == expected


def test_a_pdf_without_text_is_said_to_be_scanned() -> None:
    with pytest.raises(DocumentUnreadableError, match=r"no text on its 3 pages.*scanned"):
        read([[], [], []])


def test_an_encrypted_pdf_says_so() -> None:
    with pytest.raises(DocumentUnreadableError, match="encrypted"):
        read([["Secret."]], password="secret")


def test_a_pdf_without_pages_is_unreadable() -> None:
    with pytest.raises(DocumentUnreadableError):
        read([])


def test_a_pdf_of_too_many_pages_or_characters_is_too_large() -> None:
    content = make_pdf([["Text of a page."]] * 4)
    with pytest.raises(DocumentTooLargeError, match="4 pages; the limit is 3"):
        parse(content, name="a.pdf", limits=ParseLimits(max_pages=3))
    with pytest.raises(DocumentTooLargeError, match="limit of 40 characters"):
        parse(content, name="a.pdf", limits=ParseLimits(max_characters=40))


def test_a_pdf_cut_short_is_an_error_and_never_a_part() -> None:
    content = make_pdf([[f"Text of page {n}."] for n in range(1, 6)])
    for length in range(9, len(content) - 200, 97):
        with pytest.raises(DocumentUnreadableError):
            parse(content[:length], name="a.pdf")


def test_a_damaged_pdf_ends_in_a_document_or_an_error_of_ours() -> None:
    content = make_pdf([["Some text."], ["More text."]], title="T", outline=[("Some text.", 1)])
    generator = random.Random(7)  # noqa: S311  a seed for repeatable damage, not a secret
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(generator.randint(1, 20)):
            damaged[generator.randrange(8, len(damaged))] = generator.randrange(256)
        with suppress(DocumentError):
            assert parse(bytes(damaged), name="a.pdf").blocks


PACKED = zlib.compress(b"BT /F1 9 Tf 9 9 Td (Packed text) Tj ET" + b" " * 2000)


@pytest.mark.parametrize(
    ("data", "filters"),
    [
        (PACKED, b"/Filter/FlateDecode"),
        (PACKED, b"/Filter [/FlateDecode]"),
        (base64.a85encode(PACKED) + b"~>", b"/Filter[/ASCII85Decode/FlateDecode]"),
        (PACKED.hex().encode() + b">", b"/Filter[/ASCIIHexDecode /FlateDecode]"),
    ],
)
def test_a_packed_page_is_read_within_the_limit_and_not_beyond(data: bytes, filters: bytes) -> None:
    content = pdf_of_one_page(pdf_stream(data, filters))
    assert parse(content, name="a.pdf").blocks[0].text == "Packed text"
    if data is PACKED:
        with pytest.raises(DocumentTooLargeError, match="unpacks to over 1,000 bytes"):
            parse(content, name="a.pdf", limits=ParseLimits(max_stream_bytes=1000))


def test_pictures_and_attachments_count_for_nothing() -> None:
    large = zlib.compress(bytes(5000))
    others = [
        pdf_stream(large, b"/Type/XObject/Subtype/Image/Width 50/Height 100/Filter/FlateDecode"),
        pdf_stream(large, b"/Type/EmbeddedFile/Filter/FlateDecode"),
        pdf_stream(large, b"/Length1 5000/Filter/FlateDecode"),
    ]
    content = pdf_of_one_page(pdf_stream(b"BT /F1 9 Tf 9 9 Td (Text) Tj ET"), more=others)
    assert parse(content, name="a.pdf", limits=ParseLimits(max_stream_bytes=1000)).blocks[0].text == "Text"
