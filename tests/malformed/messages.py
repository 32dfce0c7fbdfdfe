"""Malformed messages: bytes for a method, and whether a server may take them."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.malformed.generating import NASTY_TEXTS, inside, made
from tests.malformed.methods import Method

MIB = 1024 * 1024
_BAD_UTF8 = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"ok\x80", b"\xfe\xfe\xff\xff")
_NAMES = {"name", "parent"}
"""Fields whose form the protos prescribe, in every message that has one at its top."""


@dataclass(frozen=True)
class Malformed:
    """One message of a call."""

    kind: str
    data: bytes
    refused: bool = False
    """Whether the server has to refuse it. Where not, it may be well-formed by accident."""


def malformed(method: Method, chance: random.Random) -> Malformed:
    """A message for a method, of a kind that chance decides."""
    kinds, weights = zip(*_KINDS, strict=True)
    message: Malformed | None = None
    while message is None:
        (kind,) = chance.choices(kinds, weights)
        message = kind(method.request, chance)
    return message


def _random_bytes(request: Descriptor, chance: random.Random) -> Malformed:
    return Malformed("random bytes", chance.randbytes(chance.choice((0, 1, 2, 5, 20, 100, 1000, 20_000))))


def _hostile_values(request: Descriptor, chance: random.Random) -> Malformed:
    return Malformed("hostile values", made(request, chance).SerializeToString())


def _damaged(request: Descriptor, chance: random.Random) -> Malformed:
    """A message with some bytes changed, left out, put in, or said twice."""
    data = bytearray(made(request, chance).SerializeToString())
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.randrange(1, 10)]
            case 2:
                data[at:at] = chance.randbytes(chance.randrange(1, 10))
            case _:
                data[at:at] = data[: chance.randrange(1, 100)]
    return Malformed("damaged", bytes(data))


def _truncated(request: Descriptor, chance: random.Random) -> Malformed | None:
    data = made(request, chance).SerializeToString()
    return Malformed("truncated", data[: chance.randrange(len(data))]) if data else None


def _wrong_types(request: Descriptor, chance: random.Random) -> Malformed:
    """The method's fields, each with a wire type of its own."""
    data = b""
    for field in request.fields:
        kind = chance.randrange(8)  # 6 and 7 are none
        data += _varint(field.number << 3 | kind)
        data += (_varint(chance.getrandbits(64)), chance.randbytes(8), _bytes(chance.randbytes(9)))[min(kind, 2)]
    return Malformed("wrong types", data)


def _invalid_utf8(request: Descriptor, chance: random.Random) -> Malformed | None:
    path = _path_to_text(request, chance)
    if path is None:
        return None
    data = chance.choice(_BAD_UTF8)
    for field in reversed(path):
        data = _varint(field.number << 3 | 2) + _bytes(data)
    return Malformed("invalid UTF-8", made(request, chance).SerializeToString() + data, refused=True)


def _deep_nesting(request: Descriptor, chance: random.Random) -> Malformed | None:
    """Filters, structs, or groups that nobody knows, nested deeper than any program means."""
    depth = chance.choice((17, 50, 99, 101, 1_000, 30_000))
    path = _path_to(request, "headwater.v1.Filter") if chance.random() < 0.5 else None
    if path is not None:
        data = b""
        for _ in range(depth):
            data = b"\x1a" + _bytes(data) if len(data) < 4 * MIB else data  # negate
        return Malformed("deep filter", _well_formed(request) + _wrapped(path, data), refused=True)
    path = _path_to(request, "google.protobuf.Struct") if chance.random() < 0.7 else None
    if path is not None:
        data = b"\x1a\x00"  # a string
        for _ in range(depth):  # a list of one value
            data = b"\x32" + _bytes(b"\x0a" + _bytes(data))
        data = b"\x0a" + _bytes(b"\x0a\x01k\x12" + _bytes(data))
        return Malformed("deep struct", _well_formed(request) + _wrapped(path, data), refused=depth > 100)
    opened = b"\x9b\x06" * depth  # field 99
    closed = b"\x9c\x06" * depth
    return Malformed("deep groups", opened + closed, refused=depth > 100)


def _wide(request: Descriptor, chance: random.Random) -> Malformed | None:
    """Very many elements where a few are meant."""
    repeated = [field for field in request.fields if field.is_repeated and field.type == FieldDescriptor.TYPE_MESSAGE]
    count = chance.choice((1_001, 10_000, 100_000))
    path = _path_to(request, "headwater.v1.FilterList")
    if path is not None and chance.random() < 0.5:
        return Malformed("wide filter", _well_formed(request) + _wrapped(path, b"\x0a\x00" * count), refused=True)
    if not repeated:
        return None
    field = chance.choice(repeated)
    return Malformed("wide", _well_formed(request) + (_varint(field.number << 3 | 2) + b"\0") * count, refused=True)


