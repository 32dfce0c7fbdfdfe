"""One HTTP/2 connection as a server sees it (RFC 9113): what comes in becomes calls, what calls say becomes frames.

It knows nothing of sockets and tasks: bytes are put in by `receive`, and taken out by `write`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import hpack

from headwater_server.runtime.front_http2.blocks import fields_of, is_size_update
from headwater_server.runtime.front_http2.budget import Budget
from headwater_server.runtime.front_http2.fields import (
    MAX_METADATA_BYTES,
    Field,
    MalformedHeaders,
    RequestHead,
    check_trailers,
    list_size,
    request_head,
)
from headwater_server.runtime.front_http2.frames import (
    MAX_FRAME_BYTES,
    ConnectionBroken,
    ErrorCode,
    Flag,
    Frame,
    FrameReader,
    Kind,
    Setting,
    StreamBroken,
    encoded,
    encoded_settings,
    settings_in,
    unpadded,
)
from headwater_server.runtime.front_http2.sending import DEFAULT_WINDOW, Outgoing, Sender

CONNECTION_WINDOW = 1024 * 1024
"""How much may be on its way to us on all streams together."""
MAX_STREAM_WINDOW = 1024 * 1024
"""To how much a stream's window grows that is read as fast as it comes: over a long way a small one is slow."""
MAX_GROWTH = 16 * 1024 * 1024
"""By how much those of all streams of a connection may have grown."""
MAX_BLOCK_BYTES = 512 * 1024
"""How large a block of headers may be, as it comes and when it is decoded. What is more than a call may have is read
all the same, so that the others go on; beyond this, the connection ends."""
MAX_FIELDS = 2_000
"""How many fields a block may have that is not small."""
_SMALL_BLOCK_BYTES = 4 * 1024
"""A block that hpack decodes at once: what it copies for each field is little."""
MAX_BLOCK_FRAMES = 80
"""In how many frames it may come."""
_LAST_STREAM = 2**31 - 1
_DRAINED = b"drained?"
_COST_OF_RESET = 2.0
_COST_OF_STREAM_IN_SETTINGS = 0.01
_COST_OF_HEADER_BYTE = 1 / 2048
"""In a block that is larger than a call's may be."""
_SIZE_UPDATES = re.compile(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*[\0-\x7f]){3}")
"""More changes of the table's size than a block may begin with (RFC 7541, section 4.2), each of which is work."""
_SMALL_BYTES = 32
"""DATA of fewer bytes costs as much as an empty frame; a message that is read pays for one."""
_EARNED_BY_DATA = 2.0
_EARNED_BY_BYTE_SENT = 1 / 1024
"""A reader widens both windows for each of its reads, and those are of 16 KiB, or of less, however large a message."""


class Calls(Protocol):
    """What a connection tells of its streams. A stream is told of from `began` to `gone`, each once."""

    def began(self, stream: int, head: RequestHead) -> None:
        """A call has begun."""
        ...

    def received(self, stream: int, data: bytes) -> None:
        """It says something; the stream's window is given back by `Connection.consumed`."""
        ...

    def ended(self, stream: int) -> None:
        """The caller has said all."""
        ...

    def gone(self, stream: int) -> None:
        """The caller wants no answer any more, or can get none."""
        ...

    def forgotten(self, stream: int) -> None:
        """The stream is no more: all was said on it, or no more will be."""
        ...


@dataclass(slots=True)
class _Stream:
    """A call that is under way; it is one no more when both sides have said all."""

    out: Outgoing
    window: int = DEFAULT_WINDOW
    """How much may still come."""
    width: int = DEFAULT_WINDOW
    """How much may be on its way at once."""
    unreturned: int = 0
    """How much of what has come was consumed, and not yet given back."""
    missing: int | None = None
    """How much is still to come, where the caller has said so (content-length)."""
    remote_ended: bool = False

    def takes(self, size: int, *, last: bool) -> bool:
        """Notes that so much has come; says whether it is what the caller has said would."""
        if self.missing is None:
            return True
        self.missing -= size
        return self.missing >= 0 and not (last and self.missing)


