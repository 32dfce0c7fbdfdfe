"""Between a socket and a connection: one write for all that a turn of the loop brings, time limits, and the tasks."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from enum import Enum
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
from headwater_server.runtime.front_http2.limits import Limits
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
_PARTING_SECONDS = 3.0
"""How long a peer that is served no more, and has been handed all, may be silent before its connection closes."""
_LOOKING_SECONDS = 1.0
"""How often it is looked whether it has."""


class State(Enum):
    """What has become of a connection; it goes from one to a later one."""

    OPENING = "opening"
    """It was accepted, and is in its handshake where it has one."""
    OPEN = "open"
    """It has calls, or may have some; where it drains, those that it has."""
    PARTING = "parting"
    """It has had its last call. What comes is read all the same: a socket that is closed over it answers with a reset,
    which takes from the peer what it has not read yet."""
    CLOSING = "closing"
    """Nothing more is read, or said."""
    CLOSED = "closed"
    """It is no more."""


class Everything:
    """What all connections of a server have in common: which there are, their calls, and what these keep."""

    def __init__(self) -> None:
        self.accepted: set[ServerTransport] = set()
        """All of them."""
        self.open: set[ServerTransport] = set()
        """Those that are no longer in their handshake."""
        self.tasks: set[asyncio.Task[None]] = set()
        self.kept = Kept()
        self.stopping = False
        """Whether no further connection is served."""

    def make_room(self, last: ServerTransport) -> bool:
        """Ends a call where too much is kept; says whether there was one.

        It is the largest of whoever has most kept, so that nobody pays for what others hold.

        Args:
            last: Who has sent last; if all together keep no more than they may, it is this one that does.
        """
        holder = max(self.open, key=lambda one: one.kept.total) if self.kept.too_much else last
        return holder.end_largest()


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
        self._deadlines: dict[int, asyncio.TimerHandle] = {}
        self._lingering: dict[int, asyncio.TimerHandle] = {}
        self._heard = 0.0
        self._asked = 0.0
        self._untaken = 0.0
        self._greeting: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watches = False
        self._state = State.OPENING
        self._holds_back = False
        self._ready: list[tuple[int, Call]] = []
        self.kept = Kept(everything.kept)
        """What its callers have sent, and nobody has read yet."""
        self.closed: asyncio.Future[None] = self._loop.create_future()
        """Is done when the connection is no more."""
        everything.accepted.add(self)

    @property
    def made(self) -> bool:
        """Whether it has got through its handshake."""
        return self._state is not State.OPENING

    @property
    def delivers(self) -> bool:
        """Whether a reader may still take what calls have said that have ended."""
        if self._state is State.OPEN:
            return bool(self._lingering) or self._transport.get_write_buffer_size() > 0
        return self._state is State.PARTING

    # What the loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._transport.set_write_buffer_limits(WRITE_AHEAD_BYTES)
        security = transport.get_extra_info("ssl_object")
        self._everything.open.add(self)
        if self._everything.stopping or (security is not None and security.selected_alpn_protocol() != "h2"):
            self._state = State.CLOSING
            self._transport.abort()
            return
        self._state = State.OPEN
        self._peer = _peer(transport.get_extra_info("peername"))
        self._identities = _identities(security)
        self._connection = Connection(
            self, write=self._write, clock=self._loop.time, max_streams=self._limits.max_streams
        )
        self._greeting = self._loop.call_later(self._limits.greeting_seconds, self._expect_greeting)

    def data_received(self, data: bytes) -> None:
        """Takes what has come."""
        if self._is_shut:
            return
        self._heard = self._loop.time()
        try:
            self._connection.receive(data)
        except ConnectionBroken as broken:
            self._ready.clear()
            log.debug("connection.broken", peer=self._peer, code=broken.code.name, words=broken.words)
            self._connection.goodbye(broken.code, broken.words)
            self.close()
        else:
            self._serve_ready()
            self._part_if_drained()
            if self._transport.get_write_buffer_size() > MAX_UNTAKEN_BYTES:
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
        self._part_if_drained()

    def connection_lost(self, _: Exception | None = None) -> None:
        """Ends the calls of a connection that is gone, or has never got through its handshake."""
        served = self._state in {State.OPEN, State.PARTING}
        self._state = State.CLOSED
        self._everything.accepted.discard(self)
        self._everything.open.discard(self)
        self._out.clear()
        for timer in (self._greeting, self._timer):
            if timer is not None:
                timer.cancel()
        if served:
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
        if self._dispatcher.takes_one_message(call):
            call.add_done_callback(partial(self._over, stream))
        else:
            self._serve(stream, call)
        if self._limits.keepalive_seconds and self._connection.greeted and not self._watches:
            self._watches = True
            self._later(self._limits.keepalive_seconds, self._expect_word)
        if head.timeout is not None:
            self._deadlines[stream] = self._loop.call_later(head.timeout, self._expire, call)

    def received(self, stream: int, data: bytes) -> None:
        """Hands it to the call; where too much is kept then, ends the calls that keep most of it."""
        call = self._calls.get(stream)
        if call is None:
            return
        call.received(data)
        self._note_if_ready(stream, call)
        while self.kept.too_much and self._everything.make_room(self):
            pass

    def ended(self, stream: int) -> None:
        """Tells the call."""
        if (call := self._calls.get(stream)) is not None:
            call.ended()
            self._note_if_ready(stream, call)

    def gone(self, stream: int) -> None:
        """Ends the call."""
        if (call := self._calls.get(stream)) is not None:
            call.gone()

    def forgotten(self, stream: int) -> None:
        """Waits no longer for its reader."""
        if (timer := self._lingering.pop(stream, None)) is not None:
            timer.cancel()

    # What the server says

    def drain(self) -> None:
        """Asks for no further call, and parts from the peer when the last has ended."""
        if not self._is_shut:
            self._connection.drain()
            self._part_if_drained()

    def drain_now(self) -> None:
        """Takes no further call, and parts from the peer when the last has ended."""
        if not self._is_shut:
            self._connection.drain_now()
            self._part_if_drained()

    def end_largest(self) -> bool:
        """Ends the call that keeps most of what was sent; says whether there was one."""
        largest = max(self._calls.values(), key=lambda call: call.kept, default=None)
        if largest is None or not largest.kept:
            return False
        largest.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "more was sent at once than can be kept")
        return True

    def end_calls(self, words: str) -> None:
        """Ends the calls that are under way with UNAVAILABLE."""
        for call in list(self._calls.values()):
            call.fail(grpc.StatusCode.UNAVAILABLE, words)

    def close(self) -> None:
        """Closes when all that was written is on its way, and ends the calls."""
        if self._is_shut:
            return
        self._state = State.CLOSING
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
            kept=self.kept,
            max_sent=self._limits.max_sent,
            peer=self._peer,
            identities=self._identities,
        )

    def _note_if_ready(self, stream: int, call: Call) -> None:
        if call.task is None and call.has_come:
            self._ready.append((stream, call))

    def _serve_ready(self) -> None:
        """Begins to serve calls that take one message, which has come; or turns them away.

        That is when all is read that came with it: a call whose end is there too needs no reset.
        """
        turned_away = False
        for stream, call in self._ready:
            if call.task is not None or call.over:
                continue
            if self._dispatcher.turned_away(call):
                turned_away = True
            else:
                self._serve(stream, call)
        self._ready.clear()
        if turned_away:  # they are not to wait for what else this turn of the loop brings
            self._flush()

    def _serve(self, stream: int, call: Call) -> None:
        call.task = task = self._loop.create_task(self._dispatcher.serve(call))
        self._everything.tasks.add(task)
        task.add_done_callback(self._everything.tasks.discard)
        task.add_done_callback(lambda _: self._served(stream, call))  # runs too where the task never began

    def _over(self, stream: int, call: Call) -> None:
        if call.task is None:
            self._loop.call_soon(self._served, stream, call)  # when its status is on its way

    def _served(self, stream: int, call: Call) -> None:
        call.finish(grpc.StatusCode.UNAVAILABLE, "the server has ended the call")  # where it has no status yet
        self._calls.pop(stream, None)
        if (timer := self._deadlines.pop(stream, None)) is not None:
            timer.cancel()
        if self._connection.is_open(stream):
            self._lingering[stream] = self._loop.call_later(_LINGERING_SECONDS, self._let_go, stream)
        self._part_if_drained()

    def _expire(self, call: Call) -> None:
        call.fail(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _let_go(self, stream: int) -> None:
        self._connection.reset(stream, ErrorCode.CANCEL)

    def _end_calls(self) -> None:
        for call in list(self._calls.values()):
            call.gone()  # which takes its handler along
        self._connection.abandon()  # also what those have left that have ended

    @property
    def _is_shut(self) -> bool:
        return self._state is State.CLOSING or self._state is State.CLOSED

    def _part_if_drained(self) -> None:
        if self._state is State.OPEN and self._connection.drained:
            self._state = State.PARTING
            self._flush()
            self._expect_parting()

    def _expect_parting(self) -> None:
        """Closes, unless the peer still takes what was written, or says something; then it looks again."""
        now = self._loop.time()
        if self._transport.get_write_buffer_size():
            self._untaken = now
        left = max(self._heard, self._untaken) + _PARTING_SECONDS - now
        if left <= 0:
            self.close()
        else:
            self._later(min(left, _LOOKING_SECONDS), self._expect_parting)

    def _expect_greeting(self) -> None:
        if not (self._connection.greeted and self._connection.acknowledged) and not self._is_shut:
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
        if self._is_shut:
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
