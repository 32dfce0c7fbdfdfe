from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from headwater.v1 import filter_pb2
from headwater_server.errors import InvalidRequest
from headwater_server.retrieval.store.filter_sql import MAX_COMPARISONS, count_comparisons
from headwater_server.retrieval.store.filters import check_filter, matches
from headwater_server.retrieval.store.metadata_values import (
    dump_metadata,
    from_microseconds,
    from_proto,
    load_metadata,
    to_microseconds,
    to_proto,
)
from headwater_server.retrieval.store.protocol import DocumentRecord, MetadataValue
from tests.retrieval.store.filter_strategies import documents_with_metadata, filters
from tests.retrieval.store.records import Op, compares, negated

EQ, NE = Op.COMPARISON_OPERATOR_EQ, Op.COMPARISON_OPERATOR_NE
LT, LE, GT, GE = (
    Op.COMPARISON_OPERATOR_LT,
    Op.COMPARISON_OPERATOR_LE,
    Op.COMPARISON_OPERATOR_GT,
    Op.COMPARISON_OPERATOR_GE,
)
IN, NOT_IN, EXISTS = Op.COMPARISON_OPERATOR_IN, Op.COMPARISON_OPERATOR_NOT_IN, Op.COMPARISON_OPERATOR_EXISTS

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
DOCUMENT = DocumentRecord(
    "d",
    "A title",
    "",
    "text/plain",
    {
        "text": "b",
        "whole": 2**53 + 1,
        "real": 1.0,
        "truth": True,
        "moment": NOON,
        "list": ("a", "b"),
        "empty": (),
        "document.title": "hidden",
        "document.other": "metadata",
    },
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (compares("text", EQ, "b"), True),
        (compares("text", EQ, "B"), False),
        (compares("text", NE, "a"), True),
        (compares("text", NE, 1), False),
        (compares("text", LT, "c"), True),
        (compares("text", GT, "B"), True),
        (compares("text", GE, "b"), True),
        (compares("absent", EQ, "b"), False),
        (compares("absent", NE, "b"), False),
        (compares("absent", EXISTS), False),
        (compares("empty", EXISTS), True),
        (compares("whole", EQ, 2**53 + 1), True),
        (compares("whole", GT, 2**53), True),
        (compares("whole", EQ, float(2**53)), False),
        (compares("real", EQ, 1.0), True),
        (compares("real", EQ, 1), False),
        (compares("real", EQ, True), False),
        (compares("truth", EQ, True), True),
        (compares("truth", EQ, 1), False),
        (compares("truth", GT, False), True),
        (compares("moment", EQ, NOON), True),
        (compares("moment", LT, NOON + timedelta(microseconds=1)), True),
        (compares("moment", EQ, to_microseconds(NOON)), False),
        (compares("list", EQ, ("a", "b")), True),
        (compares("list", EQ, ("b", "a")), False),
        (compares("list", NE, ("b", "a")), True),
        (compares("list", LT, ("c",)), False),
        (compares("list", GE, ("a", "b")), False),
        (compares("list", EQ, "a"), False),
        (compares("list", IN, "z", "b"), True),
        (compares("list", IN, "z"), False),
        (compares("list", NOT_IN, "z"), True),
        (compares("list", NOT_IN, "z", "a"), False),
        (compares("list", NOT_IN, 1), False),
        (compares("list", IN, ("a", "b")), False),
        (compares("list", NOT_IN, ("z",)), False),
        (compares("empty", IN, "a"), False),
        (compares("empty", NOT_IN, "a"), True),
        (compares("text", IN, 1, "b"), True),
        (compares("text", NOT_IN, 1, "a"), True),
        (compares("text", NOT_IN, 1, 2.0), False),
        (compares("absent", NOT_IN, "a"), False),
        (compares("document.title", EQ, "A title"), True),
        (compares("document.title", EQ, "hidden"), False),
        (compares("document.media_type", IN, "text/plain"), True),
        (compares("document.uri", EXISTS), False),
        (compares("document.uri", EQ, ""), False),
        (compares("document.other", EQ, "metadata"), True),
        (negated(compares("absent", EQ, "b")), True),
        (negated(compares("text", EQ, 1)), True),
        (negated(negated(compares("text", EQ, "b"))), True),
        (filter_pb2.Filter(all_of=filter_pb2.FilterList()), True),
        (filter_pb2.Filter(any_of=filter_pb2.FilterList()), False),
    ],
)
def test_a_filter_means_what_the_contract_says(condition: filter_pb2.Filter, expected: bool) -> None:
    check_filter(condition)
    assert matches(condition, DOCUMENT) is expected


