from __future__ import annotations

import pytest

from headwater_server.retrieval.model import Location, ParsedDocument
from headwater_server.retrieval.parsing import DocumentTooLargeError, DocumentUnreadableError, ParseLimits, parse
from headwater_server.retrieval.splitting import split
from tests.retrieval.parsing.hostile import opendocument_encrypted
from tests.retrieval.parsing.samples import make_odt, with_file, zipped


def read(content: bytes, **limits: int) -> ParsedDocument:
    return parse(content, name="letter.odt", limits=ParseLimits(**limits))


def located(document: ParsedDocument) -> list[tuple[int, str, int, int]]:
    return [(block.level, block.text, *block.source.locate(0, len(block.text))) for block in document.blocks]


def texts(body: str) -> list[str]:
    return [block.text for block in read(make_odt(f"<text:p>anchor</text:p>{body}")).blocks[1:]]


LIST = (
    "<text:list><text:list-item><text:p>one</text:p><text:p>still one</text:p><text:list><text:list-item><text:p>deep"
    "</text:p></text:list-item></text:list></text:list-item><text:list-item><text:p>two</text:p></text:list-item>"
    "</text:list>"
)
TABLE = (
    "<table:table><table:table-column/><table:table-header-rows><table:table-row><table:table-cell><text:p>a</text:p>"
    "</table:table-cell><table:table-cell><text:p>b</text:p></table:table-cell></table:table-row>"
    "</table:table-header-rows><table:table-row><table:table-cell><text:p>c</text:p><text:p>more</text:p>"
    "</table:table-cell><table:covered-table-cell/><table:table-cell><text:p>d</text:p></table:table-cell>"
    "</table:table-row></table:table>"
)


def test_paragraphs_are_counted_through_headings_lists_and_tables() -> None:
    body = (
        '<text:p text:style-name="P1">Report</text:p><text:h text:outline-level="2">First part</text:h>'
        f"<text:p>Text.</text:p><text:p/>{LIST}{TABLE}<text:section><text:h>Last</text:h></text:section>"
    )
    styles = '<style:style style:name="P1" style:parent-style-name="Title"/>'
    document = read(make_odt(body, styles=styles))
    assert document.unit == "paragraph"
    assert located(document) == [
        (1, "Report", 1, 1),
        (2, "First part", 2, 2),
        (0, "Text.", 3, 3),
        (0, "- one\n  still one\n  - deep\n- two", 5, 8),
        (0, "a | b\nc more | d", 9, 13),
        (1, "Last", 14, 14),
    ]
    assert document.blocks[3].source.locate(6, 17) == (6, 6)
    assert document.blocks[4].source.locate(6, 16) == (11, 13)
    assert split(document)[-1].location == Location("paragraph", 1, 14)


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        ("  Much \n\t white   space ", "Much white space"),
        ('a<text:s text:c="3"/>b<text:s/>c', "a   b c"),
        ("a<text:tab/>b<text:line-break/>c", "a\tb\nc"),
        ("<text:span>st<text:span>yled</text:span></text:span> text", "styled text"),
        ('see <text:a href="x">there</text:a>, now', "see there, now"),
        ("a<text:soft-page-break/>b<text:bookmark/> c", "ab c"),
        ("<text:ruby><text:ruby-base>漢字</text:ruby-base><text:ruby-text>kanji</text:ruby-text></text:ruby>", "漢字"),
        ("said<office:annotation><text:p>a comment</text:p></office:annotation> so", "said so"),
        ('new<text:change-start text:change-id="1"/> words', "new words"),
    ],
)
def test_what_a_paragraph_says(inner: str, text: str) -> None:
    assert texts(f"<text:p>{inner}</text:p>") == [text]


@pytest.mark.parametrize(
    "left_out",
    [
        (
            "<text:tracked-changes><text:changed-region><text:deletion><text:p>deleted</text:p></text:deletion>"
            "</text:changed-region></text:tracked-changes>"
        ),
        '<text:section text:display="none"><text:p>hidden</text:p></text:section>',
        "<text:table-of-content><text:index-body><text:p>Contents 1</text:p></text:index-body></text:table-of-content>",
        "<office:forms><text:p>x</text:p></office:forms>",
    ],
)
def test_deleted_hidden_and_repeated_text_is_left_out(left_out: str) -> None:
    assert texts(f"{left_out}<text:p>seen</text:p>") == ["seen"]


