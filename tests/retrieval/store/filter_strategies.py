"""Random metadata and random filters, drawn from few keys and values so that they often meet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from headwater.v1 import filter_pb2
from headwater_server.retrieval.store.protocol import DocumentRecord, MetadataValue
from tests.retrieval.store.records import Op, compares, negated

_WORDS = ["", "a", "b", "B", "ab", "é", "\U0001f30a", "\ue000", "a\0b", "1", "true"]
_KEYS = ["k", "other", "", "document.title", "document.uri", "document.other", "document.media_type"]
_MOMENT = datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=UTC)

_values: st.SearchStrategy[MetadataValue] = st.one_of(
    st.sampled_from(_WORDS),
    st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]),
    st.sampled_from([0.0, -0.0, 1.0, 0.1, float(2**53), 1e308, -5e-324]),
    st.booleans(),
    st.sampled_from(
        [
            _MOMENT,
            _MOMENT + timedelta(microseconds=1),
            _MOMENT.astimezone(timezone(timedelta(hours=5))),
            datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        ]
    ),
    st.lists(st.sampled_from(_WORDS), max_size=3).map(tuple),
)
_keys = st.one_of(st.just("k"), st.sampled_from(_KEYS))


def documents_with_metadata() -> st.SearchStrategy[list[DocumentRecord]]:
    fields = st.tuples(st.sampled_from(_WORDS), st.sampled_from(_WORDS), st.dictionaries(_keys, _values, max_size=4))
    return st.lists(fields, min_size=1, max_size=8).map(
        lambda drawn: [
            DocumentRecord(f"d{number}", title, uri, "text/plain", metadata)
            for number, (title, uri, metadata) in enumerate(drawn)
        ]
    )


@st.composite
def _comparisons(draw: st.DrawFn) -> filter_pb2.Filter:
    key = draw(_keys.filter(bool))
    op = draw(st.sampled_from([op for op in Op.values() if op]))
    if op in (Op.COMPARISON_OPERATOR_IN, Op.COMPARISON_OPERATOR_NOT_IN) and draw(st.booleans()):
        return compares(key, op, *draw(st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4)))
    if op in (Op.COMPARISON_OPERATOR_IN, Op.COMPARISON_OPERATOR_NOT_IN):
        return compares(key, op, *draw(st.lists(_values, min_size=1, max_size=4)))
    if op == Op.COMPARISON_OPERATOR_EXISTS:
        return compares(key, op)
    return compares(key, op, draw(_values))


def _all_of(parts: list[filter_pb2.Filter]) -> filter_pb2.Filter:
    return filter_pb2.Filter(all_of=filter_pb2.FilterList(filters=parts))


def _any_of(parts: list[filter_pb2.Filter]) -> filter_pb2.Filter:
    return filter_pb2.Filter(any_of=filter_pb2.FilterList(filters=parts))


def filters() -> st.SearchStrategy[filter_pb2.Filter]:
    return st.recursive(
        _comparisons(),
        lambda inner: st.one_of(
            inner.map(negated),
            st.lists(inner, max_size=3).map(_all_of),
            st.lists(inner, max_size=3).map(_any_of),
        ),
        max_leaves=8,
    )
