"""The format of an answer's file: a header, then frames that show by themselves whether they are whole.

    file    MAGIC, frame, frame …
    frame   length of the event, CRC-32C of all else in the frame, epoch, sequence (each 32 bits, little-endian), event

A process that dies in the middle of a write leaves a torn frame at the end; what a disk has damaged shows as a CRC that
does not match. Reading ends before either.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c

from headwater_server.orchestrator.answer_log.protocol import Entry

MAGIC = b"HWALOG\x00\x01"
"""The first bytes of a file; the last of them is the version of the format."""

MAX_EVENT = 4 * 1024 * 1024
"""No event is longer: it is the bound of a message."""

_HEADER = struct.Struct("<IIII")
_SUMMED = struct.Struct("<III")
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it stands in a file."""

    entry: Entry
    epoch: int
    """Of the owner who wrote it."""
    end: int
    """Where the next begins, in bytes from the start of the file."""


def encode(entry: Entry, *, epoch: int) -> bytes:
    """The frame of an event.

    Raises:
        ValueError: The event is empty or too long.
    """
    return framed(entry.event, sequence=entry.sequence, epoch=epoch)


def framed(event: bytes, *, sequence: int, epoch: int) -> bytes:
    """The frame of an event, without an `Entry` made for it.

    Raises:
        ValueError: The event is empty or too long.
    """
    length = len(event)
    if not 0 < length <= MAX_EVENT:
        raise ValueError(f"an event has {length} bytes; it must have 1 to {MAX_EVENT}")
    return _HEADER.pack(length, _checksum(length, epoch, sequence, event), epoch, sequence) + event


def decode(data: bytes, *, start: int, sequence: int) -> Iterator[Frame]:
    """The frames in a part of a file, up to the first that is torn, damaged or out of order.

    Args:
        data: The part, which begins with a frame.
        start: Where it begins in the file, in bytes.
        sequence: The sequence of its first frame.
    """
    view = memoryview(data)
    position = 0
    epoch = 0
    while position + HEADER_BYTES <= len(view):
        length, crc, of_epoch, of_sequence = _HEADER.unpack_from(view, position)
        end = position + HEADER_BYTES + length
        if not 0 < length <= MAX_EVENT or end > len(view) or of_sequence != sequence or of_epoch < epoch:
            return
        event = bytes(view[position + HEADER_BYTES : end])
        if _checksum(length, of_epoch, of_sequence, event) != crc:
            return
        yield Frame(Entry(sequence, event), of_epoch, start + end)
        position, epoch, sequence = end, of_epoch, sequence + 1


def _checksum(length: int, epoch: int, sequence: int, event: bytes) -> int:
    checksum: int = google_crc32c.extend(google_crc32c.value(_SUMMED.pack(length, epoch, sequence)), event)
    return checksum
