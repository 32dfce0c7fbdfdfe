"""Metadata values: what each of them is in the proto, in Python, and in a store.

A stored value is a kind and one of SQLite's own types, so that SQLite compares two stored values of one kind exactly
as `headwater.v1.Comparison` asks: 64-bit integers and doubles without loss, strings by code point (the order of their
UTF-8 bytes), moments as whole microseconds since 1970.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import assert_never

from google.protobuf import timestamp_pb2

from headwater.v1 import filter_pb2
from headwater_server.retrieval.store.protocol import MetadataValue

Stored = str | int | float

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT64 = range(-(2**63), 2**63)


class Kind(StrEnum):
    """The type of a metadata value; values of two kinds are never equal and have no order."""

    STRING = "s"
    INT64 = "i"
    DOUBLE = "d"
    BOOL = "b"
    TIMESTAMP = "t"
    STRING_LIST = "l"


def kind_of(value: MetadataValue) -> Kind:
    """The kind of a Python value; bool is not an int here."""
    match value:
        case bool():
            return Kind.BOOL
        case int():
            return Kind.INT64
        case float():
            return Kind.DOUBLE
        case str():
            return Kind.STRING
        case datetime():
            return Kind.TIMESTAMP
        case tuple():
            return Kind.STRING_LIST
        case _:
            assert_never(value)


def check_value(value: MetadataValue) -> None:
    """Refuses what the proto cannot say.

    Raises:
        ValueError: An integer beyond 64 bits, a double that is not finite, a moment without a time zone.
    """
    if isinstance(value, int) and value not in _INT64:
        raise ValueError(f"{value} does not fit into 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} has no time zone")


def to_microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970-01-01T00:00:00Z, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The moment, in UTC, that many microseconds after 1970-01-01T00:00:00Z."""
    return _EPOCH + timedelta(microseconds=microseconds)


def from_proto(value: filter_pb2.MetadataValue) -> MetadataValue:
    """The Python value of a proto value; the digits of a timestamp finer than a microsecond are cut off.

    Raises:
        ValueError: Nothing is set.
    """
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
            stamp = value.timestamp_value
            return from_microseconds(stamp.seconds * 1_000_000 + stamp.nanos // 1_000)
        case "string_list_value":
            return tuple(value.string_list_value.values)
        case _:
            raise ValueError("a metadata value has nothing set")


def to_proto(value: MetadataValue) -> filter_pb2.MetadataValue:
    """The proto value of a Python value."""
    match value:
        case bool():
            return filter_pb2.MetadataValue(bool_value=value)
        case int():
            return filter_pb2.MetadataValue(int64_value=value)
        case float():
            return filter_pb2.MetadataValue(double_value=value)
        case str():
            return filter_pb2.MetadataValue(string_value=value)
        case datetime():
            seconds, microseconds = divmod(to_microseconds(value), 1_000_000)
            stamp = timestamp_pb2.Timestamp(seconds=seconds, nanos=microseconds * 1_000)
            return filter_pb2.MetadataValue(timestamp_value=stamp)
        case tuple():
            return filter_pb2.MetadataValue(string_list_value=filter_pb2.StringList(values=value))
        case _:
            assert_never(value)


def metadata_from_proto(metadata: Mapping[str, filter_pb2.MetadataValue]) -> dict[str, MetadataValue]:
    """The Python values of a document's metadata."""
    return {key: from_proto(value) for key, value in metadata.items()}


def to_stored(value: MetadataValue) -> tuple[Kind, Stored]:
    """The kind of a value and what SQLite keeps of it; a list of strings becomes its JSON."""
    match value:
        case bool():
            return Kind.BOOL, int(value)
        case datetime():
            return Kind.TIMESTAMP, to_microseconds(value)
        case tuple():
            return Kind.STRING_LIST, json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        case _:
            return kind_of(value), value


def from_stored(kind: str, stored: Stored) -> MetadataValue:
    """The value of which `to_stored` made this."""
    match Kind(kind):
        case Kind.BOOL:
            return bool(stored)
        case Kind.TIMESTAMP:
            return from_microseconds(int(stored))
        case Kind.STRING_LIST:
            return tuple(json.loads(str(stored)))
        case Kind.DOUBLE:
            return float(stored)
        case Kind.STRING | Kind.INT64:
            return stored


def dump_metadata(metadata: Mapping[str, MetadataValue]) -> str:
    """A document's metadata as one JSON text that keeps the types."""
    return json.dumps({key: to_stored(value) for key, value in metadata.items()}, ensure_ascii=False)


def load_metadata(text: str) -> dict[str, MetadataValue]:
    """The metadata of which `dump_metadata` made this text."""
    return {key: from_stored(kind, stored) for key, (kind, stored) in json.loads(text).items()}
