"""Filters over documents' metadata, written as Python expressions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NoReturn

from headwater._checks import items, required_text
from headwater._exceptions import ArgumentError
from headwater._values import MetadataInput, to_metadata_value
from headwater.v1 import filter_pb2


class Filter:
    """A condition on documents' metadata, made with `field`. `&`, `|` and `~` combine conditions.

    A comparison with a key that a document lacks, or with a value of another type, is false; `~` inverts that too.

    Example:
        >>> from headwater import field
        >>> recent = (field("year") >= 2020) & field("language").in_(["de", "en"])
    """

    def __init__(self, message: filter_pb2.Filter) -> None:
        self._message = message

    def to_proto(self) -> filter_pb2.Filter:
        """The filter as protobuf."""
        copy = filter_pb2.Filter()
        copy.CopyFrom(self._message)
        return copy

    def __and__(self, other: Filter) -> Filter:
        if not isinstance(other, Filter):
            return NotImplemented
        parts = [*_operands(self._message, "all_of"), *_operands(other._message, "all_of")]
        return Filter(filter_pb2.Filter(all_of=filter_pb2.FilterList(filters=parts)))

    def __or__(self, other: Filter) -> Filter:
        if not isinstance(other, Filter):
            return NotImplemented
        parts = [*_operands(self._message, "any_of"), *_operands(other._message, "any_of")]
        return Filter(filter_pb2.Filter(any_of=filter_pb2.FilterList(filters=parts)))

    def __invert__(self) -> Filter:
        return Filter(filter_pb2.Filter(negate=self._message))

    def __bool__(self) -> NoReturn:
        raise ArgumentError(
            "a filter is neither true nor false here: combine filters with &, | and ~, each comparison in parentheses, "
            "and write a range as two comparisons"
        )

    def __repr__(self) -> str:
        return f"<Filter {str(self._message).replace(chr(10), ' ').strip()}>"


class Field:
    """A key of documents' metadata, to be compared.

    `document.title`, `document.uri` and `document.media_type` are the documents' own fields.
    """

    __hash__ = None  # type: ignore[assignment]  # comparing two fields makes a filter, so a field is no key

    def __init__(self, key: str) -> None:
        self._key = key

    def __eq__(self, value: MetadataInput) -> Filter:  # type: ignore[override]  # an expression, not a truth value
        return self._compare(filter_pb2.COMPARISON_OPERATOR_EQ, value)

    def __ne__(self, value: MetadataInput) -> Filter:  # type: ignore[override]  # an expression, not a truth value
        return self._compare(filter_pb2.COMPARISON_OPERATOR_NE, value)

    def __lt__(self, value: MetadataInput) -> Filter:
        return self._compare(filter_pb2.COMPARISON_OPERATOR_LT, value)

    def __le__(self, value: MetadataInput) -> Filter:
        return self._compare(filter_pb2.COMPARISON_OPERATOR_LE, value)

    def __gt__(self, value: MetadataInput) -> Filter:
        return self._compare(filter_pb2.COMPARISON_OPERATOR_GT, value)

    def __ge__(self, value: MetadataInput) -> Filter:
        return self._compare(filter_pb2.COMPARISON_OPERATOR_GE, value)

    def in_(self, values: Iterable[MetadataInput]) -> Filter:
        """True where the value is one of these, or, for a list of strings, any of its strings is."""
        return self._among(filter_pb2.COMPARISON_OPERATOR_IN, values)

    def not_in(self, values: Iterable[MetadataInput]) -> Filter:
        """True where the value is there, of the type of one of these, and none of them."""
        return self._among(filter_pb2.COMPARISON_OPERATOR_NOT_IN, values)

    def exists(self) -> Filter:
        """True where the key is there, whatever its type."""
        return _comparison(filter_pb2.Comparison(key=self._key, op=filter_pb2.COMPARISON_OPERATOR_EXISTS))

    def __repr__(self) -> str:
        return f"field({self._key!r})"

    def _compare(self, op: filter_pb2.ComparisonOperator.ValueType, value: MetadataInput) -> Filter:
        return _comparison(filter_pb2.Comparison(key=self._key, op=op, value=to_metadata_value(value)))

    def _among(self, op: filter_pb2.ComparisonOperator.ValueType, values: Iterable[MetadataInput]) -> Filter:
        if isinstance(values, str):
            raise ArgumentError(f"{self!r}: in_ and not_in take a list of values, not one string")
        typed = [to_metadata_value(value) for value in items(f"{self!r}: the values of in_ and not_in", values)]
        if not typed:
            raise ArgumentError(f"{self!r}: in_ and not_in take at least one value")
        return _comparison(filter_pb2.Comparison(key=self._key, op=op, values=typed))


def field(key: str) -> Field:
    """Names a key of documents' metadata in a filter, as in `field("year") >= 2020`.

    Args:
        key: The key, 1 to 64 bytes of UTF-8.

    Raises:
        ArgumentError: The key is empty or too long.
    """
    if not 1 <= len(required_text("a metadata key", key).encode()) <= 64:
        raise ArgumentError(f"a metadata key has 1 to 64 bytes: {key!r}")
    return Field(key)


FilterInput = Filter | Mapping[str, MetadataInput] | filter_pb2.Filter
"""A filter: made with `field`, a mapping of keys to the values they must equal, or the protobuf message."""


def to_filter(value: FilterInput) -> filter_pb2.Filter:
    """Makes the protobuf message of a filter.

    Raises:
        ArgumentError: It is none of the kinds of `FilterInput`, or a value in it has no type that metadata knows.
    """
    match value:
        case Filter():
            return value.to_proto()
        case filter_pb2.Filter():
            return value
        case Mapping():
            parts = [(field(key) == operand).to_proto() for key, operand in value.items()]
            return filter_pb2.Filter(all_of=filter_pb2.FilterList(filters=parts))
        case _:
            raise ArgumentError(f"a filter is made with field(...), or is a mapping, not {type(value).__name__}")


def _comparison(comparison: filter_pb2.Comparison) -> Filter:
    return Filter(filter_pb2.Filter(comparison=comparison))


def _operands(message: filter_pb2.Filter, kind: str) -> list[filter_pb2.Filter]:
    """The operands of a filter of that kind, so that `a & b & c` is one list of three; any other filter is its own."""
    if message.WhichOneof("condition") != kind:
        return [message]
    return list(message.all_of.filters if kind == "all_of" else message.any_of.filters)
