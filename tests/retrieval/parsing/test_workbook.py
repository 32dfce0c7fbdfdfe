from __future__ import annotations

import datetime
import zipfile
from io import BytesIO

import pytest
import xlsxwriter

from headwater_server.retrieval.model import Location, ParsedDocument
from headwater_server.retrieval.parsing import DocumentTooLargeError, DocumentUnreadableError, ParseLimits, parse
from headwater_server.retrieval.splitting import SplitSettings, split
from tests.retrieval.parsing.samples import make_xlsx, make_xlsx_of, with_file


def read(content: bytes, **limits: int) -> ParsedDocument:
    return parse(content, name="figures.xlsx", limits=ParseLimits(**limits))


def located(document: ParsedDocument) -> list[tuple[int, str, str, int, int]]:
    return [(b.level, b.sheet, b.text, *b.source.locate(0, len(b.text))) for b in document.blocks]


def lines(sheet: str, *, strings: tuple[str, ...] = (), styles: str = "", workbook: str = "") -> list[str]:
    """Return the lines of a sheet written in XML, without its name."""
    document = read(make_xlsx_of(sheet, strings=strings, styles=styles, workbook=workbook))
    return [line for block in document.blocks[1:] for line in block.text.split("\n")]


def build_sales(workbook: xlsxwriter.Workbook) -> None:
    day = workbook.add_format({"num_format": "d mmm yyyy"})
    share = workbook.add_format({"num_format": "0.0%"})
    sales = workbook.add_worksheet("Sales")
    sales.write_row(1, 1, ["City", "Day", "Share", "Open"])
    for row, city in enumerate(["Oslo", "Rome"], start=2):
        sales.write(row, 1, city)
        sales.write_datetime(row, 2, datetime.datetime(2024, 3, row), day)
        sales.write(row, 3, row / 8, share)
        sales.write_boolean(row, 4, row == 2)
    sales.write_formula(4, 3, "=SUM(D3:D4)", share, 0.625)
    notes = workbook.add_worksheet("Notes & more")
    notes.write(0, 0, "Only text\nhere")
    notes.write(1, 0, "and there")


def test_every_value_stands_behind_the_name_of_its_column() -> None:
    document = read(make_xlsx(build_sales))
    assert document.unit == "row"
    assert document.title == "figures"
    assert located(document) == [
        (1, "Sales", "Sales", 2, 2),
        (
            0,
            "Sales",
            (
                "City | Day | Share | Open\n"
                "City: Oslo | Day: 2024-03-02 | Share: 25.0% | Open: TRUE\n"
                "City: Rome | Day: 2024-03-03 | Share: 37.5% | Open: FALSE\n"
                "Share: 62.5%"
            ),
            2,
            5,
        ),
        (1, "Notes & more", "Notes & more", 1, 1),
        (0, "Notes & more", "Only text here\nand there", 1, 2),
    ]
    table = document.blocks[1]
    assert table.source.locate(table.text.index("City: Rome"), len(table.text)) == (4, 5)


def test_passages_know_their_sheet_and_rows_and_never_span_two_sheets() -> None:
    passages = split(read(make_xlsx(build_sales)), settings=SplitSettings(max_characters=4000))
    assert [(passage.heading, passage.location) for passage in passages] == [
        ("Sales", Location("row", 2, 5, "Sales")),
        ("Notes & more", Location("row", 1, 2, "Notes & more")),
    ]


def test_a_long_table_is_cut_between_rows() -> None:
    def build(workbook: xlsxwriter.Workbook) -> None:
        sheet = workbook.add_worksheet("Long")
        sheet.write_row(0, 0, ["Number", "Square"])
        for number in range(1, 200):
            sheet.write_row(number, 0, [number, number * number])

    for passage in split(read(make_xlsx(build)), settings=SplitSettings(max_characters=300))[1:]:
        assert passage.location is not None
        written = [line for line in passage.text.split("\n") if line.startswith("Number: ")]
        assert len(written) == passage.location.end - passage.location.start + 1
        assert written[0] == f"Number: {passage.location.start - 1} | Square: {(passage.location.start - 1) ** 2}"


