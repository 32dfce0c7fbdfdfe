"""Blocks of headers that are read field by field say what they say as a whole."""

from __future__ import annotations

import hpack
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.runtime.front_http2.blocks import fields_of, is_size_update

FIELDS = st.lists(
    st.tuples(st.sampled_from([b":path", b"x-a", b"x-b", b"authorization"]), st.binary(max_size=300), st.booleans()),
    max_size=20,
)


@given(FIELDS, st.booleans())
def test_each_field_on_its_own_is_what_it_is_among_others(
    fields: list[tuple[bytes, bytes, bool]], huffman: bool
) -> None:
    encoder = hpack.Encoder()
    encoder.header_table_size = 512
    block = encoder.encode(fields, huffman=huffman)
    parts = list(fields_of(block))
    assert b"".join(parts) == block
    assert len([part for part in parts if not is_size_update(part)]) == len(fields)
    decoder = hpack.Decoder()
    decoded = [pair for part in parts for pair in decoder.decode(part, raw=True)]
    assert decoded == [(name, value) for name, value, _ in fields]


@given(st.binary(max_size=200))
def test_of_whatever_comes_nothing_is_left_out(data: bytes) -> None:
    parts = list(fields_of(data))
    assert b"".join(parts) == data
    assert all(parts)
