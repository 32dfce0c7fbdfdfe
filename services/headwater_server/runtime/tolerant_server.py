"""grpcio's asynchronous server, without a defect of it that lets anybody stop it.

grpcio decodes the path of each call whose method was not registered, in the loop that takes calls, and where the path
is not UTF-8 that loop dies and the server with it: one call, with no credential, ends all others and leaves a process
that listens no more (seen in 1.85). Here all methods are registered, so that a call of none of them can be refused
without a look at its path.

What is overridden is not part of grpcio's public interface. Where a version has no such parts, its own server is used
as it is; `tests/malformed` shows what that means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import grpc
from grpc._cython import cygrpc
from grpc.aio import _server as aio_server

_REFUSAL_SECONDS = 10.0
"""How long a refusal may take to be written to a caller who does not read."""

_CAN_BE_MENDED = hasattr(cygrpc.AioServer, "_request_registered_call") and hasattr(cygrpc, "_ServicerContext")


class _Calls(cygrpc.AioServer):  # type: ignore[misc]  # grpcio's core has no types
    """Takes calls of registered methods, and refuses all others."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._refusing: set[asyncio.Task[None]] = set()

    async def shutdown(self, grace: float | None) -> None:
        """Stops; who is being refused then hears no more of it."""
        try:
            await super().shutdown(grace)
        finally:
            for task in self._refusing:
                task.cancel()

    async def _request_call(self) -> Any:
        """Would return the next call of a method that is not registered; returns only where the server stops."""
        while True:
            call = await super()._request_call()
            task = asyncio.create_task(_refuse(call))
            self._refusing.add(task)
            task.add_done_callback(self._refusing.discard)


async def _refuse(call: Any) -> None:
    """Ends a call as grpcio ends those of methods that it does not know."""
    context = cygrpc._ServicerContext(call, None, None, asyncio.get_running_loop())
    with suppress(grpc.aio.AbortError, grpc.aio.InternalError, TimeoutError):
        async with asyncio.timeout(_REFUSAL_SECONDS):
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


class _Server(aio_server.Server):
    """A `grpc.aio.Server` over such calls."""

    def __init__(self, interceptors: Sequence[grpc.aio.ServerInterceptor], options: Sequence[tuple[str, int]]) -> None:
        self._loop = cygrpc.get_working_loop()
        self._server = _Calls(self._loop, None, (), tuple(interceptors), tuple(options), None)


def make_server(
    interceptors: Sequence[grpc.aio.ServerInterceptor], options: Sequence[tuple[str, int]]
) -> grpc.aio.Server:
    """A server that no call can stop; methods are added by `add_methods`."""
    if not _CAN_BE_MENDED:
        return grpc.aio.server(interceptors=interceptors, options=options)
    return cast("grpc.aio.Server", _Server(interceptors, options))


def add_methods(server: grpc.aio.Server, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
    """Adds the methods of a service to a server that has not begun.

    Args:
        server: Made by `make_server`.
        service: The service's full name.
        handlers: What to do, by the methods' names.
    """
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, dict(handlers)),))
    if _CAN_BE_MENDED:
        cast("Any", server).add_registered_method_handlers(service, dict(handlers))