def _thicket(request: Descriptor, chance: random.Random) -> Malformed | None:
    """A filter within all bounds of its own, and with very many parts."""
    path = _path_to(request, "headwater.v1.Filter")
    if path is None:
        return None
    branch = b"\x22\x05\x0a\x01k\x10\x09"  # a comparison: k exists
    for _ in range(chance.choice((2, 3))):
        branch = b"\x0a" + _bytes((b"\x0a" + _bytes(branch)) * 64)
    return Malformed("thicket", _well_formed(request) + _wrapped(path, branch))


def _oversized(request: Descriptor, chance: random.Random) -> Malformed | None:
    path = _path_to_text(request, chance)
    if path is None:
        return None
    size = chance.choice((3 * MIB, 5 * MIB, 9 * MIB))
    # What only a server sets is no matter what a caller says of it, up to what the transport takes.
    return Malformed("oversized", _wrapped(path, b"x" * size), refused=size > 8 * MIB)


def _bad_page_token(request: Descriptor, chance: random.Random) -> Malformed | None:
    field = request.fields_by_name.get("page_token")
    if field is None:
        return None
    message = _parsed(request, _well_formed(request))
    setattr(message, "page_token", _token(chance))  # noqa: B010 (of a type that has it)
    return Malformed("bad page token", message.SerializeToString(), refused=True)


def _bad_name(request: Descriptor, chance: random.Random) -> Malformed | None:
    """A name that is none where one has to be."""
    names = [name for name in _NAMES if name in request.fields_by_name]
    if not names:
        return None
    message = _parsed(request, _well_formed(request))
    prefix = chance.choice(("", "", "corpora/", "answers/", "chats/", "corpora/a/documents/"))
    nasty = chance.choice([text for text in NASTY_TEXTS if not text.isalnum() or len(text) > 200])
    for name in names:
        setattr(message, name, prefix + nasty + chance.choice(("", "\n", "/", "\0")))
    return Malformed("bad name", message.SerializeToString(), refused=True)


_KINDS: tuple[tuple[Callable[[Descriptor, random.Random], Malformed | None], float], ...] = (
    (_random_bytes, 10),
    (_hostile_values, 22),
    (_damaged, 22),
    (_truncated, 8),
    (_wrong_types, 8),
    (_invalid_utf8, 8),
    (_deep_nesting, 5),
    (_wide, 0.5),
    (_thicket, 0.3),
    (_oversized, 0.3),
    (_bad_page_token, 6),
    (_bad_name, 10),
)


def _well_formed(request: Descriptor) -> bytes:
    """A message that has what its method asks for, so that the rest of it counts."""
    message = GetMessageClass(request)()
    for name, value in (("prompt", "why?"), ("name", "answers/a"), ("parent", "corpora/handbook")):
        if name in request.fields_by_name:
            setattr(message, name, value)
    if request.name == "RetrieveRequest":
        message.MergeFromString(b"\x0a\x06\x12\x04why?")
    return message.SerializeToString()


def _token(chance: random.Random) -> str:
    """Something that looks like a page token, to various degrees."""
    match chance.randrange(5):
        case 0:
            return chance.choice([text for text in NASTY_TEXTS if text])
        case 1:
            return base64.urlsafe_b64encode(chance.randbytes(chance.choice((1, 16, 17, 40)))).decode()
        case 2:
            made_up = [chance.choice((0.0, "x", None, 1e400)), chance.choice(NASTY_TEXTS)]
            return base64.urlsafe_b64encode(json.dumps(made_up).encode()).decode()[:1000]
        case 3:
            return base64.urlsafe_b64encode(b"[" * 700).decode()
        case _:
            return chance.choice(("=", "====", "A", "AAAAA", "é", "\ud7ff", "x" * 1024, "x" * 1025))


def _path_to_text(request: Descriptor, chance: random.Random) -> list[FieldDescriptor] | None:
    """A way from a message to one of its texts, of at most four steps."""
    path: list[FieldDescriptor] = []
    while len(path) < 4:
        texts = [field for field in request.fields if field.type == FieldDescriptor.TYPE_STRING]
        inner = [field for field in request.fields if field.message_type is not None]
        if texts and (not inner or chance.random() < 0.6):
            return [*path, chance.choice(texts)]
        if not inner:
            return None
        path.append(chance.choice(inner))
        request = inside(path[-1])
    return None


def _path_to(request: Descriptor, type_name: str, depth: int = 3) -> list[FieldDescriptor] | None:
    """The first way from a message to one of a type."""
    for field in request.fields:
        if field.message_type is None or depth == 0:
            continue
        if field.message_type.full_name == type_name:
            return [field]
        rest = _path_to(field.message_type, type_name, depth - 1)
        if rest is not None:
            return [field, *rest]
    return None


def _wrapped(path: list[FieldDescriptor], data: bytes) -> bytes:
    for field in reversed(path):
        data = _varint(field.number << 3 | 2) + _bytes(data)
    return data


def _parsed(request: Descriptor, data: bytes) -> Message:
    return GetMessageClass(request).FromString(data)


def _bytes(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _varint(number: int) -> bytes:
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])
