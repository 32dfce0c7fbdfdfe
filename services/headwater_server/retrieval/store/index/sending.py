"""The sending end of the pipe to the index process."""

from __future__ import annotations

import os
from collections import deque

import anyio


class Sending:
    """Writes frames whole and in order: at once what the pipe has room for, the rest as room comes.

    At once, because each turn of the event loop costs a search a twentieth of its CPU; and without waiting, so that
    a caller's cancellation never cuts a frame. The caller bounds how many frames can wait.

    Args:
        descriptor: The pipe's; closed by `close`.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._waiting: deque[memoryview] = deque()
        self._some_waiting = anyio.Event()
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether the pipe has no room now."""
        return bool(self._waiting)

    def put(self, frame: bytes) -> None:
        """Sends a frame.

        Raises:
            OSError: No one reads the pipe any more, or it is closed here.
        """
        if self._closed:
            raise BrokenPipeError("the pipe is closed")
        rest = memoryview(frame)
        if not self._waiting:
            rest = self._write(rest)
        if rest:
            self._waiting.append(rest)
            self._some_waiting.set()

    async def run(self) -> None:
        """Sends what the pipe had no room for, until cancelled or no one reads it any more."""
        while True:
            await self._some_waiting.wait()
            self._some_waiting = anyio.Event()
            while self._waiting:
                await anyio.wait_writable(self._descriptor)
                try:
                    rest = self._write(self._waiting[0])
                except OSError:
                    return  # the end of the process's output tells the same
                if rest:
                    self._waiting[0] = rest
                else:
                    self._waiting.popleft()

    def close(self) -> None:
        """Ends what the process reads. `run` must have ended."""
        if not self._closed:
            self._closed = True
            self._waiting.clear()
            os.close(self._descriptor)

    def _write(self, data: memoryview) -> memoryview:
        """Writes what there is room for; returns the rest."""
        try:
            return data[os.write(self._descriptor, data) :]
        except BlockingIOError:
            return data