def test_notes_and_text_boxes_follow_the_paragraph_they_belong_to() -> None:
    body = "<text:note-body><text:p>the note</text:p></text:note-body>"
    note = f"<text:note><text:note-citation>1</text:note-citation>{body}</text:note>"
    box = "<draw:frame><draw:text-box><text:p>in a box</text:p></draw:text-box></draw:frame>"
    document = read(make_odt(f"<text:p>before{note} after{box}</text:p><text:p>next</text:p>"))
    assert located(document) == [
        (0, "before after", 1, 1),
        (0, "the note", 2, 2),
        (0, "in a box", 3, 3),
        (0, "next", 4, 4),
    ]
    cell = f"<table:table-cell><text:p>cell{note}</text:p><text:p>end</text:p></table:table-cell>"
    assert texts(f"<table:table><table:table-row>{cell}</table:table-row></table:table>") == ["cell the note end"]


def test_the_lines_of_a_listing_are_one_block() -> None:
    styles = '<style:style style:name="P2" style:parent-style-name="Preformatted_20_Text"/>'
    code = [f'<text:p text:style-name="{name}">{line}</text:p>' for name, line in [
        ("P2", "if x:"), ("P2", '<text:s text:c="4"/>y()'), ("Preformatted_20_Text", ""), ("P2", "z()")
    ]]  # fmt: skip
    document = read(
        make_odt(f"<text:p>a</text:p>{''.join(code)}<text:p>b</text:p>{LIST}{code[0]}{LIST}", styles=styles)
    )
    assert [block[1:] for block in located(document)[:3]] == [
        ("a", 1, 1),
        ("if x:\n    y()\n\nz()", 2, 5),
        ("b", 6, 6),
    ]
    assert [block.text.split("\n")[0] for block in document.blocks[3:]] == ["- one", "if x:", "- one"]


def test_a_numbered_heading_ends_the_list_it_is_written_in() -> None:
    body = "<text:list><text:list-item><text:h>Numbered</text:h></text:list-item></text:list><text:p>Text</text:p>"
    assert [block[:2] for block in located(read(make_odt(body)))] == [(1, "Numbered"), (0, "Text")]


def test_a_heading_too_long_to_be_one_is_text_and_loses_nothing() -> None:
    long = "clause " * 400 + "last"
    document = read(make_odt(f"<text:h>{long}</text:h><text:h>Short</text:h>"))
    assert located(document) == [(0, long, 1, 1), (1, "Short", 2, 2)]


def test_titles_come_from_the_properties_a_heading_or_the_name() -> None:
    assert read(make_odt("<text:h>A heading</text:h>", title="The Title")).title == "The Title"
    assert read(make_odt("<text:h>A heading</text:h>")).title == "A heading"
    assert read(make_odt("<text:p>Text</text:p>")).title == "letter"


@pytest.mark.parametrize("declared", [True, False])
def test_an_encrypted_document_says_so(*, declared: bool) -> None:
    with pytest.raises(DocumentUnreadableError, match="encrypted"):
        read(opendocument_encrypted(declared=declared))


def test_an_old_manifest_that_leaves_its_prefix_to_a_document_type_is_read() -> None:
    manifest = (
        b'<!DOCTYPE manifest:manifest PUBLIC "-//OpenOffice.org//DTD Manifest 1.0//EN" "Manifest.dtd">'
        b'<manifest:manifest><manifest:file-entry manifest:full-path="content.xml"/></manifest:manifest>'
    )
    document = read(with_file(make_odt("<text:p>Text</text:p>"), "META-INF/manifest.xml", manifest))
    assert [block.text for block in document.blocks] == ["Text"]


def test_a_template_of_styles_says_that_it_has_no_text() -> None:
    kind = b"application/vnd.oasis.opendocument.text-template"
    with pytest.raises(DocumentUnreadableError, match="only styles"):
        read(zipped({"mimetype": kind, "styles.xml": b"<styles/>"}))


def test_a_document_without_text_is_unreadable() -> None:
    with pytest.raises(DocumentUnreadableError, match="no text"):
        read(make_odt("<text:p> </text:p>"))


def test_the_text_is_limited() -> None:
    with pytest.raises(DocumentTooLargeError, match="100 characters"):
        read(make_odt("<text:p>word word word</text:p>" * 30), max_characters=100)
    with pytest.raises(DocumentTooLargeError, match="elements and attributes"):
        read(make_odt("<text:p>x</text:p>" * 30), max_markup=50)


@pytest.mark.parametrize("data", [b"", b"<broken", b"<a/>", b"\x00\x01", b"<?xml version='1.0' encoding='utf-7'?><a/>"])
def test_malformed_content_is_unreadable(data: bytes) -> None:
    with pytest.raises(DocumentUnreadableError):
        read(with_file(make_odt("<text:p>x</text:p>"), "content.xml", data))


def test_a_package_without_content_is_unreadable() -> None:
    with pytest.raises(DocumentUnreadableError, match="damaged"):
        read(zipped({"mimetype": "application/vnd.oasis.opendocument.text"}))
