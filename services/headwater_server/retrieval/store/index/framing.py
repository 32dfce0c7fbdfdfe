"""Frames on the pipes between the store and its index process: a length of four bytes, then a pickled tuple.

Pickle, because both ends are one program on one machine, and the pipes are open to no one else.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

_LENGTH_BYTES = 4

Message = tuple[Any, ...]


def encode(message: Message) -> bytes:
    """A message as a frame."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return len(content).to_bytes(_LENGTH_BYTES, "big") + content


class Frames:
    """Takes bytes as they come and gives the messages that are whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Takes bytes; gives each message that they complete."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if len(self._buffer) < end:
                return
            content = bytes(self._buffer[_LENGTH_BYTES:end])
            del self._buffer[:end]
            message: Message = pickle.loads(content)  # noqa: S301 (our own process's, see above)
            yield message
