from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater._cli.failures import CommandFailed
from headwater._cli.metadata import parse_metadata


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024", 2024),
        ("-7", -7),
        ("1.5", 1.5),
        ("2e3", 2000.0),
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("2024-05-01T10:00:00Z", datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ("2024-05-01T12:00:00+02:00", datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ("2024-05-01", "2024-05-01"),
        ("2024-13-01T10:00:00Z", "2024-13-01T10:00:00Z"),
        ("9223372036854775808", "9223372036854775808"),
        ("1e999", "1e999"),
        ("nan", "nan"),
        ("1_000", "1_000"),
        ("", ""),
        ("a=b", "a=b"),
    ],
)
def test_a_value_has_the_type_that_it_looks_like(text: str, value: object) -> None:
    parsed = parse_metadata([f"key={text}"])["key"]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("json", "value"), [('"2024"', "2024"), ("3", 3), ("3.0", 3.0), ("true", True), ('["a", "b"]', ["a", "b"])]
)
def test_json_after_colon_equals_says_the_type_itself(json: str, value: object) -> None:
    parsed = parse_metadata([f"key:={json}"])["key"]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    "pair", ["", "key", "=value", f"{'k' * 65}=v", "key:=", "key:={}", "key:=[1]", "key:=NaN", "key:=null"]
)
def test_what_is_no_pair_is_refused_by_name(pair: str) -> None:
    with pytest.raises(CommandFailed) as refused:
        parse_metadata([pair])
    assert repr(pair) in refused.value.message
    assert refused.value.code == 2


@given(st.text())
def test_every_value_is_taken_and_what_stays_a_string_is_unchanged(text: str) -> None:
    value: Any = parse_metadata([f"key={text}"])["key"]
    if isinstance(value, str):
        assert value == text
