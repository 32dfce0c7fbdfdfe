"""Requests that are none: bytes that are no message, and messages of more parts than any request has.

What is checked here costs little; the rules of the protos are checked after it, and those take their time for each part
of a message, on the event loop that serves everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError, Message

MAX_PARTS = 10_000
"""How many messages may be in a request, one within the other or side by side. A hundred sources with all the metadata
that they may have are 6,500."""

NO_MESSAGE = "the bytes are not a protobuf message of the type this method takes"
"""What a caller is told of such bytes."""

MANY_PARTS = 1_000
"""From how many on only the first broken rule is told: to find them all takes longer than their number grows."""

_PART_BYTES = 2
"""What a message within another takes at least: its tag and its length."""


class Malformed:
    """Stands for a request whose bytes are not a protobuf message."""


def lenient(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """Lets a request that is no protobuf message through as `Malformed`: grpc itself would answer UNKNOWN."""
    if deserialize is None:
        return None

    def parse(data: bytes) -> object:
        try:
            return deserialize(data)
        except DecodeError:
            return Malformed()

    return parse


def parts(request: Message) -> int:
    """How many messages are within a request; beyond MAX_PARTS it is not counted to the end."""
    found = 0
    if request.ByteSize() < MANY_PARTS * _PART_BYTES:
        return found  # and whatever it is, it is few
    waiting: list[Any] = [request]
    while waiting and found <= MAX_PARTS:
        for field, value in waiting.pop().ListFields():
            if field.message_type is None:
                continue
            found += len(value) if field.is_repeated else 1
            if found > MAX_PARTS:
                break
            if not field.is_repeated:
                waiting.append(value)
            elif not field.message_type.GetOptions().map_entry:
                waiting += value
            elif field.message_type.fields_by_name["value"].message_type is not None:
                waiting += value.values()
    return found
