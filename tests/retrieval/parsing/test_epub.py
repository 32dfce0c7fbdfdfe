from __future__ import annotations

import pytest

from headwater_server.retrieval.model import Location, ParsedDocument
from headwater_server.retrieval.parsing import DocumentTooLargeError, DocumentUnreadableError, ParseLimits, parse
from headwater_server.retrieval.splitting import SplitSettings, split
from tests.retrieval.parsing.hostile import epub_protected
from tests.retrieval.parsing.samples import make_epub, with_file, zipped


def read(content: bytes, **limits: int) -> ParsedDocument:
    return parse(content, name="novel.epub", limits=ParseLimits(**limits))


def located(document: ParsedDocument) -> list[tuple[int, str, int, int]]:
    return [(block.level, block.text, *block.source.locate(0, len(block.text))) for block in document.blocks]


CHAPTERS = {
    "b one.xhtml": "<h1>Morning</h1><p>It&nbsp;was early.<br/>Very early.</p><ul><li>bread</li><li>milk</li></ul>",
    "a.xhtml": "<div>Evening</div><table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table><pre>a\n\nb</pre>",
}


def test_paragraphs_are_counted_through_the_book_in_reading_order() -> None:
    document = read(make_epub(CHAPTERS, title="A day"))
    assert document.unit == "paragraph"
    assert document.title == "A day"
    assert located(document) == [
        (1, "Morning", 1, 1),
        (0, "It was early.\nVery early.", 2, 3),
        (0, "- bread\n- milk", 4, 5),
        (0, "Evening", 6, 6),
        (0, "1 | 2\n3", 7, 8),
        (0, "a\n\nb", 9, 10),
    ]
    pre = document.blocks[-1]
    assert pre.source.locate(0, 1) == (9, 9)
    assert pre.source.locate(3, 4) == (10, 10)


def test_lines_that_the_table_of_contents_names_are_headings() -> None:
    navigation = (
        '<li><a href="b%20one.xhtml">1. Morning</a><ol><li><a href="a.xhtml#e"><i>Eve</i>ning</a></li></ol></li>'
        '<li><a href="http://example.org/">Elsewhere</a></li>'
    )
    document = read(make_epub(CHAPTERS, navigation=navigation))
    assert [(block.level, block.text) for block in document.blocks if block.level] == [(1, "Morning"), (2, "Evening")]
    passages = split(document, settings=SplitSettings(max_characters=60))
    assert passages[-1].heading == "Morning > Evening"
    assert passages[-1].location == Location("paragraph", 6, 10)


def test_the_older_table_of_contents_is_read_too() -> None:
    item = '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
    points = (
        '<navPoint><navLabel><text>Morning</text></navLabel><content src="b%20one.xhtml"/><navPoint><navLabel><text>'
        'EVENING</text></navLabel><content src="a.xhtml#x"/></navPoint></navPoint>'
    )
    doctype = '<!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" "http://www.daisy.org/z3986/2005/ncx-2005-1.dtd">'
    ncx = f'{doctype}<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{points}</navMap></ncx>'
    content = with_file(make_epub(CHAPTERS, extra=item), "OEBPS/toc.ncx", ncx.encode())
    assert [(b.level, b.text) for b in read(content).blocks if b.level] == [(1, "Morning"), (2, "Evening")]
    damaged = with_file(content, "OEBPS/toc.ncx", b"<ncx")
    assert [(b.level, b.text) for b in read(damaged).blocks if b.level] == [(1, "Morning")]


def test_scripts_closed_in_their_own_tag_swallow_nothing() -> None:
    body = '<p>before</p><script type="text/javascript" src="a/b.js"/><p>between</p><iframe src=\'x\' /><p>after</p>'
    assert [block.text for block in read(make_epub({"a.xhtml": body})).blocks] == ["before", "between", "after"]


