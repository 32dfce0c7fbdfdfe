from __future__ import annotations

import io
import zipfile

import docx
import pytest
from docx.document import Document as WordDocument
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import DocumentTooLargeError, DocumentUnreadableError, ParseLimits, parse
from tests.retrieval.parsing.samples import make_docx, with_file

ONLY_A_DOCUMENT = (
    b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="'
    b'http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>'
    b"</Relationships>"
)


def read(content: bytes, **limits: int) -> ParsedDocument:
    return parse(content, name="letter.docx", limits=ParseLimits(**limits))


def located(document: ParsedDocument) -> list[tuple[int, str, int, int]]:
    return [(block.level, block.text, *block.source.locate(0, len(block.text))) for block in document.blocks]


def build_report(document: WordDocument) -> None:
    document.add_heading("Report", level=0)
    document.add_heading("First part", level=1)
    document.add_paragraph("Text with a\ttab and a\nbreak.")
    document.add_paragraph("")
    document.add_paragraph("one", style="List Bullet")
    document.add_paragraph("two", style="List Number")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip([c for row in table.rows for c in row.cells], ["a", "b", "c", "d"], strict=True):
        cell.text = text
    table.cell(1, 1).add_paragraph("more")
    document.add_heading("Second part", level=2)


def test_paragraphs_are_counted_through_headings_lists_and_tables() -> None:
    document = read(make_docx(build_report))
    assert document.unit == "paragraph"
    assert located(document) == [
        (1, "Report", 1, 1),
        (1, "First part", 2, 2),
        (0, "Text with a\ttab and a\nbreak.", 3, 3),
        (0, "- one\n- two", 5, 6),
        (0, "a | b\nc | d more", 7, 11),
        (2, "Second part", 12, 12),
    ]
    items, table = document.blocks[3:5]
    assert items.source.locate(6, 11) == (6, 6)
    assert table.source.locate(6, 16) == (9, 11)


def test_the_counting_is_that_of_the_paragraph_elements() -> None:
    content = make_docx(build_report)
    elements = list(docx.Document(io.BytesIO(content)).element.body.iter("{*}p"))
    for block in read(content).blocks:
        for offset, start, end in zip(block.source.offsets, block.source.starts, block.source.ends, strict=True):
            word = block.text[offset:].removeprefix("- ").split()[0]
            own = "".join(text for element in elements[start - 1 : end] for text in element.itertext())
            assert word in own


def test_titles_come_from_the_properties_a_heading_or_the_name() -> None:
    def titled(document: WordDocument) -> None:
        document.core_properties.title = "The Title"
        document.add_heading("A heading")

    assert read(make_docx(titled)).title == "The Title"
    assert read(make_docx(lambda d: d.add_heading("A heading"))).title == "A heading"
    assert read(make_docx(lambda d: d.add_paragraph("Text"))).title == "letter"
    without = with_file(make_docx(lambda d: d.add_heading("A heading")), "_rels/.rels", ONLY_A_DOCUMENT)
    assert read(without).title == "A heading"


def test_links_insertions_and_content_controls_are_read_and_deletions_are_not() -> None:
    def build(document: WordDocument) -> None:
        body = document.element.body
        for number, inner in enumerate(
            [
                "<w:p><w:hyperlink><w:r><w:t>linked</w:t></w:r></w:hyperlink></w:p>",
                "<w:sdt><w:sdtContent><w:p><w:r><w:t>controlled</w:t></w:r></w:p></w:sdtContent></w:sdt>",
                "<w:p><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del></w:p>",
                "<w:p><w:r><w:instrText>PAGE</w:instrText></w:r><w:r><w:t>after</w:t></w:r></w:p>",
            ]
        ):
            element = parse_xml(inner.replace(">", f" {nsdecls('w')}>", 1))
            body.insert(number, element)

    assert located(read(make_docx(build))) == [
        (0, "linked", 1, 1),
        (0, "controlled", 2, 2),
        (0, "new", 3, 3),
        (0, "after", 4, 4),
    ]


