"""What goes out on the streams of a connection, as far as flow control lets it (RFC 9113, section 5.2).

What has no room waits with its stream, a little of it without holding up who says it, as in gRPC's core: a status, or
a word of health, then never waits for a reader who takes nothing. Streams take turns, a frame each.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from headwater_server.runtime.front_http2.frames import (
    MAX_FRAME_BYTES,
    ConnectionBroken,
    ErrorCode,
    Kind,
    StreamBroken,
    encoded,
)

DEFAULT_WINDOW = 65_535
WRITE_AHEAD_BYTES = 32 * 1024
"""How much of a stream may wait before those who write to it wait too."""
_MOST = 2**31 - 1


class Outgoing:
    """What one stream has to send."""

    __slots__ = ("at_end", "relief", "stream", "waiting", "window")

    def __init__(self, stream: int, window: int) -> None:
        self.stream = stream
        self.window = window
        """How much the peer takes of it; less than nothing where the peer has narrowed it."""
        self.waiting = bytearray()
        self.at_end: Callable[[], None] | None = None
        """What to do when nothing waits any more."""
        self.relief: asyncio.Future[None] | None = None
        """Is done when less waits."""

    async def relieved(self) -> None:
        """Returns when little enough waits."""
        while len(self.waiting) > WRITE_AHEAD_BYTES:
            if self.relief is None or self.relief.done():
                self.relief = asyncio.get_running_loop().create_future()
            await self.relief

    def relieve(self) -> None:
        """Wakes who waits."""
        if self.relief is not None and not self.relief.done():
            self.relief.set_result(None)


class Sender:
    """Sends the data of all streams of a connection.

    Args:
        write: Takes frames.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.window = DEFAULT_WINDOW
        """How much the peer takes on all streams together."""
        self.sent = 0
        """How much was sent."""
        self._write = write
        self._streams: dict[int, Outgoing] = {}
        self._ready: OrderedDict[int, Outgoing] = OrderedDict()
        """The streams that have something to send, and a window of their own to send it."""
        self._initial = DEFAULT_WINDOW
        self._paused = False

    def open(self, stream: int) -> Outgoing:
        """Begins a stream."""
        self._streams[stream] = out = Outgoing(stream, self._initial)
        return out

    def close(self, stream: int) -> None:
        """Ends it; what waits is dropped."""
        if (out := self._streams.pop(stream, None)) is not None:
            self._ready.pop(stream, None)
            out.waiting.clear()
            out.at_end = None
            out.relieve()

    def send(self, out: Outgoing, data: bytes) -> None:
        """Sends data, or keeps it until there is room; see `Outgoing.relieved`."""
        size = len(data)
        if size > MAX_FRAME_BYTES or size > out.window or size > self.window or out.waiting or self._paused:
            out.waiting += data
            self._queue(out)
            self._flush()
            return
        self._count(out, size)
        self._write(encoded(Kind.DATA, data, stream=out.stream))

    def after(self, out: Outgoing, step: Callable[[], None]) -> None:
        """Takes a step when all that waits has been sent; it is dropped where the stream ends before."""
        if out.waiting:
            out.at_end = step
        else:
            step()

    def pause(self) -> None:
        """Sends nothing more for now."""
        self._paused = True

    def resume(self) -> None:
        """Sends on."""
        self._paused = False
        self._flush()

    def widen(self, stream: int, more: int) -> None:
        """Takes a WINDOW_UPDATE; one of a stream that is closed is void.

        Raises:
            ConnectionBroken: The connection's window is opened by nothing, or beyond all bounds.
            StreamBroken: The same of a stream's.
        """
        if stream == 0:
            self.window += more
            if not more or self.window > _MOST:
                code = ErrorCode.FLOW_CONTROL_ERROR if more else ErrorCode.PROTOCOL_ERROR
                raise ConnectionBroken(code, f"a window opened by {more}")
        elif (out := self._streams.get(stream)) is not None:
            out.window += more
            if not more or out.window > _MOST:
                raise StreamBroken(stream, ErrorCode.FLOW_CONTROL_ERROR if more else ErrorCode.PROTOCOL_ERROR)
            self._queue(out)
        self._flush()

    def begin_with(self, initial: int) -> None:
        """Takes the peer's initial window, for streams that are open too.

        Raises:
            ConnectionBroken: A window would be too large.
        """
        difference, self._initial = initial - self._initial, initial
        for out in self._streams.values():
            out.window += difference
            if out.window > 0:
                self._queue(out)
            else:
                self._ready.pop(out.stream, None)
        if initial > _MOST or any(out.window > _MOST for out in self._streams.values()):
            raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, f"an initial window of {initial}")
        self._flush()

    def _count(self, out: Outgoing, size: int) -> None:
        out.window -= size
        self.window -= size
        self.sent += size

    def _queue(self, out: Outgoing) -> None:
        """Has a stream wait for its turn, where it has something to send and may."""
        if out.waiting and out.window > 0:
            self._ready[out.stream] = out

    def _flush(self) -> None:
        while self._ready and self.window > 0 and not self._paused:
            stream, out = self._ready.popitem(last=False)
            size = min(len(out.waiting), out.window, self.window, MAX_FRAME_BYTES)
            part = bytes(out.waiting[:size])
            del out.waiting[:size]
            self._count(out, size)
            self._write(encoded(Kind.DATA, part, stream=stream))
            self._queue(out)
            if len(out.waiting) <= WRITE_AHEAD_BYTES:
                out.relieve()
            if not out.waiting and out.at_end is not None:
                step, out.at_end = out.at_end, None
                step()
