"""Frames, messages and headers, cut anywhere."""

from __future__ import annotations

import zlib
from urllib.parse import unquote

import grpc
import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.runtime.front_http2 import fields
from headwater_server.runtime.front_http2.frames import (
    MAX_FRAME_BYTES,
    PREFACE,
    ConnectionBroken,
    ErrorCode,
    Frame,
    FrameReader,
    Kind,
    encoded,
)
from headwater_server.runtime.front_http2.messages import BadMessage, MessageReader, prefix

KINDS = st.sampled_from(list(Kind))
FRAMES = st.lists(st.tuples(KINDS, st.binary(max_size=200), st.integers(0, 255), st.integers(0, 2**31 - 1)), max_size=8)
CUTS = st.lists(st.integers(0, 2_000), max_size=20)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes, cut at these places."""
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


@given(FRAMES, CUTS)
def test_frames_are_read_as_they_were_written_wherever_they_are_cut(
    written: list[tuple[Kind, bytes, int, int]], cuts: list[int]
) -> None:
    data = PREFACE + b"".join(encoded(kind, payload, flags=flags, stream=s) for kind, payload, flags, s in written)
    reader = FrameReader()
    read = [frame for piece in pieces(data, cuts) for frame in reader.read(piece)]
    assert read == [Frame(kind, flags, stream, payload) for kind, payload, flags, stream in written]


def test_a_frame_that_is_too_large_is_known_by_its_head() -> None:
    head = encoded(Kind.DATA, bytes(MAX_FRAME_BYTES + 1))[:9]
    with pytest.raises(ConnectionBroken) as caught:
        list(FrameReader().read(PREFACE + head))
    assert caught.value.code is ErrorCode.FRAME_SIZE_ERROR


@given(st.binary(min_size=1, max_size=30).filter(lambda data: data != PREFACE[: len(data)]))
def test_a_greeting_that_is_none_is_known_at_its_first_wrong_byte(data: bytes) -> None:
    with pytest.raises(ConnectionBroken):
        list(FrameReader().read(data))


@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=6), CUTS)
def test_messages_are_read_as_they_were_written_wherever_they_are_cut(
    written: list[tuple[bytes, bool]], cuts: list[int]
) -> None:
    data = b""
    for message, compressed in written:
        body = zlib.compress(message, wbits=31) if compressed else message
        data += prefix(compressed, len(body)) + body
    reader = MessageReader(limit=1_000, encoding=b"gzip")
    read = [reader.unpacked(one) for piece in pieces(data, cuts) for one in reader.read(piece)]
    assert read == [message for message, _ in written]
    assert reader.kept == 0


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_a_message_that_grows_beyond_the_limit_is_not_unpacked_to_its_end(encoding: bytes) -> None:
    packed = zlib.compress(bytes(100_000_000), wbits=31 if encoding == b"gzip" else 15)
    reader = MessageReader(limit=1_000_000, encoding=encoding)
    (message,) = reader.read(prefix(1, len(packed)) + packed)
    with pytest.raises(BadMessage) as caught:
        reader.unpacked(message)
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("wrong", [b"", b"rubbish", zlib.compress(b"x"), zlib.compress(b"x", wbits=31)[:-1]])
def test_a_message_that_is_not_compressed_as_it_says_is_none(wrong: bytes) -> None:
    reader = MessageReader(limit=1_000, encoding=b"gzip")
    for body in (wrong, zlib.compress(b"x", wbits=31) + b"behind"):
        (message,) = reader.read(prefix(1, len(body)) + body)
        with pytest.raises(BadMessage) as caught:
            reader.unpacked(message)
        assert caught.value.code is grpc.StatusCode.INTERNAL


@given(st.text())
def test_a_status_message_survives_its_escaping(words: str) -> None:
    written = fields.percent_encoded(words)
    assert all(0x20 <= byte <= 0x7E for byte in written)
    assert unquote(written.decode(), errors="strict") == words.encode(errors="replace").decode()


@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True).map(lambda key: f"x-{key}-bin"), st.binary())
        | st.tuples(
            st.from_regex(r"[a-z][a-z0-9]{0,20}", fullmatch=True).map(lambda key: f"x-{key}"),
            st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)),
        ),
        max_size=10,
    )
)
def test_metadata_that_we_write_can_be_read(metadata: list[tuple[str, str | bytes]]) -> None:
    decoded = hpack.Decoder(max_header_list_size=1 << 20).decode(fields.metadata_block(metadata), raw=True)
    pseudo = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/b")]
    head = fields.request_head([*pseudo, *((bytes(name), bytes(value)) for name, value in decoded)])
    assert list(head.metadata) == metadata


@pytest.mark.parametrize(
    "odd",
    [
        [(b"X-Upper", b"x")],
        [(b"connection", b"close")],
        [(b"te", b"gzip")],
        [(b"x", b"a\r\nb")],
        [(b"x y", b"a")],
        [(b"", b"a")],
        [(b"x", b"a"), (b":path", b"/late")],
        [(b":path", b"/twice")],
        [(b":odd", b"a")],
    ],
)
def test_headers_that_http2_forbids_are_none(odd: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(fields.MalformedHeaders):
        fields.request_head([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/b"), *odd])


@pytest.mark.parametrize(
    ("written", "seconds"), [(b"5S", 5.0), (b"20m", 0.02), (b"1H", 3600.0), (b"99999999n", 0.099999999), (b"0u", 0.0)]
)
def test_a_timeout_is_read_in_its_unit(written: bytes, seconds: float) -> None:
    head = fields.request_head(
        [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/b"), (b"grpc-timeout", written)]
    )
    assert head.timeout_is_one
    assert head.timeout == pytest.approx(seconds)


@pytest.mark.parametrize("written", [b"soon", b"10", b"-1S", b"999999999S", b""])
def test_a_timeout_that_is_none_is_told_apart(written: bytes) -> None:
    head = fields.request_head(
        [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/b"), (b"grpc-timeout", written)]
    )
    assert not head.timeout_is_one
