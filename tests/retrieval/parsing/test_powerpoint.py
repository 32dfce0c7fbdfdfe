from __future__ import annotations

import zipfile
from io import BytesIO
from typing import Any

import pytest
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.oxml import parse_xml
from pptx.util import Inches

from headwater_server.retrieval.model import Location, ParsedDocument
from headwater_server.retrieval.parsing import (
    DocumentTooLargeError,
    DocumentUnreadableError,
    DocumentUnsupportedError,
    ParseLimits,
    parse,
)
from headwater_server.retrieval.splitting import SplitSettings, split
from tests.retrieval.parsing.samples import make_pptx, with_file

# What python-pptx says of its own types is only half of it.
Presentation = Any
Slide = Any
ChartData: Any = CategoryChartData

BOX = (Inches(1), Inches(1), Inches(4), Inches(2))
NAMESPACES = (
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
)


def read(content: bytes, **limits: int) -> ParsedDocument:
    return parse(content, name="deck.pptx", limits=ParseLimits(**limits))


def located(document: ParsedDocument) -> list[tuple[int, str, int]]:
    return [(block.level, block.text, block.source.starts[0]) for block in document.blocks]


def add_slide(presentation: Presentation, *, layout: int = 6) -> Slide:
    return presentation.slides.add_slide(presentation.slide_layouts[layout])


def texts(xml: str) -> list[str]:
    """Return the texts of a slide that has a shape written in XML."""

    def build(presentation: Presentation) -> None:
        slide = add_slide(presentation)
        slide.shapes.add_textbox(*BOX).text_frame.text = "anchor"
        slide.shapes.element.append(parse_xml(xml.replace(" ", f" {NAMESPACES} ", 1)))

    return [block.text for block in read(make_pptx(build)).blocks[1:]]


def shape(text: str, *, properties: str = "", placeholder: str = "") -> str:
    return (
        f'<p:sp ><p:nvSpPr><p:cNvPr id="9" name="x" {properties}/><p:cNvSpPr/><p:nvPr>{placeholder}</p:nvPr></p:nvSpPr>'
        f"<p:spPr/><p:txBody><a:bodyPr/>{text}</p:txBody></p:sp>"
    )


def build_deck(presentation: Presentation) -> None:
    first = add_slide(presentation, layout=1)
    first.shapes.title.text = "The  plan\nfor spring"
    body = first.placeholders[1].text_frame
    body.text = "sow"
    nested = body.add_paragraph()
    nested.text, nested.level = "carrots", 1
    body.add_paragraph().text = "reap"
    first.notes_slide.notes_text_frame.text = "Mention the weather.\nSmile."
    second = add_slide(presentation)
    second.shapes.add_textbox(*BOX).text_frame.text = "One line\vand the next"
    table = second.shapes.add_table(2, 2, *BOX).table
    for row, cells in enumerate([["Crop", "Yield"], ["Rye", "3 t"]]):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    add_slide(presentation, layout=0).shapes.title.text = "Questions?"


def test_a_title_too_long_to_be_one_is_text_and_loses_nothing() -> None:
    long = "clause " * 400 + "last"

    def build(presentation: Presentation) -> None:
        for title in (long, "Short"):
            add_slide(presentation, layout=5).shapes.title.text = title

    assert located(read(make_pptx(build))) == [(0, long, 1), (1, "Short", 2)]


def test_titles_are_headings_and_shapes_are_blocks_of_their_slide() -> None:
    document = read(make_pptx(build_deck))
    assert document.unit == "slide"
    assert document.title == "The plan for spring"
    assert located(document) == [
        (1, "The plan for spring", 1),
        (0, "- sow\n  - carrots\n- reap", 1),
        (0, "Notes: Mention the weather.\nSmile.", 1),
        (0, "One line\nand the next", 2),
        (0, "Crop | Yield\nRye | 3 t", 2),
        (1, "Questions?", 3),
    ]


def test_a_passage_stands_on_one_slide() -> None:
    passages = split(read(make_pptx(build_deck)), settings=SplitSettings(max_characters=4000))
    assert [(passage.heading, passage.location) for passage in passages] == [
        ("The plan for spring", Location("slide", 1, 1)),
        ("", Location("slide", 2, 2)),
        ("Questions?", Location("slide", 3, 3)),
    ]


def test_a_chart_says_its_titles_and_figures() -> None:
    def build(presentation: Presentation) -> None:
        data = ChartData()
        data.categories = ["East", "West"]
        data.add_series("2023", (1.1, 2))
        data.add_series("2024", (0.1 + 0.2, None))
        frame = add_slide(presentation).shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *BOX, data)
        frame.chart.has_title = True
        frame.chart.chart_title.text_frame.text = "Growth"

    assert [block.text for block in read(make_pptx(build)).blocks] == [
        "Growth\n| 2023 | 2024\nEast | 1.1 | 0.3\nWest | 2 | "
    ]


def test_grouped_shapes_are_read_and_hidden_ones_are_not() -> None:
    def build(presentation: Presentation) -> None:
        group = add_slide(presentation).shapes.add_group_shape()
        group.shapes.add_textbox(*BOX).text_frame.text = "in a group"
        inner = group.shapes.add_group_shape()
        inner.shapes.add_textbox(*BOX).text_frame.text = "in two"

    assert [text for _, text, _ in located(read(make_pptx(build)))] == ["in a group", "in two"]
    assert texts(shape("<a:p><a:r><a:t>unseen</a:t></a:r></a:p>", properties='hidden="1"')) == []