@dataclass(slots=True)
class _Block:
    """A block of headers of which more is to come."""

    stream: int
    ends_stream: bool
    data: bytearray
    frames: int = 1


class Connection:
    """A connection.

    Args:
        calls: Is told what happens.
        write: Takes what is to be sent.
        clock: Tells the time in seconds.
        max_streams: How many calls may be under way at once.
    """

    def __init__(
        self, calls: Calls, *, write: Callable[[bytes], None], clock: Callable[[], float], max_streams: int
    ) -> None:
        self._calls = calls
        self._write = write
        self._max_streams = max_streams
        self._budget = Budget(clock)
        self._reader = FrameReader()
        self._decoder = hpack.Decoder(max_header_list_size=MAX_BLOCK_BYTES)
        self._streams: dict[int, _Stream] = {}
        self._last = 0
        self._block: _Block | None = None
        self._window = CONNECTION_WINDOW
        self._growth = 0
        self._answered = 0
        """How much had been sent when the peer last widened a window."""
        self._asked_to_end = False
        self._draining = False
        self._takers: dict[int, Callable[[Frame], None]] = {
            Kind.DATA: self._take_data,
            Kind.HEADERS: self._take_headers,
            Kind.PRIORITY: self._take_priority,
            Kind.RST_STREAM: self._take_reset,
            Kind.SETTINGS: self._take_settings,
            Kind.PUSH_PROMISE: self._take_promise,
            Kind.PING: self._take_ping,
            Kind.GOAWAY: self._take_goaway,
            Kind.WINDOW_UPDATE: self._take_window_update,
            Kind.CONTINUATION: self._take_continuation,
        }
        self._sender = Sender(write)
        self.pause, self.resume = self._sender.pause, self._sender.resume
        self.greeted = False
        """Whether the peer has greeted, as it has to before anything else."""
        self.acknowledged = False
        """Whether it has taken note of our settings."""
        write(
            encoded_settings(
                {Setting.MAX_CONCURRENT_STREAMS: max_streams, Setting.MAX_HEADER_LIST_SIZE: MAX_METADATA_BYTES}
            )
            + encoded(Kind.WINDOW_UPDATE, (CONNECTION_WINDOW - DEFAULT_WINDOW).to_bytes(4, "big"))
        )

    @property
    def idle(self) -> bool:
        """Whether no call is under way."""
        return not self._streams

    def is_open(self, stream: int) -> bool:
        """Whether a call is under way, or its end has not been sent yet."""
        return stream in self._streams

    @property
    def drained(self) -> bool:
        """Whether the last call has ended, and no other will come."""
        return self._draining and not self._streams

    def receive(self, data: bytes) -> None:
        """Takes what has come.

        Raises:
            ConnectionBroken: The peer breaks a rule; `goodbye` is the last that it is to hear.
        """
        for frame in self._reader.read(data):
            try:
                self._take(frame)
            except StreamBroken as broken:
                self._budget.spend(_COST_OF_RESET)
                self.reset(broken.stream, broken.code)

    def goodbye(self, code: ErrorCode, words: str = "") -> None:
        """Says that the connection ends, and why."""
        self._write(encoded(Kind.GOAWAY, struct.pack(">II", self._last, code) + words.encode()))

    def drain(self) -> None:
        """Says that no further call is wanted; those that are under way, or on their way, are served."""
        if self._asked_to_end:
            return
        self._asked_to_end = True
        self._write(encoded(Kind.GOAWAY, struct.pack(">II", _LAST_STREAM, ErrorCode.NO_ERROR)))
        self.ping(_DRAINED)  # when its answer comes, so has each call that was made before the peer knew

    def drain_now(self) -> None:
        """Takes no further call."""
        if not self._draining:
            self._asked_to_end = self._draining = True
            self.goodbye(ErrorCode.NO_ERROR)

    def abandon(self) -> None:
        """Drops all streams, and what waits to be sent on them: nobody is there to take it."""
        for stream in list(self._streams):
            self._forget(stream)

    def ping(self, data: bytes = bytes(8)) -> None:
        """Asks whether the peer is there."""
        self._write(encoded(Kind.PING, data))

    # What calls say

    def outgoing(self, stream: int) -> Outgoing:
        """What an open stream has to send."""
        return self._streams[stream].out

    def send_headers(self, stream: int, block: bytes) -> None:
        """Sends headers; nothing where the stream is no more."""
        if stream in self._streams:
            self._write_block(stream, block, Flag.NONE)

    def send_data(self, out: Outgoing, data: bytes) -> None:
        """Sends a message, or keeps it until there is room; see `Outgoing.relieved`."""
        self._budget.earn(_EARNED_BY_DATA)
        self._sender.send(out, data)

    def send_end(self, stream: int, block: bytes) -> None:
        """Sends trailers, once all that waits has been sent; nothing where the stream is no more."""
        if (state := self._streams.get(stream)) is not None:
            self._sender.after(state.out, partial(self._end, stream, block))

    def _end(self, stream: int, block: bytes) -> None:
        self._write_block(stream, block, Flag.END_STREAM)
        if not self._streams[stream].remote_ended:
            self._write(encoded(Kind.RST_STREAM, ErrorCode.NO_ERROR.to_bytes(4, "big"), stream=stream))
        self._forget(stream)

    def _write_block(self, stream: int, block: bytes, flags: int) -> None:
        first, rest = block[:MAX_FRAME_BYTES], block[MAX_FRAME_BYTES:]
        self._write(encoded(Kind.HEADERS, first, flags=flags | (0 if rest else Flag.END_HEADERS), stream=stream))
        while rest:
            part, rest = rest[:MAX_FRAME_BYTES], rest[MAX_FRAME_BYTES:]
            self._write(encoded(Kind.CONTINUATION, part, flags=0 if rest else Flag.END_HEADERS, stream=stream))

    def reset(self, stream: int, code: ErrorCode) -> None:
        """Ends a stream without an answer."""
        self._write(encoded(Kind.RST_STREAM, code.to_bytes(4, "big"), stream=stream))
        if stream in self._streams:
            self._forget(stream)
            self._calls.gone(stream)

    def read(self) -> None:
        """Notes that a message was read."""
        self._budget.earn(1)

    def consumed(self, stream: int, size: int) -> None:
        """Lets the caller send so much more."""
        state = self._streams.get(stream)
        if state is None or state.remote_ended:
            return
        state.unreturned += size
        if state.unreturned < state.width // 2:
            return
        growth = min(state.width, MAX_STREAM_WINDOW - state.width, MAX_GROWTH - self._growth)
        more, state.unreturned = state.unreturned + growth, 0
        state.window += more
        state.width += growth
        self._growth += growth
        self._write(encoded(Kind.WINDOW_UPDATE, more.to_bytes(4, "big"), stream=stream))

    # What the peer says

    def _take(self, frame: Frame) -> None:
        if self._block is not None and (frame.kind != Kind.CONTINUATION or frame.stream != self._block.stream):
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "a frame within a block of headers")
        if not self.greeted and (frame.kind != Kind.SETTINGS or frame.flags & Flag.ACK):
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "a greeting without SETTINGS")
        take = self._takers.get(frame.kind)
        if take is None:
            self._budget.spend(1)  # of a kind that nobody knows: to be ignored
        else:
            take(frame)

    def _take_data(self, frame: Frame) -> None:
        self._require_begun(frame)
        data, size = unpadded(frame), len(frame.payload)
        self._take_of_window(size)
        ends = bool(frame.flags & Flag.END_STREAM)
        if len(data) < _SMALL_BYTES and not ends:
            self._budget.spend(1)
        state = self._streams.get(frame.stream)
        if state is None:
            self._budget.spend(1)  # it was on its way when we ended the stream
            return
        if state.remote_ended:
            raise StreamBroken(frame.stream, ErrorCode.STREAM_CLOSED)
        state.window -= size
        if state.window < 0:
            raise StreamBroken(frame.stream, ErrorCode.FLOW_CONTROL_ERROR)
        if not state.takes(len(data), last=ends):
            raise StreamBroken(frame.stream, ErrorCode.PROTOCOL_ERROR)
        state.remote_ended = ends
        self.consumed(frame.stream, size - len(data))
        if data:
            self._calls.received(frame.stream, data)
        if ends and frame.stream in self._streams:
            self._calls.ended(frame.stream)

    def _take_of_window(self, size: int) -> None:
        self._window -= size
        if self._window < 0:
            raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, "more than the connection's window")
        if self._window < CONNECTION_WINDOW // 2:
            self._write(encoded(Kind.WINDOW_UPDATE, (CONNECTION_WINDOW - self._window).to_bytes(4, "big")))
            self._window = CONNECTION_WINDOW

    def _take_headers(self, frame: Frame) -> None:
        if not frame.stream % 2:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that is no client's")
        payload = unpadded(frame)
        if frame.flags & Flag.PRIORITY:
            if len(payload) < 5:
                raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without the priority that they have")
            payload = payload[5:]
        self._block = _Block(frame.stream, bool(frame.flags & Flag.END_STREAM), bytearray(payload))
        if frame.flags & Flag.END_HEADERS:
            self._end_block(self._block)

    def _take_continuation(self, frame: Frame) -> None:
        block = self._block
        if block is None:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        block.data += frame.payload
        block.frames += 1
        if len(block.data) > MAX_BLOCK_BYTES or block.frames > MAX_BLOCK_FRAMES:
            raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM, "headers without an end")
        if frame.flags & Flag.END_HEADERS:
            self._end_block(block)

    def _end_block(self, block: _Block) -> None:
        self._block = None
        fields = self._decoded(bytes(block.data))
        if block.stream > self._last:
            self._begin(block, fields)
        else:
            self._take_trailers(block, fields)

    def _decoded(self, data: bytes) -> list[Field]:
        """The fields of a block, which is paid for here, whatever becomes of it."""
        if _SIZE_UPDATES.match(data):
            raise ConnectionBroken(ErrorCode.COMPRESSION_ERROR, "a table that changes its size without end")
        try:
            fields = self._decoded_at_once(data) if len(data) <= _SMALL_BLOCK_BYTES else self._decoded_by_field(data)
        except hpack.OversizedHeaderListError as error:
            raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM, "headers that are far too large") from error
        except hpack.HPACKError as error:
            raise ConnectionBroken(ErrorCode.COMPRESSION_ERROR, "headers that cannot be decoded") from error
        size = max(list_size(fields), len(data))
        if size > MAX_METADATA_BYTES:
            self._budget.spend(_COST_OF_HEADER_BYTE * size)
        return fields

    def _decoded_at_once(self, data: bytes) -> list[Field]:
        return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(data, raw=True)]

    def _decoded_by_field(self, data: bytes) -> list[Field]:
        fields: list[Field] = []
        size = 0
        for part in fields_of(data):
            if fields and is_size_update(part):
                raise hpack.HPACKDecodingError("the table changes its size within a block")
            decoded = self._decoded_at_once(part)
            fields += decoded
            size += list_size(decoded)
            if size > MAX_BLOCK_BYTES or len(fields) > MAX_FIELDS:
                raise hpack.OversizedHeaderListError
        return fields

    def _take_trailers(self, block: _Block, fields: list[Field]) -> None:
        self._budget.spend(1)
        state = self._streams.get(block.stream)
        if state is None and block.ends_stream:
            return  # they were on their way when we ended the stream
        if state is None or state.remote_ended:
            raise StreamBroken(block.stream, ErrorCode.STREAM_CLOSED)
        if state.missing or not block.ends_stream:
            raise StreamBroken(block.stream, ErrorCode.PROTOCOL_ERROR)
        try:
            check_trailers(fields)
        except MalformedHeaders as error:
            raise StreamBroken(block.stream, ErrorCode.PROTOCOL_ERROR) from error
        state.remote_ended = True
        self._calls.ended(block.stream)

    def _begin(self, block: _Block, fields: list[Field]) -> None:
        if self._draining:
            self._budget.spend(1)
            return  # the peer knows that it is not served, and may try elsewhere
        self._last = block.stream
        if len(self._streams) >= self._max_streams:
            raise StreamBroken(block.stream, ErrorCode.REFUSED_STREAM)
        try:
            head = request_head(fields)
        except MalformedHeaders as error:
            raise StreamBroken(block.stream, ErrorCode.PROTOCOL_ERROR) from error
        if head.length and block.ends_stream:
            raise StreamBroken(block.stream, ErrorCode.PROTOCOL_ERROR)
        self._streams[block.stream] = _Stream(
            self._sender.open(block.stream), missing=head.length, remote_ended=block.ends_stream
        )
        self._calls.began(block.stream, head)
        if block.ends_stream and block.stream in self._streams:
            self._calls.ended(block.stream)

    def _take_window_update(self, frame: Frame) -> None:
        self._budget.earn(_EARNED_BY_BYTE_SENT * (self._sender.sent - self._answered))
        self._answered = self._sender.sent
        self._budget.spend(1)
        _require(frame, size=4)
        self._require_begun(frame, or_connection=True)
        self._sender.widen(frame.stream, int.from_bytes(frame.payload, "big") & 0x7FFFFFFF)

    def _take_reset(self, frame: Frame) -> None:
        self._budget.spend(_COST_OF_RESET)
        _require(frame, size=4)
        self._require_begun(frame)
        if frame.stream in self._streams:
            self._forget(frame.stream)
            self._calls.gone(frame.stream)

    def _take_settings(self, frame: Frame) -> None:
        self._budget.spend(1)
        if frame.stream:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if frame.flags & Flag.ACK:
            _require(frame, size=0)
            self.acknowledged = True
            return
        self.greeted = True
        for setting, value in settings_in(frame.payload).items():
            if setting == Setting.INITIAL_WINDOW_SIZE:
                self._budget.spend(_COST_OF_STREAM_IN_SETTINGS * len(self._streams))
                self._sender.begin_with(value)
            elif setting == Setting.MAX_FRAME_SIZE and not MAX_FRAME_BYTES <= value < 2**24:
                raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"frames of {value} bytes")
            elif setting == Setting.ENABLE_PUSH and value > 1:
                raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"push set to {value}")
        self._write(encoded(Kind.SETTINGS, flags=Flag.ACK))

    def _take_ping(self, frame: Frame) -> None:
        self._budget.spend(1)
        _require(frame, size=8)
        if frame.stream:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if not frame.flags & Flag.ACK:
            self._write(encoded(Kind.PING, frame.payload, flags=Flag.ACK))
        elif frame.payload == _DRAINED:
            self.drain_now()

    def _take_priority(self, frame: Frame) -> None:
        self._budget.spend(1)
        _require(frame, size=5)
        if not frame.stream:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "PRIORITY of no stream")

    def _take_goaway(self, frame: Frame) -> None:
        self._budget.spend(1)
        if frame.stream or len(frame.payload) < 8:
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "a GOAWAY that is none")

    def _take_promise(self, _: Frame) -> None:
        raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE of a client")

    def _require_begun(self, frame: Frame, *, or_connection: bool = False) -> None:
        if frame.stream == 0 and or_connection:
            return
        if not frame.stream % 2 or (frame.stream > self._last and not self._draining):  # even ones are never begun
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"a frame on stream {frame.stream}, which has not begun")

    def _forget(self, stream: int) -> None:
        self._growth -= self._streams.pop(stream).width - DEFAULT_WINDOW
        self._sender.close(stream)
        self._calls.forgotten(stream)


def _require(frame: Frame, *, size: int) -> None:
    if len(frame.payload) != size:
        raise ConnectionBroken(
            ErrorCode.FRAME_SIZE_ERROR, f"a frame of kind {frame.kind} of {len(frame.payload)} bytes"
        )
