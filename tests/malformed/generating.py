"""Messages of any type that are protobuf, and whose values are what a defective program, or an enemy, would send."""

from __future__ import annotations

import math
import random
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

NASTY_TEXTS = (
    "",
    " ",
    "\0",
    "..",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/etc/shadow",
    "file:///etc/passwd",
    "x" * 300,
    "x" * 5_000,
    "a\r\nx-injected: yes",
    "'; DROP TABLE answers; --",
    '" OR ""="',
    "{{ 7 * 7 }}",
    "%s%s%s%n",
    "\u202egnirts",
    "\ufeff\u200b\u2028\u2029\u0085",
    "e\u0301" * 100,
    "👩‍👩‍👧‍👦" * 20,
    "\U0010ffff",
    "\x7f\x1b[2J",
    "NaN",
    "-1",
    "null",
    "*",
    "/",
    "//",
    "assistants/",
    "builtin/",
    "builtin/nothing",
    "../extractive",
    "nobody/nothing",
)
PLAUSIBLE_TEXTS = (
    "default",
    "handbook",
    "corpora/default",
    "corpora/handbook",
    "corpora/handbook/documents/leave",
    "answers/0123456789abcdef0123456789abcdef",
    "chats/0123456789abcdef0123456789abcdef",
    "chats/c/turns/t",
    "assistants/builtin/extractive",
    "builtin/extractive",
    "How many hours of leave may I carry over?",
    "4f9619ff-8b86-4d01-b42d-00cf4fc964ff",
    "text/plain",
    "application/pdf",
    "en",
    "title",
    "display_name",
    "labels",
)
_WHOLE = (0, 1, -1, 2, 16, 17, 100, 101, 1000, 1001, 2**15, 2**31 - 1, -(2**31))
_LONG = (*_WHOLE, 2**53 + 1, 2**63 - 1, -(2**63), 253_402_300_800, 10**18)
_REAL = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0000001, 1e308, 5e-324, math.inf, -math.inf, math.nan)
_DEEPEST = 6

F = FieldDescriptor
_SIGNED = {F.TYPE_INT32, F.TYPE_SINT32, F.TYPE_SFIXED32}
_UNSIGNED = {F.TYPE_UINT32, F.TYPE_FIXED32, F.TYPE_UINT64, F.TYPE_FIXED64}


def made(request: Descriptor, chance: random.Random) -> Message:
    """A message of this type."""
    message = GetMessageClass(request)()
    _fill(message, chance, depth=0)
    return message


def inside(field: FieldDescriptor) -> Descriptor:
    """The type of the messages in a field that has messages."""
    assert field.message_type is not None
    return field.message_type


def _fill(message: Message, chance: random.Random, *, depth: int) -> None:
    likely = 0.6 if depth < 2 else 0.35
    for field in message.DESCRIPTOR.fields:
        if chance.random() > likely or (depth >= _DEEPEST and field.message_type is not None):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _fill_map(getattr(message, field.name), field.message_type, chance, depth=depth)
        elif field.is_repeated:
            for _ in range(chance.choice((0, 1, 1, 2, 3))):
                _append(getattr(message, field.name), field, chance, depth=depth)
        elif field.message_type is not None:
            child = getattr(message, field.name)
            child.SetInParent()
            _fill(child, chance, depth=depth + 1)
        else:
            setattr(message, field.name, _value(field, chance))


def _fill_map(entries: Any, entry: Any, chance: random.Random, *, depth: int) -> None:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    for _ in range(chance.choice((0, 1, 2))):
        if value.message_type is not None:
            _fill(entries[_value(key, chance)], chance, depth=depth + 1)
        else:
            entries[_value(key, chance)] = _value(value, chance)


def _append(items: Any, field: Any, chance: random.Random, *, depth: int) -> None:
    if field.message_type is not None:
        _fill(items.add(), chance, depth=depth + 1)
    else:
        items.append(_value(field, chance))


def _value(field: Any, chance: random.Random) -> Any:  # noqa: PLR0911 (one line a type)
    if field.type == F.TYPE_STRING:
        return chance.choice(PLAUSIBLE_TEXTS if chance.random() < 0.6 else NASTY_TEXTS)
    if field.type == F.TYPE_BYTES:
        return chance.randbytes(chance.choice((0, 1, 10, 1000)))
    if field.type == F.TYPE_BOOL:
        return chance.random() < 0.5
    if field.type == F.TYPE_ENUM:
        return chance.choice((*(value.number for value in field.enum_type.values), 99, -1, 2**31 - 1))
    if field.type in {F.TYPE_DOUBLE, F.TYPE_FLOAT}:
        return chance.choice(_REAL)
    if field.type in _SIGNED:
        return chance.choice(_WHOLE)
    if field.type in _UNSIGNED:
        return chance.choice((0, 1, 2**31))
    return chance.choice(_LONG)