def test_fields_breaks_and_bullets() -> None:
    assert texts(
        shape(
            '<a:p><a:pPr><a:buChar char="•"/></a:pPr><a:r><a:t>point</a:t></a:r></a:p>'
            '<a:p><a:pPr lvl="2"><a:buAutoNum type="arabicPeriod"/></a:pPr><a:r><a:t>deep</a:t></a:r></a:p>'
            '<a:p><a:r><a:t>a</a:t></a:r><a:br/><a:r><a:t>b</a:t></a:r><a:fld id="{1}" type="slidenum"><a:t>7</a:t>'
            '</a:fld><a:fld id="{2}" type="datetime1"><a:t>1 May</a:t></a:fld></a:p><a:p/>'
        )
    ) == ["- point\n    - deep\na\nb1 May"]


@pytest.mark.parametrize("kind", ["dt", "ftr", "sldNum"])
def test_what_every_slide_has_at_its_edge_is_left_out(kind: str) -> None:
    assert texts(shape("<a:p><a:r><a:t>2024</a:t></a:r></a:p>", placeholder=f'<p:ph type="{kind}"/>')) == []


def test_of_alternatives_the_first_is_read() -> None:
    one, other = (shape(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>") for text in ("new", "old"))
    choices = f'<mc:Choice Requires="a14">{one}</mc:Choice><mc:Fallback>{other}</mc:Fallback>'
    xml = f"<mc:AlternateContent >{choices}</mc:AlternateContent>"
    assert texts(xml) == ["new"]


def test_the_words_of_a_diagram_are_read() -> None:
    diagram = (
        '<d:dataModel xmlns:d="http://schemas.openxmlformats.org/drawingml/2006/diagram" xmlns:a="http://schemas.'
        'openxmlformats.org/drawingml/2006/main"><d:ptLst>'
        + "".join(f"<d:pt><d:t><a:p><a:r><a:t>{word}</a:t></a:r></a:p></d:t></d:pt>" for word in ("plan", "", "do"))
        + "</d:ptLst></d:dataModel>"
    )
    frame = (
        f"<p:graphicFrame {NAMESPACES}><p:nvGraphicFramePr/><a:graphic><a:graphicData><d:relIds "
        'xmlns:d="http://schemas.openxmlformats.org/drawingml/2006/diagram" r:dm="rId99"/></a:graphicData></a:graphic>'
        "</p:graphicFrame>"
    )
    content = make_pptx(lambda presentation: add_slide(presentation).shapes.element.append(parse_xml(frame)))
    name = "ppt/slides/_rels/slide1.xml.rels"
    with zipfile.ZipFile(BytesIO(content)) as archive:
        relations, types = archive.read(name).decode(), archive.read("[Content_Types].xml").decode()
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/diagramData"
    added = f'<Relationship Id="rId99" Type="{kind}" Target="../diagrams/data1.xml"/></Relationships>'
    content = with_file(content, name, relations.replace("</Relationships>", added).encode())
    part = '<Override PartName="/ppt/diagrams/data1.xml" ContentType="application/xml"/></Types>'
    content = with_file(content, "[Content_Types].xml", types.replace("</Types>", part).encode())
    content = with_file(content, "ppt/diagrams/data1.xml", diagram.encode())
    assert [block.text for block in read(content).blocks] == ["- plan\n- do"]


def test_the_title_is_that_of_the_properties_if_it_is_one() -> None:
    def build(presentation: Presentation, title: str) -> None:
        presentation.core_properties.title = title
        add_slide(presentation, layout=0).shapes.title.text = "On the first slide"

    assert read(make_pptx(lambda p: build(p, "Given title"))).title == "Given title"
    assert read(make_pptx(lambda p: build(p, "PowerPoint Presentation"))).title == "On the first slide"


@pytest.mark.parametrize(
    "kind",
    ["ms-powerpoint.presentation.macroEnabled", "openxmlformats-officedocument.presentationml.slideshow"],
)
def test_slide_shows_and_presentations_with_macros_are_read(kind: str) -> None:
    content = make_pptx(build_deck)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        types = archive.read("[Content_Types].xml")
    plain = b"application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml"
    content = with_file(
        content, "[Content_Types].xml", types.replace(plain, f"application/vnd.{kind}.main+xml".encode())
    )
    assert located(read(content)) == located(read(make_pptx(build_deck)))


def test_a_presentation_without_text_is_unreadable() -> None:
    with pytest.raises(DocumentUnreadableError, match="no text"):
        read(make_pptx(str))
    with pytest.raises(DocumentUnreadableError, match="no text"):
        read(make_pptx(add_slide))


def test_the_strict_variant_is_unsupported() -> None:
    content = make_pptx(build_deck)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        relations = archive.read("_rels/.rels")
    strict = relations.replace(
        b"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument",
        b"http://purl.oclc.org/ooxml/officeDocument/relationships/officeDocument",
    )
    with pytest.raises(DocumentUnsupportedError, match="Strict"):
        read(with_file(content, "_rels/.rels", strict))


def test_slides_and_text_are_limited() -> None:
    with pytest.raises(DocumentTooLargeError, match="3 slides; the limit is 2"):
        read(make_pptx(build_deck), max_pages=2)
    with pytest.raises(DocumentTooLargeError, match="30 characters"):
        read(make_pptx(build_deck), max_characters=30)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("ppt/presentation.xml", b"<broken"),
        ("ppt/presentation.xml", b"<a/>"),
        ("ppt/slides/slide1.xml", b""),
        ("ppt/slides/slide1.xml", b"<a/>"),
        ("ppt/_rels/presentation.xml.rels", b"<Relationships/>"),
        ("[Content_Types].xml", b"<Types/>"),
        ("_rels/.rels", b"<Relationships/>"),
    ],
)
def test_a_malformed_package_is_unreadable(name: str, data: bytes) -> None:
    with pytest.raises(DocumentUnreadableError):
        read(with_file(make_pptx(build_deck), name, data))