def nested(depth: int) -> filter_pb2.Filter:
    condition = compares("text", EQ, "b")
    for _ in range(depth - 1):
        condition = filter_pb2.Filter(all_of=filter_pb2.FilterList(filters=[condition]))
    return condition


def test_filters_nest_sixteen_levels_deep() -> None:
    check_filter(nested(16))
    with pytest.raises(InvalidRequest) as refusal:
        check_filter(nested(17), field="retrieval.filter")
    assert refusal.value.violations[0].field == "retrieval.filter" + ".all_of.filters[0]" * 16


def comparison(**fields: object) -> filter_pb2.Filter:
    return filter_pb2.Filter(comparison=filter_pb2.Comparison(**fields))  # type: ignore[arg-type]  # wrong on purpose


A_VALUE = filter_pb2.MetadataValue(string_value="a")


@pytest.mark.parametrize(
    ("condition", "field"),
    [
        (filter_pb2.Filter(), "filter"),
        (filter_pb2.Filter(negate=filter_pb2.Filter()), "filter.negate"),
        (filter_pb2.Filter(any_of=filter_pb2.FilterList(filters=[filter_pb2.Filter()])), "filter.any_of.filters[0]"),
        (comparison(key="", op=EXISTS), "filter.comparison.key"),
        (comparison(key="k"), "filter.comparison"),
        (comparison(key="k", op=77, value=A_VALUE), "filter.comparison"),
        (comparison(key="k", op=EQ), "filter.comparison"),
        (comparison(key="k", op=EQ, value=A_VALUE, values=[A_VALUE]), "filter.comparison"),
        (comparison(key="k", op=IN), "filter.comparison"),
        (comparison(key="k", op=IN, value=A_VALUE), "filter.comparison"),
        (comparison(key="k", op=EXISTS, value=A_VALUE), "filter.comparison"),
        (comparison(key="k", op=EQ, value=filter_pb2.MetadataValue()), "filter.comparison.value"),
        (comparison(key="k", op=IN, values=[A_VALUE, filter_pb2.MetadataValue()]), "filter.comparison.values[1]"),
        (
            comparison(key="k", op=EQ, value=filter_pb2.MetadataValue(double_value=float("nan"))),
            "filter.comparison.value",
        ),
        (
            comparison(key="k", op=EQ, value=filter_pb2.MetadataValue(timestamp_value=Timestamp(seconds=1 << 60))),
            "filter.comparison.value",
        ),
    ],
)
def test_a_filter_without_meaning_is_refused_with_its_place(condition: filter_pb2.Filter, field: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        check_filter(condition)
    assert refusal.value.violations[0].field == field


@given(documents=documents_with_metadata(), condition=filters())
def test_negating_a_filter_inverts_it_for_every_document(
    documents: list[DocumentRecord], condition: filter_pb2.Filter
) -> None:
    check_filter(condition)
    for document in documents:
        assert matches(negated(condition), document) is not matches(condition, document)


@given(documents=documents_with_metadata())
def test_metadata_survives_storing(documents: list[DocumentRecord]) -> None:
    for document in documents:
        assert load_metadata(dump_metadata(document.metadata)) == document.metadata


@given(
    value=st.one_of(
        st.text(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
        st.datetimes(timezones=st.just(UTC)),
        st.lists(st.text()).map(tuple),
    )
)
def test_a_value_survives_the_proto(value: MetadataValue) -> None:
    wire = to_proto(value).SerializeToString()
    back = from_proto(filter_pb2.MetadataValue.FromString(wire))
    assert (type(back), back) == (type(value), value)


@given(moment=st.datetimes(timezones=st.just(UTC)))
def test_a_moment_survives_as_microseconds(moment: datetime) -> None:
    assert from_microseconds(to_microseconds(moment)) == moment


def test_digits_finer_than_a_microsecond_are_cut_off() -> None:
    stamp = filter_pb2.MetadataValue(timestamp_value=Timestamp(seconds=-1, nanos=999_999_999))
    assert from_proto(stamp) == datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def test_a_filter_too_wide_for_sql_is_counted_as_such() -> None:
    wide = filter_pb2.Filter(any_of=filter_pb2.FilterList(filters=[nested(15)] * 64))
    assert count_comparisons(wide) > MAX_COMPARISONS
