from __future__ import annotations

import json
import pickle
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.errors import Reason
from headwater_server.retrieval.model import Location, Passage
from headwater_server.retrieval.workers.import_pieces import MOST_PASSAGES, Embedded, EmbedderMissing, Refused, Split
from headwater_server.retrieval.workers.import_wire import decode, encode
from headwater_server.retrieval.workers.messages import (
    Done,
    NotUnderstood,
    OutOfMemory,
    Piece,
    Raised,
    Ready,
)
from headwater_server.retrieval.workers.messages import decode as decode_message
from headwater_server.retrieval.workers.messages import encode as encode_message
from headwater_server.retrieval.workers.sandbox import Deed, Protection

TEXTS = st.text(max_size=40)
LOCATIONS = st.none() | st.builds(
    Location,
    kind=st.sampled_from(["page", "slide", "line", "paragraph", "row", "byte"]),
    start=st.integers(0, 2**31 - 1),
    end=st.integers(0, 2**31 - 1),
    sheet=TEXTS,
)
PASSAGES = st.builds(Passage, ordinal=st.integers(0, 10**6), text=TEXTS, location=LOCATIONS, heading=TEXTS)


@given(
    st.builds(Split, title=TEXTS, media_type=TEXTS, passage_count=st.integers(1, MOST_PASSAGES))
    | st.builds(
        Refused,
        reason=st.sampled_from([Reason.DOCUMENT_UNREADABLE, Reason.DOCUMENT_UNSUPPORTED, Reason.DOCUMENT_TOO_LARGE]),
        message=TEXTS,
    )
    | st.builds(EmbedderMissing, message=TEXTS)
)
def test_a_piece_arrives_as_it_was_sent(piece: Split | Refused | EmbedderMissing) -> None:
    assert decode(encode(piece)) == piece


@given(st.lists(PASSAGES, min_size=1, max_size=5), st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_passages_arrive_with_their_vectors_to_the_bit(passages: list[Passage], dimension: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((len(passages), dimension)).astype(np.float32)
    ids = [f"{number}-x" for number in range(len(passages))]
    arrived = decode(encode(Embedded(passages, ids, vectors, "made/by")))
    assert isinstance(arrived, Embedded)
    assert (arrived.passages, arrived.passage_ids, arrived.embedder) == (passages, ids, "made/by")
    assert np.array_equal(arrived.vectors, vectors)


@pytest.mark.parametrize(
    "fields",
    [
        None,
        {},
        [],
        ["split"],
        ["split", 1, "", 1],
        ["split", "", "", 0],
        ["split", "", "", MOST_PASSAGES + 1],
        ["split", "", "", "1"],
        ["refused", "INTERNAL", ""],
        ["refused", "no such reason", ""],
        ["embedded", "e", []],
        ["embedded", "e", [["id", 0, "text", "heading", ["no such kind", 1, 1, ""]]]],
        ["embedded", "e", [["id", 0, "text", "heading", ["page", 2**31, 1, ""]]]],
        ["embedded", "e", [["id", 0, "text", "heading"]]],
        ["embedded", "e", [["id", "0", "text", "heading", None]]],
        ["no such piece"],
    ],
)
def test_what_has_no_meaning_is_not_understood(fields: object) -> None:
    with pytest.raises(NotUnderstood):
        decode(json.dumps(fields).encode() + b"\n")


@pytest.mark.parametrize("vectors", [b"\0" * 6, b"\0\0\xc0\x7f", b"\0\0\x80\x7f"])
def test_vectors_that_are_none_are_not_understood(vectors: bytes) -> None:
    passage = json.dumps(["embedded", "e", [["id", 0, "text", "", None]]]).encode()
    assert isinstance(decode(passage + b"\n" + b"\0" * 4), Embedded)
    with pytest.raises(NotUnderstood):
        decode(passage + b"\n" + vectors)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_piece_or_not_understood(data: bytes) -> None:
    for take in (decode, decode_message):
        with suppress(NotUnderstood):
            take(data)


def test_nesting_without_end_and_pickles_are_not_understood() -> None:
    for data in (b"[" * 200_000, pickle.dumps(Split("", "", 1))):
        with pytest.raises(NotUnderstood):
            decode(data)


@pytest.mark.parametrize(
    "answer",
    [
        Ready((Protection(Deed.USE_NETWORK, "seccomp"), Protection(Deed.READ_FILES, "", "no Landlock"))),
        Piece(b"\0\n\xff"),
        Done(),
        OutOfMemory(),
        Raised("KeyError", "Traceback: ä"),
    ],
)
def test_a_message_arrives_as_it_was_sent(answer: Ready | Piece | Done | OutOfMemory | Raised) -> None:
    assert decode_message(encode_message(answer)) == answer


@pytest.mark.parametrize("message", [b"", b"?", b"S", b"S1", b'S[{"deed": "dance", "by": "", "lacking": ""}]', b"R[1]"])
def test_a_message_without_meaning_is_not_understood(message: bytes) -> None:
    with pytest.raises(NotUnderstood):
        decode_message(message)
