"""gRPC's messages in the bytes of a stream: a flag, a length, and the message, which may be compressed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import grpc

_PREFIX_BYTES = 5
_FLAGS = {b"gzip": 31, b"deflate": 15}
"""zlib's bits for each compression that we read."""

prefix = struct.Struct(">BI").pack
"""Whether what follows is compressed, and its length."""


class BadMessage(Exception):
    """A message that cannot be read, and the status to say so."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class Packed(bytes):
    """A message that is compressed."""

    __slots__ = ()


class MessageReader:
    """Cuts the bytes of a stream into messages.

    Those that are compressed are unpacked when they are read and not when they come: a few bytes may stand for
    megabytes, and flow control counts the few.

    Args:
        limit: How many bytes a message may have, as it comes and when it is no longer compressed.
        encoding: How those are compressed that are: `identity`, `gzip` or `deflate`.

    Raises:
        BadMessage: UNIMPLEMENTED for any other encoding.
    """

    def __init__(self, *, limit: int, encoding: bytes) -> None:
        if encoding != b"identity" and encoding not in _FLAGS:
            raise BadMessage(grpc.StatusCode.UNIMPLEMENTED, "messages may be compressed by gzip or deflate")
        self._limit = limit
        self._bits = _FLAGS.get(encoding)
        self._buffer = bytearray()

    @property
    def kept(self) -> int:
        """How many bytes wait for the rest of their message."""
        return len(self._buffer)

    def forget(self) -> None:
        """Drops them."""
        self._buffer.clear()

    def read(self, data: bytes) -> Iterator[bytes]:
        """Yields the messages that are complete.

        Raises:
            BadMessage: One is too large, or compressed where no header says how.
        """
        self._buffer += data
        while len(self._buffer) >= _PREFIX_BYTES:
            flag, size = struct.unpack_from(">BI", self._buffer)
            if flag > 1 or (flag and self._bits is None):
                raise BadMessage(grpc.StatusCode.INTERNAL, "a message is compressed, and no header says how")
            if size > self._limit:
                raise self._too_large()
            end = _PREFIX_BYTES + size
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[_PREFIX_BYTES:end])
            del self._buffer[:end]
            yield Packed(message) if flag else message

    def unpacked(self, message: bytes) -> bytes:
        """A message as its sender had it.

        Raises:
            BadMessage: It is not compressed as the header says, or too large.
        """
        if not isinstance(message, Packed):
            return message
        unpacker = zlib.decompressobj(self._bits or 0)
        try:
            unpacked = unpacker.decompress(message, self._limit + 1)
        except zlib.error as error:
            raise BadMessage(grpc.StatusCode.INTERNAL, "a message is not compressed as it says") from error
        if len(unpacked) > self._limit:
            raise self._too_large()
        if not unpacker.eof or unpacker.unused_data:
            raise BadMessage(grpc.StatusCode.INTERNAL, "a compressed message is torn, or has something behind it")
        return unpacked

    def _too_large(self) -> BadMessage:
        return BadMessage(grpc.StatusCode.RESOURCE_EXHAUSTED, f"a message may have {self._limit} bytes")
