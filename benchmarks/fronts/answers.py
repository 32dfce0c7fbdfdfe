"""The synthetic answer that every front serves: serialized AnswerChunks, paced as `benchmarks/relay/go/upstream` paces.

It is written out by hand, so that a server has nothing in it but its front.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

import google_crc32c

METHOD = "/headwater.v1.AnswerService/StreamAnswer"
Answer: TypeAlias = Callable[[bytes], AsyncGenerator[bytes, None]]
"""From a serialized request to serialized chunks."""

FIRST_SECONDS = 0.05
BETWEEN_SECONDS = 0.02

_PAIRS = [a + b for a in "0123456789abcdefghijklmnopqrstuvwxyz" for b in "0123456789abcdefghijklmnopqrstuvwxyz"]


async def paced_answer(request: bytes) -> AsyncGenerator[bytes, None]:
    """Yields what an answer of the model `paced-N` is made of.

    A token says when it was due, so that one that comes late is seen to be late; and each, late or not, waits for its
    turn in the loop, so that a front that is behind has no more to merge than one that is not.
    """
    wanted = re.search(rb"paced-(\d+)", request)
    count = int(wanted[1]) if wanted else 0
    loop = asyncio.get_running_loop()
    began, clock = loop.time() + FIRST_SECONDS, time.time() + FIRST_SECONDS
    yield _chunk(1, 2, _field(1, b"answers/paced"))
    yield _chunk(2, 3, _field(2, b""))
    text = bytearray()
    for number in range(count):
        after = BETWEEN_SECONDS * number
        await asyncio.sleep(began + after - loop.time())
        token = _token(number, clock + after)
        delta = b"\n\x10" + token + b"\x10" + _varint(len(text))
        text += token
        yield _chunk(number + 3, 4, delta)
    yield _chunk(count + 3, 15, _terminal(count + 3, bytes(text)))


def _token(number: int, sent: float) -> bytes:
    """As `token.Of` in Go: a space, five digits, and the microseconds in ten digits of base 36."""
    rest, last = divmod(round(sent * 1_000_000), 1296)
    rest, fourth = divmod(rest, 1296)
    rest, third = divmod(rest, 1296)
    first, second = divmod(rest, 1296)
    digits = f" {number:05d}{_PAIRS[first]}{_PAIRS[second]}{_PAIRS[third]}{_PAIRS[fourth]}{_PAIRS[last]}"
    return digits.encode()


def _terminal(sequence: int, text: bytes) -> bytes:
    succeeded, stop = b"\x38\x02", b"\x58\x01"
    crc: int = google_crc32c.value(text)
    last_sequence, text_crc32c = b"\x80\x01" + _varint(sequence), b"\xad\x01" + crc.to_bytes(4, "little")
    return _field(1, b"answers/paced") + succeeded + _field(8, text) + stop + last_sequence + text_crc32c


def _chunk(sequence: int, event: int, body: bytes) -> bytes:
    return b"\x08" + _varint(sequence) + _field(event, body)


def _field(number: int, body: bytes) -> bytes:
    """A field of up to number 15 that has a length."""
    return bytes((number << 3 | 2,)) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    if value < 128:
        return bytes((value,))
    encoded = bytearray()
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
