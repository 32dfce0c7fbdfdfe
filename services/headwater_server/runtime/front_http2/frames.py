"""HTTP/2 frames (RFC 9113, section 4), in and out; knows nothing of sockets."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME_BYTES = 16_384
"""How much a frame may carry: what every peer takes, and all that we take."""

_HEAD = struct.Struct(">HBBBI")
_HEAD_BYTES = 9
_NO_STREAM = 0


class Kind(IntEnum):
    """The kinds of frames."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9


class Flag:
    """Their flags, as plain numbers: an enumeration's are slow to combine. ACK is what END_STREAM is elsewhere."""

    NONE = 0
    ACK = 0x1
    END_STREAM = 0x1
    END_HEADERS = 0x4
    PADDED = 0x8
    PRIORITY = 0x20


class Setting(IntEnum):
    """What a peer may set."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (RFC 9113, section 7); those that we give."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB


class ConnectionBroken(Exception):
    """The peer breaks a rule, so that nothing more on this connection can be trusted."""

    def __init__(self, code: ErrorCode, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class StreamBroken(Exception):
    """The peer breaks a rule on one stream; the others go on."""

    def __init__(self, stream: int, code: ErrorCode) -> None:
        super().__init__(f"stream {stream}: {code.name}")
        self.stream = stream
        self.code = code


class Frame(NamedTuple):
    """A frame as it came; its kind and flags may be ones that nobody knows."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def encoded(kind: Kind, payload: bytes = b"", *, flags: int = 0, stream: int = _NO_STREAM) -> bytes:
    """A frame in bytes."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def encoded_settings(settings: dict[Setting, int]) -> bytes:
    """A SETTINGS frame in bytes."""
    return encoded(Kind.SETTINGS, b"".join(struct.pack(">HI", *item) for item in settings.items()))


def settings_in(payload: bytes) -> Mapping[int, int]:
    """What a SETTINGS frame says; of a setting that it has twice, the last, which is what counts.

    Raises:
        ConnectionBroken: It has a length that none has.
    """
    if len(payload) % 6:
        raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of an odd length")
    return dict(struct.iter_unpack(">HI", payload))


def unpadded(frame: Frame) -> bytes:
    """What a DATA or HEADERS frame carries, without its padding.

    Raises:
        ConnectionBroken: There is more padding than frame.
    """
    if not frame.flags & Flag.PADDED:
        return frame.payload
    if not frame.payload or frame.payload[0] >= len(frame.payload):
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
    return frame.payload[1 : len(frame.payload) - frame.payload[0]]


class FrameReader:
    """Cuts what comes into frames, after the preface; keeps no more than one frame that is not complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.greeted = False
        """Whether the preface has come."""

    def read(self, data: bytes) -> Iterator[Frame]:
        """Yields the frames that are complete.

        Raises:
            ConnectionBroken: The preface is none, or a frame is larger than we take.
        """
        buffer = self._buffer
        buffer += data
        if not self.greeted and not self._greet():
            return
        position = 0
        try:
            while len(buffer) - position >= _HEAD_BYTES:
                high, low, kind, flags, stream = _HEAD.unpack_from(buffer, position)
                size = high << 8 | low
                if size > MAX_FRAME_BYTES:
                    raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
                begin, end = position + _HEAD_BYTES, position + _HEAD_BYTES + size
                if len(buffer) < end:
                    return
                position = end
                yield Frame(kind, flags, stream & 0x7FFFFFFF, bytes(buffer[begin:end]))
        finally:
            del buffer[:position]

    def _greet(self) -> bool:
        known = len(PREFACE)
        if self._buffer[:known] != PREFACE[: len(self._buffer)]:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 preface")
        if len(self._buffer) < known:
            return False
        del self._buffer[:known]
        self.greeted = True
        return True
