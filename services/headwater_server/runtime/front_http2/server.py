"""A server of gRPC calls without grpc's core; to those who add handlers, start and stop it, a `grpc.aio.Server`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import grpc

from headwater_server.runtime.door import Gate
from headwater_server.runtime.front_http2.accepting import Acceptor
from headwater_server.runtime.front_http2.dispatch import Dispatcher
from headwater_server.runtime.front_http2.limits import Limits
from headwater_server.runtime.front_http2.listening import Listener, listeners
from headwater_server.runtime.front_http2.transport import Everything, ServerTransport

_LAST_WORDS = 0.1
"""How long to wait for what is on its way when a server stops, in seconds."""
_LOOKING_SECONDS = 0.02
"""How often to look whether readers have taken what is theirs."""
_TIDYING_SECONDS = 5.0
"""How long handlers that were cancelled may take to tidy up."""


class Http2Server(grpc.aio.Server):
    """Serves.

    Args:
        interceptors: What is around every call, outermost first.
        limits: What callers may do.
        gate: Knows calls that are to be refused before anything is done for them.
    """

    def __init__(
        self,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        limits: Limits | None = None,
        *,
        gate: Gate | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._handlers: dict[str, Any] = {}
        self._generic: list[grpc.GenericRpcHandler] = []
        self._dispatcher = Dispatcher(self._handlers, self._generic, interceptors, gate)
        self._listeners: list[tuple[Listener, ssl.SSLContext | None]] = []
        self._accepting: list[Acceptor] = []
        self._everything = Everything()
        self._stopped = asyncio.Event()

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Adds the methods of a service, by name."""
        self._handlers |= {f"/{service_name}/{name}": handler for name, handler in method_handlers.items()}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Adds handlers that are asked what to do, by path, where no registered one knows."""
        self._generic += generic_rpc_handlers

    def listen(self, address: str, context: ssl.SSLContext | None = None, *, shared: bool = False) -> int:
        """Takes an address; returns its port, 0 of a Unix socket.

        Args:
            address: `host:port`, an IPv6 host in brackets, or `unix:PATH`.
            context: With TLS, see `tls.http2_context`; None: without.
            shared: Whether other processes may listen there too (SO_REUSEPORT).

        Raises:
            RuntimeError: It cannot be taken.
        """
        taken = listeners(address, shared=shared)
        self._listeners += [(listener, context) for listener in taken]
        return taken[0].port

    def add_insecure_port(self, address: str) -> int:
        """Takes an address without TLS; see `listen`."""
        return self.listen(address)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> NoReturn:
        """Is not to be had: nobody can look into gRPC's credentials. `listen` takes a context."""
        raise TypeError(f"use listen({address!r}, context): {server_credentials!r} can only be used by gRPC's core")

    async def start(self) -> None:
        """Begins to take calls."""
        for listener, context in self._listeners:
            self._accepting.append(
                Acceptor(
                    listener.socket,
                    context,
                    make=lambda: ServerTransport(self._dispatcher, self._limits, self._everything),
                    limits=self._limits,
                    everything=self._everything,
                )
            )

    async def stop(self, grace: float | None) -> None:
        """Takes no further calls, waits `grace` seconds at most for those under way, and ends the rest.

        It may be called again while it waits; the shorter grace then counts.
        """
        self._everything.stopping = True
        for accepting in self._accepting:
            accepting.close()
        for listener, _ in self._listeners:
            listener.close()
        for transport in list(self._everything.open):
            transport.drain()
        if grace:
            await self._until_closed(grace)
        for transport in list(self._everything.open):
            transport.end_calls("the server stops")
            transport.drain_now()
        await self._until_closed(_LAST_WORDS)
        for transport in list(self._everything.open):
            transport.close()
        if tasks := self._everything.tasks - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=_TIDYING_SECONDS)
        self._stopped.set()

    async def delivered(self) -> None:
        """Returns when what calls have said that have ended is taken by their readers, or given up."""
        while any(transport.delivers for transport in self._everything.open):  # noqa: ASYNC110 (each connection has its own way to it)
            await asyncio.sleep(_LOOKING_SECONDS)

    async def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 (grpc's signature)
        """Returns when the server has stopped, or after so many seconds; says whether those were too few."""
        try:
            await asyncio.wait_for(self._stopped.wait(), timeout)
        except TimeoutError:
            return True
        return False

    async def _until_closed(self, seconds: float) -> None:
        """Returns when all connections are closed, or after so many seconds."""
        if waiting := [transport.closed for transport in self._everything.open]:
            await asyncio.wait(waiting, timeout=seconds)
