from __future__ import annotations

from pathlib import Path

import pytest

from headwater._cli.sources import location, place, source_line
from headwater.v1 import source_pb2


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (source_pb2.Location(page_range=source_pb2.PageRange(first=12, last=12)), "p. 12"),
        (source_pb2.Location(page_range=source_pb2.PageRange(first=12, last=13)), "pp. 12–13"),
        (source_pb2.Location(line_range=source_pb2.LineRange(first=3, last=9)), "lines 3–9"),
        (source_pb2.Location(line_range=source_pb2.LineRange(first=3, last=3)), "line 3"),
        (source_pb2.Location(paragraph_range=source_pb2.ParagraphRange(first=1, last=4)), "paragraphs 1–4"),
        (source_pb2.Location(row_range=source_pb2.RowRange(first=2, last=5, sheet="Sales")), "Sales, rows 2–5"),
        (source_pb2.Location(row_range=source_pb2.RowRange(first=2, last=2)), "row 2"),
        (source_pb2.Location(slide=7), "slide 7"),
        (source_pb2.Location(byte_range=source_pb2.ByteRange(start=0, end=10)), "bytes 0 to 10"),
        (source_pb2.Location(), ""),
    ],
)
def test_a_location_is_written_for_people(position: source_pb2.Location, text: str) -> None:
    assert location(position) == text


def test_a_source_has_its_number_title_location_and_place() -> None:
    source = source_pb2.Source(title="Leave types", uri="https://example.org/leave.pdf")
    source.location.page_range.first = source.location.page_range.last = 2
    assert source_line(source, "3").plain == "[3] Leave types · p. 2 · https://example.org/leave.pdf"


def test_a_source_without_a_title_is_named_by_its_place() -> None:
    assert source_line(source_pb2.Source(uri="https://example.org/x"), "1").plain == "[1] https://example.org/x"


def test_a_title_cannot_take_the_terminal_over() -> None:
    source = source_pb2.Source(title="\x1b]0;owned\x07\x1b[31mred\u009b1m")
    assert source_line(source, "1").plain == "[1] ]0;owned[31mred1m"


def test_nor_can_the_name_of_a_sheet() -> None:
    position = source_pb2.Location(row_range=source_pb2.RowRange(first=2, last=14, sheet="\x1b[31mSheet1"))
    assert location(position) == "[31mSheet1, rows 2–14"


def test_a_place_below_the_working_folder_is_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place(str(tmp_path / "a" / "b.txt")) == "a/b.txt"
    assert place("/elsewhere/b.txt") == "/elsewhere/b.txt"
