"""Takes the connections that come to a socket, so many at most; those in their TLS handshake count too.

The loop's own servers would take any number of those: they tell of a connection only when its handshake is over.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog

from headwater_server.runtime.front_http2.limits import Limits
from headwater_server.runtime.front_http2.transport import Everything, ServerTransport

log = structlog.get_logger("headwater.server")

_AT_ONCE = 100
"""How many connections are taken in one turn of the loop."""
_RESTING_SECONDS = 1.0
"""How long none is taken where the system can open no more."""


class Acceptor:
    """Takes the connections of one socket that listens.

    Args:
        listening: The socket.
        context: With TLS; None: without.
        make: Makes what a connection is served by.
        limits: How many there may be, and how long a handshake may take.
        everything: Counts them, for all sockets of a server.
    """

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext | None,
        *,
        make: Callable[[], ServerTransport],
        limits: Limits,
        everything: Everything,
    ) -> None:
        self._listening = listening
        self._context = context
        self._make = make
        self._limits = limits
        self._everything = everything
        self._loop = asyncio.get_running_loop()
        self._opening: dict[asyncio.Task[None], ServerTransport] = {}
        self._resting: asyncio.TimerHandle | None = None
        self._closed = False
        listening.setblocking(False)
        self._begin()

    def close(self) -> None:
        """Takes no further connection, and lets go of those in their handshake: nothing was asked on them."""
        if self._closed:
            return
        self._closed = True
        if self._resting is not None:
            self._resting.cancel()
        self._loop.remove_reader(self._listening)
        for task, transport in self._opening.items():
            if not transport.made:
                task.cancel()

    def _begin(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                taken, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no more files may be open, mostly: at once it would only fail again
                log.warning("connections.refused", error=str(error))
                self._loop.remove_reader(self._listening)
                self._resting = self._loop.call_later(_RESTING_SECONDS, self._begin)
                return
            self._take(taken)

    def _take(self, taken: socket.socket) -> None:
        if len(self._everything.accepted) >= self._limits.max_connections:
            taken.close()
            return
        taken.setblocking(False)
        transport = self._make()
        task = self._loop.create_task(self._open(taken, transport))
        self._opening[task] = transport
        task.add_done_callback(partial(self._opened, taken))  # runs too where the task never began

    async def _open(self, taken: socket.socket, transport: ServerTransport) -> None:
        with suppress(OSError):  # the peer has gone, or its handshake failed, or took too long
            await self._loop.connect_accepted_socket(
                lambda: transport,
                taken,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.greeting_seconds if self._context is not None else None,
            )

    def _opened(self, taken: socket.socket, task: asyncio.Task[None]) -> None:
        transport = self._opening.pop(task)
        if not transport.made:
            taken.close()
            transport.connection_lost()