def test_a_style_based_on_a_heading_is_a_heading() -> None:
    def build(document: WordDocument) -> None:
        style = document.styles.add_style("Chapter", 1)
        style.base_style = document.styles["Heading 2"]
        document.add_paragraph("Own style", style="Chapter")

    assert located(read(make_docx(build))) == [(2, "Own style", 1, 1)]


def test_a_heading_too_long_to_be_one_is_text_and_loses_nothing() -> None:
    long = "clause " * 400 + "last"
    content = make_docx(lambda document: (document.add_heading(long, level=2), document.add_heading("Short", level=2)))
    assert located(read(content)) == [(0, long, 1, 1), (2, "Short", 2, 2)]


def test_a_document_without_text_is_unreadable() -> None:
    with pytest.raises(DocumentUnreadableError, match="no text"):
        read(make_docx(lambda d: d.add_paragraph(" ")))


def test_an_archive_that_unpacks_to_too_much_is_too_large() -> None:
    bomb = with_file(make_docx(build_report), "word/media/zeros.bin", bytes(5_000_000))
    assert len(bomb) < 100_000
    with pytest.raises(DocumentTooLargeError, match="unpacks to"):
        read(bomb, max_expanded_bytes=4_000_000)


def test_an_archive_of_too_many_files_is_too_large() -> None:
    with pytest.raises(DocumentTooLargeError, match="files; the limit is 3"):
        read(make_docx(build_report), max_archive_files=3)


def test_a_size_declared_too_small_does_not_get_past_the_limit() -> None:
    honest = with_file(make_docx(build_report), "word/media/zeros.bin", bytes(5_000_000))
    lying = honest.replace((5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != honest
    with pytest.raises(DocumentUnreadableError, match="archive cannot be unpacked"):
        read(lying, max_expanded_bytes=4_000_000)


def test_entities_are_refused() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    xml = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY l0 "ha">{laughs}]><w:document {nsdecls("w")}>&l9;</w:document>'
    with pytest.raises(DocumentUnreadableError, match="entities"):
        read(with_file(make_docx(build_report), "word/document.xml", xml.encode()))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "cp037"])
def test_entities_hidden_by_an_encoding_are_refused(encoding: str) -> None:
    xml = f"""<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE d [<!ENTITY e "expanded">]>
    <w:document {nsdecls("w")}><w:body><w:p><w:r><w:t>a&e;b</w:t></w:r></w:p></w:body></w:document>"""
    with pytest.raises(DocumentUnreadableError, match=r"entities|encoding"):
        read(with_file(make_docx(build_report), "word/document.xml", xml.encode(encoding)))


def test_the_text_is_limited() -> None:
    with pytest.raises(DocumentTooLargeError, match="100 characters"):
        read(make_docx(lambda d: d.add_paragraph("word " * 30)), max_characters=100)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("word/document.xml", b"<broken"),
        ("word/document.xml", b"<a/>"),
        ("word/document.xml", b""),
        ("[Content_Types].xml", b"<Types/>"),
        ("_rels/.rels", b"<Relationships/>"),
        ("docProps/core.xml", b"<a/>"),
        ("word/styles.xml", b"<a/>"),
        ("word/document.xml", b"<a>" * 1000 + b"</a>" * 1000),
    ],
)
def test_a_malformed_package_is_unreadable(name: str, data: bytes) -> None:
    with pytest.raises(DocumentUnreadableError):
        read(with_file(make_docx(build_report), name, data))


def test_damage_anywhere_in_the_archive_is_noticed() -> None:
    content = make_docx(build_report)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        offset = archive.getinfo("word/document.xml").header_offset
    damaged = bytearray(content)
    damaged[offset + 200] ^= 0xFF
    with pytest.raises(DocumentUnreadableError, match="damaged"):
        read(bytes(damaged))
