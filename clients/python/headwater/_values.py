"""Python values as typed metadata, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from headwater._checks import required_text, texts, wrong_type
from headwater._exceptions import ArgumentError
from headwater.v1 import filter_pb2

MetadataInput = str | int | float | bool | datetime | Sequence[str]
"""A metadata value: a string, a whole or a finite number, a truth value, an aware datetime, or a list of strings."""

MetadataPython = str | int | float | bool | datetime | list[str]
"""A metadata value as it comes back: datetimes are in UTC."""

_INT64 = range(-(2**63), 2**63)


def to_metadata_value(value: MetadataInput) -> filter_pb2.MetadataValue:
    """Makes the typed value of a Python one.

    An int and a float are of different types, and so never equal to each other.

    Raises:
        ArgumentError: The value has no type that metadata knows, or is out of its range.
    """
    match value:
        case bool():  # before int, which it is as well
            return filter_pb2.MetadataValue(bool_value=value)
        case str():
            return filter_pb2.MetadataValue(string_value=required_text("a string of metadata", value))
        case int():
            if value not in _INT64:
                raise ArgumentError(f"a whole number of metadata has 64 bits at most: {value}")
            return filter_pb2.MetadataValue(int64_value=value)
        case float():
            if not math.isfinite(value):
                raise ArgumentError(f"a number of metadata is finite: {value}")
            return filter_pb2.MetadataValue(double_value=value)
        case datetime():
            return _timestamp(value)
        case list() | tuple() if all(isinstance(item, str) for item in value):
            return filter_pb2.MetadataValue(
                string_list_value=filter_pb2.StringList(values=texts("a list of metadata", value))
            )
        case _:
            raise ArgumentError(
                "metadata is a str, int, float, bool, aware datetime or list of str, "
                f"not {type(value).__name__}: {value!r}"
            )


def to_metadata(metadata: Mapping[str, MetadataInput]) -> dict[str, filter_pb2.MetadataValue]:
    """Makes the typed metadata of a mapping.

    Raises:
        ArgumentError: A value has no type that metadata knows; the message names its key.
    """
    if not isinstance(metadata, Mapping):
        raise wrong_type("metadata", "a mapping of keys to values", metadata)
    typed = {}
    for key, value in metadata.items():
        required_text("a key of metadata", key)
        try:
            typed[key] = to_metadata_value(value)
        except ArgumentError as error:
            raise ArgumentError(f"metadata[{key!r}]: {error.message}") from None
    return typed


def metadata_dict(metadata: Mapping[str, filter_pb2.MetadataValue]) -> dict[str, MetadataPython]:
    """Makes plain Python of the metadata of a `Source` or a `Document`.

    Values of a kind that this version does not know are left out.
    """
    plain = {}
    for key, value in metadata.items():
        python = _to_python(value)
        if python is not None:
            plain[key] = python
    return plain


def _to_python(  # noqa: PLR0911 (one return for each kind of value)
    value: filter_pb2.MetadataValue,
) -> MetadataPython | None:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "int64_value":
            return value.int64_value
        case "double_value":
            return value.double_value
        case "bool_value":
            return value.bool_value
        case "timestamp_value":
            return value.timestamp_value.ToDatetime(tzinfo=UTC)
        case "string_list_value":
            return list(value.string_list_value.values)
        case _:
            return None


def _timestamp(value: datetime) -> filter_pb2.MetadataValue:
    if value.tzinfo is None or value.utcoffset() is None:
        raise ArgumentError(f"a datetime of metadata has a time zone, such as datetime.UTC: {value!r}")
    typed = filter_pb2.MetadataValue()
    typed.timestamp_value.FromDatetime(value.astimezone(UTC))
    return typed