@pytest.mark.parametrize(
    "empty", ['<audio src="a.mp3"/>', '<p><object data="a.svg"/></p>', "<canvas/>", '<h2 id="b"/>']
)
def test_nor_does_any_other_element(empty: str) -> None:
    document = read(make_epub({"a.xhtml": f"<p>before</p>{empty}<p>after</p>"}))
    assert located(document) == [(0, "before", 1, 1), (0, "after", 2, 2)]


def test_a_chapter_may_be_in_another_encoding() -> None:
    content = make_epub({"a.xhtml": "<p>x</p>"})
    chapter = '<?xml version="1.0" encoding="iso-8859-2"?><html><body><p>Žluťoučký kůň</p></body></html>'
    content = with_file(content, "OEBPS/a.xhtml", chapter.encode("iso-8859-2"))
    assert read(content).blocks[0].text == "Žluťoučký kůň"


def test_titles_come_from_the_metadata_a_heading_or_the_name() -> None:
    assert read(make_epub(CHAPTERS)).title == "Morning"
    assert read(make_epub({"a.xhtml": "<p>Text</p>"})).title == "novel"


def test_a_book_with_obfuscated_fonts_is_read_and_a_protected_one_is_not() -> None:
    fonts = (
        '<encryption xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:EncryptionMethod '
        'Algorithm="http://www.idpf.org/2008/embedding"/></enc:EncryptedData></encryption>'
    )
    content = with_file(make_epub(CHAPTERS), "META-INF/encryption.xml", fonts.encode())
    assert located(read(content)) == located(read(make_epub(CHAPTERS)))
    with pytest.raises(DocumentUnreadableError, match="DRM"):
        read(epub_protected())


def book_whose_chapter_is(href: str) -> bytes:
    item = f'<item id="c" href="{href}" media-type="application/xhtml+xml"/>'
    package = f'<package><manifest>{item}</manifest><spine><itemref idref="c"/></spine></package>'
    return with_file(make_epub({"a.xhtml": "<p>x</p>"}), "OEBPS/book.opf", package.encode())


def test_a_missing_chapter_makes_the_book_unreadable() -> None:
    assert read(book_whose_chapter_is("a.xhtml")).blocks[0].text == "x"
    with pytest.raises(DocumentUnreadableError, match="chapter of it is missing"):
        read(book_whose_chapter_is("b.xhtml"))


@pytest.mark.parametrize(
    "href", ["../../../../etc/passwd", "file:///etc/passwd", "/etc/passwd", "http://example.org/x"]
)
def test_a_chapter_elsewhere_is_not_fetched(href: str) -> None:
    with pytest.raises(DocumentUnreadableError, match="missing"):
        read(book_whose_chapter_is(href))


def test_a_book_without_text_is_unreadable() -> None:
    with pytest.raises(DocumentUnreadableError, match="no text"):
        read(make_epub({"a.xhtml": '<img src="page.png"/>'}))
    with pytest.raises(DocumentUnreadableError, match="no text"):
        read(make_epub({}))


def test_the_text_is_limited() -> None:
    with pytest.raises(DocumentTooLargeError, match="100 characters"):
        read(make_epub({f"{n}.xhtml": "<p>word word word</p>" for n in range(9)}), max_characters=100)
    with pytest.raises(DocumentTooLargeError, match="elements"):
        read(make_epub({"a.xhtml": "<p>x</p>" * 300}), max_markup=100)


@pytest.mark.parametrize("name", ["META-INF/container.xml", "OEBPS/book.opf"])
@pytest.mark.parametrize("data", [b"", b"<broken", b"<a/>"])
def test_a_malformed_package_is_unreadable(name: str, data: bytes) -> None:
    with pytest.raises(DocumentUnreadableError):
        read(with_file(make_epub(CHAPTERS), name, data))


def test_a_package_without_a_container_is_unreadable() -> None:
    with pytest.raises(DocumentUnreadableError, match="missing"):
        read(zipped({"mimetype": "application/epub+zip"}))