def test_hidden_sheets_and_sheets_of_charts_are_left_out() -> None:
    def build(workbook: xlsxwriter.Workbook) -> None:
        workbook.add_worksheet("Seen").write(0, 0, "seen")
        hidden = workbook.add_worksheet("Hidden")
        hidden.write(0, 0, "hidden")
        hidden.hide()
        chart = workbook.add_chart({"type": "bar"})
        chart.add_series({"values": "=Seen!$A$1:$A$2"})
        workbook.add_chartsheet("Chart").set_chart(chart)

    assert {block.sheet for block in read(make_xlsx(build)).blocks} == {"Seen"}


def test_a_workbook_with_nothing_to_see_is_unreadable_and_says_what_was_hidden() -> None:
    def build(workbook: xlsxwriter.Workbook) -> None:
        workbook.add_worksheet("Empty").activate()
        hidden = workbook.add_worksheet("Hidden")
        hidden.write(0, 0, "hidden")
        hidden.hide()

    with pytest.raises(DocumentUnreadableError, match=r"no cells.*hidden sheets are not read"):
        read(make_xlsx(build))


def test_what_spans_several_cells_is_in_each_row_and_names_each_column() -> None:
    def build(workbook: xlsxwriter.Workbook) -> None:
        sheet = workbook.add_worksheet("Merged")
        sheet.merge_range(0, 1, 0, 2, "2023")
        sheet.merge_range(0, 3, 0, 4, "2024")
        sheet.write_row(1, 0, ["Region", "Q1", "Q2", "Q3", "Q4"])
        sheet.merge_range(2, 0, 3, 0, "North")
        sheet.write_row(2, 1, [1, 2, 3, 4])
        sheet.write_row(3, 1, [5, 6, 7, 8])

    assert read(make_xlsx(build)).blocks[1].text.split("\n") == [
        "2023 | 2024",
        "Region | Q1 | Q2 | Q3 | Q4",
        "Region: North | 2023 Q1: 1 | 2023 Q2: 2 | 2024 Q3: 3 | 2024 Q4: 4",
        "Region: North | 2023 Q1: 5 | 2023 Q2: 6 | 2024 Q3: 7 | 2024 Q4: 8",
    ]


def test_a_line_above_a_table_is_its_heading_and_empty_rows_part_tables() -> None:
    def build(workbook: xlsxwriter.Workbook) -> None:
        sheet = workbook.add_worksheet("Two")
        sheet.write(0, 0, "Fruit we have")
        sheet.write_row(1, 0, ["Fruit", "Weight"])
        sheet.write_row(2, 0, ["apple", 3])
        sheet.write(3, 0, "counted by hand")
        sheet.write_row(6, 0, ["Tool", "Price"])
        sheet.write_row(7, 0, ["saw", 12.5])

    assert [block[::2][:2] for block in located(read(make_xlsx(build)))] == [
        (1, "Two"),
        (2, "Fruit we have"),
        (0, "Fruit | Weight\nFruit: apple | Weight: 3\ncounted by hand"),
        (0, "Tool | Price\nTool: saw | Price: 12.5"),
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [["Name", "Alice"], ["City", "Paris"], ["Street", "Rue"]],  # a form
        [[1, 2, 3], [4, 5, 6]],
        [["a", "b", "c"], ["a", "e", "f"], ["g", "h", "i"]],  # the first row's words come again
        [["alone", "here"]],
    ],
)
def test_rows_without_a_header_stay_as_they_are(rows: list[list[object]]) -> None:
    def build(workbook: xlsxwriter.Workbook) -> None:
        sheet = workbook.add_worksheet("Plain")
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)

    expected = "\n".join(" | ".join(str(value) for value in row) for row in rows)
    assert read(make_xlsx(build)).blocks[1].text == expected


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([["Term", "Meaning"], ["river", "water that flows"]], "Term: river | Meaning: water that flows"),  # bold
        ([["Region", 2023, 2024], ["North", 7, 8]], "Region: North | 2023: 7 | 2024: 8"),
        ([["Name", "City", "Trade"], ["Ann", "Oslo", "smith"]], "Name: Ann | City: Oslo | Trade: smith"),
    ],
)
def test_a_header_is_told_by_its_looks(rows: list[list[object]], line: str) -> None:
    def build(workbook: xlsxwriter.Workbook) -> None:
        bold = workbook.add_format({"bold": True})
        sheet = workbook.add_worksheet("Head")
        sheet.write_row(0, 0, rows[0], bold)
        sheet.write_row(1, 0, rows[1])

    assert read(make_xlsx(build)).blocks[1].text.split("\n")[1] == line


