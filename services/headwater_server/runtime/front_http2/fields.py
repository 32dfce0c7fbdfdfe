"""Header fields: what a call's say, and how ours are written (RFC 7541, RFC 9113 section 8, gRPC over HTTP/2)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Field = tuple[bytes, bytes]
Metadata = tuple[tuple[str, str | bytes], ...]

MAX_METADATA_BYTES = 16 * 1024
"""How much a call's headers may be, as RFC 9113 counts them."""
_FIELD_BYTES = 32
"""What each header counts beside its name and value."""

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_FORBIDDEN_VALUE = re.compile(rb"[\0\r\n]")
_OF_THE_CONNECTION = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
_PSEUDO = {b":method", b":scheme", b":path", b":authority"}
_LENGTH = re.compile(rb"\d{1,19}")
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_LONGEST_SECONDS = 1e9
"""Longer waits are as good as this one, and timers can count to it."""
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_RESERVED = {b"te", b"content-type", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding"}


class MalformedHeaders(Exception):
    """They are none that HTTP/2 allows."""


@dataclass(frozen=True)
class RequestHead:
    """What a call's headers say."""

    method: bytes
    path: bytes
    content_type: bytes
    encoding: bytes
    timeout: float | None
    """In seconds."""
    timeout_is_one: bool
    metadata: Metadata
    size: int
    """In bytes, as RFC 9113 counts them."""
    length: int | None
    """How many bytes are to follow, where it says so."""


def request_head(fields: Sequence[Field]) -> RequestHead:
    """Reads a call's headers.

    Raises:
        MalformedHeaders: HTTP/2 does not allow them.
    """
    pseudo = _checked(fields)
    known = dict(fields)
    given = known.get(b"grpc-timeout")
    timeout = _TIMEOUT.fullmatch(given) if given is not None else None
    return RequestHead(
        method=pseudo[b":method"],
        path=pseudo[b":path"],
        content_type=known.get(b"content-type", b""),
        encoding=known.get(b"grpc-encoding", b"identity"),
        timeout=min(int(timeout[1]) * _UNITS[timeout[2]], _LONGEST_SECONDS) if timeout else None,
        timeout_is_one=given is None or timeout is not None,
        metadata=tuple(_metadata(fields)),
        size=list_size(fields),
        length=_length(fields) if b"content-length" in known else None,
    )


def list_size(fields: Iterable[Field]) -> int:
    """How large headers are, as RFC 9113 counts them."""
    return sum(len(name) + len(value) + _FIELD_BYTES for name, value in fields)


def check_trailers(fields: Iterable[Field]) -> None:
    """Looks at what may follow a call's messages; nothing in it is for us.

    Raises:
        MalformedHeaders: HTTP/2 does not allow them: they have a pseudo header, or whatever no headers may have.
    """
    for name, value in fields:
        _check(name, value)


def _checked(fields: Sequence[Field]) -> dict[bytes, bytes]:
    """The pseudo headers, of fields that are as RFC 9113, section 8.2, wants them."""
    pseudo: dict[bytes, bytes] = {}
    regular = False
    for name, value in fields:
        if name.startswith(b":"):
            if regular or name in pseudo or name not in _PSEUDO:
                raise MalformedHeaders(f"pseudo header {name!r}")
            _check_value(name, value)
            pseudo[name] = value
            continue
        regular = True
        _check(name, value)
    if not {b":method", b":scheme", b":path"} <= pseudo.keys():
        raise MalformedHeaders("a pseudo header is missing")
    return pseudo


def _check(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name) or name in _OF_THE_CONNECTION or (name == b"te" and value != b"trailers"):
        raise MalformedHeaders(f"header {name!r}")
    _check_value(name, value)


def _check_value(name: bytes, value: bytes) -> None:
    if _FORBIDDEN_VALUE.search(value):
        raise MalformedHeaders(f"the value of {name!r}")


def _length(fields: Iterable[Field]) -> int:
    """What a content-length says; one that is given twice has to be the same."""
    given = {value for name, value in fields if name == b"content-length"}
    value = given.pop()
    if given or not _LENGTH.fullmatch(value):
        raise MalformedHeaders("content-length")
    return int(value)


def _metadata(fields: Iterable[Field]) -> Iterable[tuple[str, str | bytes]]:
    """What is for the application; a binary header that is not base64 is left out, as it says nothing."""
    for name, value in fields:
        if name.startswith((b":", b"grpc-")) or name in _RESERVED:
            continue
        if not name.endswith(b"-bin"):
            yield name.decode("ascii"), _text(value)
            continue
        for part in value.split(b","):
            try:
                yield name.decode("ascii"), base64.b64decode(part + b"=" * (-len(part) % 4), validate=True)
            except binascii.Error:
                continue


def _text(value: bytes) -> str:
    """A value as grpcio reads it: UTF-8, though HTTP/2 has no character set and gRPC only ASCII."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def literal(name: bytes, value: bytes) -> bytes:
    """A header as HPACK's literal without indexing: no table is kept, so none can be filled or told by its effects."""
    return b"\0" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    """HPACK's string, not compressed; its length is an integer with a prefix of seven bits."""
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    encoded, size = bytearray((127,)), size - 127
    while size >= 128:
        encoded.append(size % 128 + 128)
        size //= 128
    encoded.append(size)
    return bytes(encoded) + text


RESPONSE = (
    b"\x88"
    + literal(b"content-type", b"application/grpc")
    + literal(b"grpc-accept-encoding", b"identity, deflate, gzip")
)
"""Status 200, which HPACK's own table has, and what every call's answer begins with."""

OK = literal(b"grpc-status", b"0") + literal(b"grpc-message", b"")
"""The trailers of a call that went well."""


def http_error(status: int) -> bytes:
    """The headers of an answer to what is no gRPC call."""
    return literal(b":status", str(status).encode()) + literal(b"content-length", b"0")


def trailers(code: int, words: str, metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    """The trailers of a call.

    Args:
        code: gRPC's number of the status.
        words: Its message; empty for none.
        metadata: Trailing metadata; a value of bytes is for a key that ends in `-bin`.
    """
    return _status(code, words) + metadata_block(metadata)


def metadata_block(metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Metadata as headers."""
    return b"".join(literal(key.lower().encode("ascii"), _value(value)) for key, value in metadata)


def _status(code: int, words: str) -> bytes:
    block = literal(b"grpc-status", str(code).encode())
    return block + literal(b"grpc-message", percent_encoded(words))  # an empty one too, as grpcio does


def _value(value: str | bytes) -> bytes:
    return value.encode("ascii", errors="replace") if isinstance(value, str) else base64.b64encode(value).rstrip(b"=")


def percent_encoded(words: str) -> bytes:
    """A status's message as gRPC writes it: UTF-8, of which all but printable ASCII is escaped, and `%` too."""
    data = words.encode(errors="replace")
    return b"".join(bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in data)
