from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.parsing.number_formats import built_in_code, format_number, plain_number

THOUSANDS = '[>=1000000]0.0,,"M";[>=1000]0.0,"K";0'
ACCOUNTING = '_(* #,##0.00_);_(* (#,##0.00);_(* "-"??_);_(@_)'


@pytest.mark.parametrize(
    ("value", "code", "expected"),
    [
        (42.0, "General", "42"),
        (0.1 + 0.2, "General", "0.3"),
        (1e20, "General", "1e+20"),
        (0.125, "0.0%", "12.5%"),
        (0.5, "0 %", "50 %"),
        (1234.5, "#,##0.00", "1,234.50"),
        (1234.5, '#,##0.00 "EUR"', "1,234.50 EUR"),
        (1234.5, "[$€-407] #,##0.00", "€ 1,234.50"),
        (-5.0, "$#,##0.00", "-$5.00"),
        (-5.0, "$#,##0.00;($#,##0.00)", "($5.00)"),
        (-7.0, ACCOUNTING, "(7.00)"),
        (0.0, ACCOUNTING, "-"),
        (0.0, '0;-0;"none"', "none"),
        (5.0, "[Red]0;[Blue]-0", "5"),
        (1234567.0, '0.0,,"M"', "1.2M"),
        (2.675, "0.00", "2.68"),
        (-0.001, "0.00", "0.00"),
        (2.0, "0.##", "2"),
        (1.5, "0.##", "1.5"),
        (0.5, "#.0", ".5"),
        (42.0, "00000", "00042"),
        (123456789.0, "000-00-0000", "123-45-6789"),
        (12345.0, "0.00E+00", "1.23E+04"),
        (0.25, "# ?/?", "0.25"),
        (3.0, '0" items"', "3 items"),
        (3.0, '"only words"', "only words"),
        (3.0, ";;;", ""),
        (45352.0, "yyyy-mm-dd", "2024-03-01"),
        (45352.0, "dd/mm/yyyy", "2024-03-01"),
        (45352.0, r"[$-409]d\-mmm\-yy;@", "2024-03-01"),
        (45352.0, "mmm yyyy", "2024-03"),
        (45352.0, "yyyy", "2024"),
        (45352.52, "m/d/yy h:mm", "2024-03-01 12:28"),
        (45352.5, "yyyy-mm-dd hh:mm:ss", "2024-03-01 12:00:00"),
        (0.75, "h:mm AM/PM", "18:00"),
        (0.5, "mm:ss", "00:00"),
        (1.5, "[h]:mm:ss", "36:00:00"),
        (59.0, "yyyy-mm-dd", "1900-02-28"),
        (61.0, "yyyy-mm-dd", "1900-03-01"),
        (-1.0, "yyyy-mm-dd", "-1"),
        (3e6, "yyyy-mm-dd", "3000000"),
        *[
            (value, THOUSANDS, shown)
            for value, shown in ((2.5e6, "2.5M"), (2500.0, "2.5K"), (500.0, "500"), (0.0, "0"), (-2500.0, "-2500"))
        ],
        (1.0, '[=1]"Yes";"No"', "Yes"),
        (0.0, '[=1]"Yes";"No"', "No"),
        (-1.0, '[=1]"Yes";"No"', "No"),
        (-5.0, '[>=1000]0.0,"K";0', "-5"),
        (-5.0, "[Red][<0]0.0;0", "-5.0"),
        (0.5, "[<1]0%;[Red][>=1]0.0", "50%"),
        (1.5, "[<1]0%;[Red][>=1]0.0", "1.5"),
        (-5.0, '[>100]0.0;(0);"between"', "(5)"),
        (50.0, '[>100]0.0;(0);"between"', "between"),
        (7.25, "[>100]0.0", "7.25"),
        (7.25, "[<>7.25]0;[>100]0", "7.25"),
        (45352.0, "[>=1]yyyy-mm-dd;0%", "2024-03-01"),
        (0.25, "[>=1]yyyy-mm-dd;0%", "25%"),
        (1.0, "0" + "%" * 60, "1"),
        (1e29, f"0.{'0' * 30}{'%' * 15}", f"1{'0' * 59}.{'0' * 30}{'%' * 15}"),
        (math.inf, "0.00", "inf"),
        (7.0, "", "7"),
    ],
)
def test_a_number_is_written_as_a_cell_shows_it(value: float, code: str, expected: str) -> None:
    assert format_number(value, code) == expected


def test_days_count_from_1904_where_the_workbook_says_so() -> None:
    assert format_number(43890.0, "yyyy-mm-dd", from_1904=True) == "2024-03-01"


def test_built_in_formats_need_no_code_of_the_workbook() -> None:
    assert format_number(45352.0, built_in_code(14)) == "2024-03-01"
    assert format_number(0.5, built_in_code(9)) == "50%"
    assert format_number(0.5, built_in_code(999)) == "0.5"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.30000000000000004", "0.3"), ("2024", "2024"), ("12", "12"), ("Q1", "Q1"), ("1e3", "1000")],
)
def test_a_plain_number_loses_only_its_binary_dust(text: str, expected: str) -> None:
    assert plain_number(text) == expected


@given(st.floats(), st.text('0#?<>=,.%Ee/@ymdhsGneral;[]"\\_*$-+() é', max_size=40), st.booleans())
def test_any_number_in_any_format_becomes_some_text(value: float, code: str, from_1904: bool) -> None:
    assert len(format_number(value, code, from_1904=from_1904)) < 1000
