"""Between a socket and a connection: one write for all that a turn of the loop brings, time limits, and the tasks."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import grpc
import structlog

from headwater_server.runtime.front_http2.call import Call
from headwater_server.runtime.front_http2.connection import Connection
from headwater_server.runtime.front_http2.dispatch import Dispatcher
from headwater_server.runtime.front_http2.fields import RequestHead
from headwater_server.runtime.front_http2.frames import ConnectionBroken, ErrorCode
from headwater_server.runtime.front_http2.kept import Kept
from headwater_server.runtime.front_http2.messages import BadMessage, MessageReader

log = structlog.get_logger("headwater.server")

WRITE_AHEAD_BYTES = 256 * 1024
"""How much a connection may have ready that the system does not take yet, until its calls wait."""
MAX_UNTAKEN_BYTES = 1024 * 1024
"""How much of what flow control does not hold back, statuses and acknowledgements, a peer may leave untaken until
nothing more is read of it."""
_TURN_BYTES = 64 * 1024
"""After how much of what is to be sent in one turn of the loop the system is asked to take it."""
_LINGERING_SECONDS = 600.0
"""How long a call that has ended waits for its reader to take the rest."""
_CLOSING_SECONDS = 2.0
"""How long a peer has to take what was written before its connection closes."""


@dataclass(frozen=True)
class Limits:
    """What callers may do."""

    max_message: int = 8 * 1024 * 1024
    """How many bytes a request may have."""
    max_sent: int = 4 * 1024 * 1024
    """How many bytes a response may have."""
    max_connections: int = 10_000
    """How many connections may be open; one more is closed at once."""
    max_streams: int = 1_000
    """How many calls a connection may have under way."""
    greeting_seconds: float = 20.0
    """How long a new connection may take to greet and to note our settings, and a TLS handshake to end."""
    keepalive_seconds: float = 0.0
    """After how long a silent peer that has calls is asked whether it is there; 0: never."""
    keepalive_answer_seconds: float = 2.0
    """How long it may take to answer."""


class Everything:
    """What all connections of a server have in common: which there are, their calls, and what these keep."""

    def __init__(self) -> None:
        self.open: set[ServerTransport] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.kept = Kept()


class ServerTransport(asyncio.Protocol):
    """One connection that was accepted.

    Args:
        dispatcher: Serves its calls.
        limits: What it may do.
        everything: Where it is for as long as it is open.
    """

    def __init__(self, dispatcher: Dispatcher, limits: Limits, everything: Everything) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self._everything = everything
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._calls: dict[int, Call] = {}
        self._kept = Kept(everything.kept)
        self._deadlines: dict[int, asyncio.TimerHandle] = {}
        self._heard = 0.0
        self._asked = 0.0
        self._greeting: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watches = False
        self._closing = False
        self._holds_back = False
        self.closed: asyncio.Future[None] = self._loop.create_future()
        """Is done when the connection is no more."""

    # What the loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._transport.set_write_buffer_limits(WRITE_AHEAD_BYTES)
        security = transport.get_extra_info("ssl_object")
        crowded = len(self._everything.open) >= self._limits.max_connections
        self._everything.open.add(self)
        if crowded or (security is not None and security.selected_alpn_protocol() != "h2"):
            self._closing = True
            self._transport.abort()
            return
        self._peer = _peer(transport.get_extra_info("peername"))
        self._identities = _identities(security)
        self._connection = Connection(
            self, write=self._write, clock=self._loop.time, max_streams=self._limits.max_streams
        )
        self._greeting = self._loop.call_later(self._limits.greeting_seconds, self._expect_greeting)

    def data_received(self, data: bytes) -> None:
        """Takes what has come."""
        if self._closing:
            return
        self._heard = self._loop.time()
        try:
            self._connection.receive(data)
        except ConnectionBroken as broken:
            log.debug("connection.broken", peer=self._peer, code=broken.code.name, words=broken.words)
            self._connection.goodbye(broken.code, broken.words)
            self.close()
        else:
            self._close_if_drained()
            if self._transport.get_write_buffer_size() > MAX_UNTAKEN_BYTES and not self._closing:
                self._holds_back = True
                self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Lets all calls wait: the system takes no more for now."""
        self._connection.pause()

    def resume_writing(self) -> None:
        """Lets them go on."""
        self._connection.resume()
        if self._holds_back:
            self._holds_back = False
            self._transport.resume_reading()
        self._close_if_drained()

    def connection_lost(self, _: Exception | None) -> None:
        """Ends the calls of a connection that is gone."""
        self._closing = True
        self._everything.open.discard(self)
        self._out.clear()
        for timer in (self._greeting, self._timer):
            if timer is not None:
                timer.cancel()
        self._end_calls()
        if not self.closed.done():
            self.closed.set_result(None)

    # What the connection says

    def began(self, stream: int, head: RequestHead) -> None:
        """Makes a call of it."""
        if len(self._calls) >= 2 * self._limits.max_streams:  # calls taken back, whose handlers still tidy up
            self._connection.reset(stream, ErrorCode.REFUSED_STREAM)
            return
        try:
            call = self._call(stream, head)
        except BadMessage as error:
            call = self._call(stream, head, readable=False)
            call.finish(error.code, error.words)
            return
        if self._dispatcher.refused(call):
            return
        self._calls[stream] = call
        call.task = task = self._loop.create_task(self._dispatcher.serve(call))
        self._everything.tasks.add(task)
        task.add_done_callback(partial(self._served, stream, call))  # runs too where the task never began
        if self._limits.keepalive_seconds and self._connection.greeted and not self._watches:
            self._watches = True
            self._later(self._limits.keepalive_seconds, self._expect_word)
        if head.timeout is not None:
            self._deadlines[stream] = self._loop.call_later(head.timeout, self._expire, call)

    def received(self, stream: int, data: bytes) -> None:
        """Hands it to the call, unless all calls together keep too much."""
        call = self._calls.get(stream)
        if call is None:
            return
        call.received(data)
        if self._kept.too_much:
            call.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "more was sent at once than can be kept")

    def ended(self, stream: int) -> None:
        """Tells the call."""
        if (call := self._calls.get(stream)) is not None:
            call.ended()

    def gone(self, stream: int) -> None:
        """Ends the call."""
        if (call := self._calls.get(stream)) is not None:
            call.gone()

    # What the server says

    def drain(self) -> None:
        """Asks for no further call, and closes when the last has ended."""
        if not self._closing:
            self._connection.drain()
            self._close_if_drained()

    def drain_now(self) -> None:
        """Takes no further call, and closes when the last has ended."""
        if not self._closing:
            self._connection.drain_now()
            self._close_if_drained()

    def end_calls(self, words: str) -> None:
        """Ends the calls that are under way with UNAVAILABLE."""
        for call in list(self._calls.values()):
            call.fail(grpc.StatusCode.UNAVAILABLE, words)

    def close(self) -> None:
        """Closes when all that was written is on its way, and ends the calls."""
        if self._closing:
            return
        self._closing = True
        self._flush()
        self._end_calls()
        self._transport.close()
        self._later(_CLOSING_SECONDS, self._transport.abort)

    def _call(self, stream: int, head: RequestHead, *, readable: bool = True) -> Call:
        return Call(
            self._connection,
            stream,
            head,
            reader=MessageReader(limit=self._limits.max_message, encoding=head.encoding if readable else b"identity"),
            kept=self._kept,
            max_sent=self._limits.max_sent,
            peer=self._peer,
            identities=self._identities,
        )

    def _served(self, stream: int, call: Call, task: asyncio.Task[None]) -> None:
        self._everything.tasks.discard(task)
        call.finish(grpc.StatusCode.UNAVAILABLE, "the server has ended the call")  # where it has no status yet
        self._calls.pop(stream, None)
        if (timer := self._deadlines.pop(stream, None)) is not None:
            timer.cancel()
        if self._connection.is_open(stream):
            self._loop.call_later(_LINGERING_SECONDS, self._let_go, stream)
        self._close_if_drained()

    def _expire(self, call: Call) -> None:
        call.fail(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _let_go(self, stream: int) -> None:
        if self._connection.is_open(stream):
            self._connection.reset(stream, ErrorCode.CANCEL)

    def _end_calls(self) -> None:
        for call in list(self._calls.values()):
            call.gone()  # which takes its handler along

    def _close_if_drained(self) -> None:
        if self._connection.drained:
            self.close()

    def _expect_greeting(self) -> None:
        if not (self._connection.greeted and self._connection.acknowledged) and not self._closing:
            self._connection.goodbye(ErrorCode.SETTINGS_TIMEOUT, "no greeting")
            self.close()

    def _expect_word(self) -> None:
        """Asks a peer whether it is there, where it has calls under way and has been silent for long."""
        wait = self._limits.keepalive_seconds
        silent = self._loop.time() - self._heard
        if self._connection.idle:
            self._watches = False  # until the next call
        elif silent >= wait:
            self._asked = self._loop.time()
            self._connection.ping()
            self._later(self._limits.keepalive_answer_seconds, self._expect_answer)
        else:
            self._later(wait - silent, self._expect_word)

    def _expect_answer(self) -> None:
        if self._heard >= self._asked:  # in the same millisecond, the finest that some loops tell
            self._expect_word()
        else:
            log.info("connection.silent", peer=self._peer, seconds=round(self._loop.time() - self._heard, 1))
            self._transport.abort()

    def _later(self, seconds: float, step: Callable[[], None]) -> None:
        """Sets the timer that the connection has for what it waits for next."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, step)

    def _write(self, data: bytes) -> None:
        if self._closing:
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes >= _TURN_BYTES:  # or nobody would know in time that the system takes no more
            self._flush()

    def _flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            self._transport.write(data)


def _peer(name: Any) -> str:
    if not isinstance(name, tuple):
        return "unix:"
    host, port = name[:2]
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"


def _identities(security: ssl.SSLObject | None) -> tuple[bytes, ...]:
    """The names in the caller's certificate, which was checked in the handshake."""
    certificate: Any = security.getpeercert() if security is not None else None
    named = (value for _, value in (certificate or {}).get("subjectAltName", ()))
    return tuple(value.encode() for value in named if isinstance(value, str))  # a directory's name is none
