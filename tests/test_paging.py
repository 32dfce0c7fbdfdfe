from __future__ import annotations

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.errors import InvalidRequest
from headwater_server.paging import MAX_PAGE_BYTES, PageTokens, page_of


@given(sizes=st.lists(st.integers(0, MAX_PAGE_BYTES), max_size=8), limit=st.integers(1, 6))
def test_pages_are_bounded_in_number_and_bytes_and_never_empty(sizes: list[int], limit: int) -> None:
    messages = [StringValue(value="x" * size) for size in sizes]
    page, more = page_of(messages, limit=limit)
    assert page == messages[: len(page)]
    assert more == (len(page) < len(messages))
    assert len(page) <= limit
    assert page or not messages
    assert len(page) <= 1 or sum(message.ByteSize() for message in page) <= MAX_PAGE_BYTES


@given(last=st.text(), scope=st.lists(st.text(), max_size=3), other=st.lists(st.text(), max_size=3), key=st.binary())
def test_a_token_is_good_for_its_own_list_alone(last: str, scope: list[str], other: list[str], key: bytes) -> None:
    tokens = PageTokens(key)
    token = tokens.make(*scope, last=last)
    assert tokens.read(token, *scope) == last
    if other != scope:
        with pytest.raises(InvalidRequest):
            tokens.read(token, *other)


@given(token=st.text(min_size=1))
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest):
        PageTokens().read(token, "list")