def test_kinds_of_cells() -> None:
    sheet = (
        '<sheetData><row r="3"><c r="A3" t="s"><v>1</v></c><c r="C3" t="inlineStr"><is><r><t>rich </t></r><r><t>text'
        '</t></r><rPh sb="0" eb="1"><t>reading</t></rPh></is></c><c t="b"><v>1</v></c><c t="e"><v>#N/A</v></c>'
        '<c t="str"><f>A1&amp;B1</f><v>joined</v></c><c t="s"><v>99</v></c><c><f>1+1</f></c><c><v>nonsense</v></c>'
        '<c r="B3"><v>1</v></c><c t="d"><v>2024-03-01</v></c></row><row><c><v>5</v></c></row></sheetData>'
    )
    assert lines(sheet, strings=("zero", "one\n more")) == [
        "one more | rich text | TRUE | #N/A | joined | nonsense | 1 | 2024-03-01",
        "5",
    ]


def test_styles_tell_how_numbers_look() -> None:
    styles = (
        '<numFmts count="1"><numFmt numFmtId="164" formatCode="0.00&quot; kg&quot;"/></numFmts><fonts><font/></fonts>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="bad" fontId="9"/></cellXfs>'
    )
    cells = "".join(f'<c s="{style}"><v>43890</v></c>' for style in (0, 1, 2, 3, 77))
    sheet = f"<sheetData><row>{cells}</row></sheetData>"
    assert lines(sheet, styles=styles) == ["43890 | 2020-02-29 | 43890.00 kg | 43890 | 43890"]
    from_1904 = lines(sheet, styles=styles, workbook='<workbookPr date1904="1"/>')
    assert from_1904 == ["43890 | 2024-03-01 | 43890.00 kg | 43890 | 43890"]


def test_the_title_is_that_of_the_properties() -> None:
    def build(workbook: xlsxwriter.Workbook) -> None:
        workbook.set_properties({"title": "Yearly figures"})
        workbook.add_worksheet().write(0, 0, 1)

    assert read(make_xlsx(build)).title == "Yearly figures"


def test_the_strict_variant_is_read() -> None:
    content = make_xlsx(build_sales)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            data = data.replace(
                b"http://schemas.openxmlformats.org/officeDocument/2006/relationships",
                b"http://purl.oclc.org/ooxml/officeDocument/relationships",
            ).replace(
                b"http://schemas.openxmlformats.org/spreadsheetml/2006/main",
                b"http://purl.oclc.org/ooxml/spreadsheetml/main",
            )
            content = with_file(content, name, data)
    assert [block.text for block in read(content).blocks] == [
        block.text for block in read(make_xlsx(build_sales)).blocks
    ]


def test_text_sheets_and_rows_are_limited() -> None:
    with pytest.raises(DocumentTooLargeError, match="50 characters"):
        read(make_xlsx(build_sales), max_characters=50)
    with pytest.raises(DocumentTooLargeError, match="2 sheets; the limit is 1"):
        read(make_xlsx(build_sales), max_pages=1)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("xl/sheet1.xml", b"<worksheet><sheetData><row>"),
        ("xl/sheet1.xml", b""),
        ("xl/workbook.xml", b"<other/>"),
        ("xl/strings.xml", b"<sst><si>"),
        ("xl/styles.xml", b"<broken"),
        ("_rels/.rels", b"<Relationships/>"),
    ],
)
def test_a_malformed_package_is_unreadable(name: str, data: bytes) -> None:
    content = make_xlsx_of('<sheetData><row><c t="s"><v>0</v></c></row></sheetData>', strings=["a"])
    with pytest.raises(DocumentUnreadableError):
        read(with_file(content, name, data))
