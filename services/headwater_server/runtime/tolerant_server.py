"""grpcio's asynchronous server, without a defect of it that lets anybody stop it, and quicker to take calls.

grpcio decodes the path of each call whose method was not registered, in the loop that takes calls, and where the path
is not UTF-8 that loop dies and the server with it: one call, with no credential, ends all others and leaves a process
that listens no more (seen in 1.85). Here all methods are registered, so that a call of none of them can be refused
without a look at its path.

And it takes one call of a method, then turns the event loop to ask for the next. Where a turn is long, because much is
going on, a caller who is only to be refused waits for as many turns as there are calls before it. So for the methods
that many ask for at once, several calls are asked for beforehand; and those that a gate refuses take two turns each, in
place of three and of the work of serving them.

What is overridden is not part of grpcio's public interface. Where a version has no such parts, its own server is used
as it is; `tests/malformed` shows what that means.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import grpc
from grpc._cython import cygrpc
from grpc.aio import _server as aio_server

from headwater_server.runtime.door import CallDetails, Gate

_REFUSAL_SECONDS = 10.0
"""How long a refusal may take to be written to a caller who does not read."""

_TAKEN_AT_ONCE = 128
"""How many calls of a method with a stream of responses may be taken in one turn of the event loop."""

_LAST_CALLS_SECONDS = 5.0
"""How long a stopped server may take to say that it takes no more calls."""

_CAN_BE_MENDED = hasattr(cygrpc.AioServer, "_request_registered_call") and hasattr(cygrpc, "_ServicerContext")


def _takes(function: str, *parameters: str) -> bool:
    """Whether grpcio's core has a function, with just these parameters."""
    found = getattr(cygrpc, function, None)
    return found is not None and tuple(inspect.signature(found).parameters) == parameters


_CAN_TAKE_SEVERAL = (
    _CAN_BE_MENDED
    and hasattr(cygrpc, "_MethodResolver")
    and hasattr(cygrpc, "_RequestCallError")
    and _takes(
        "_handle_rpc", "method_name", "method_resolver", "interceptors", "rpc_state", "loop", "concurrency_exceeded"
    )
    and _takes("_schedule_rpc_coro", "rpc_coro", "rpc_state", "loop", "method_name")
)

_CAN_REFUSE_EARLY = (
    _CAN_TAKE_SEVERAL
    and hasattr(cygrpc, "_ServerStoppedError")
    and _takes("_find_method_handler", "method", "metadata", "method_resolver", "interceptors")
    and _takes(
        "_finish_handler_with_stream_responses", "rpc_state", "stream_handler", "request", "servicer_context", "loop"
    )
)


class _Calls(cygrpc.AioServer):  # type: ignore[misc]  # grpcio's core has no types
    """Takes calls of registered methods, and refuses all others."""

    gate: Gate | None = None
    """Knows some that are to be refused too."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        _, _, _, self._all_interceptors, *_ = arguments
        self._refusing: set[asyncio.Task[None]] = set()
        self._methods: dict[str, Any] = {}
        self._taking: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()

    def add_registered_method_handlers(self, handlers: dict[str, Any]) -> None:
        """Adds methods, by their paths."""
        super().add_registered_method_handlers(handlers)
        self._methods.update(handlers)

    async def start(self) -> None:
        """Takes calls."""
        await super().start()
        if self._taking or not _CAN_TAKE_SEVERAL:
            return
        resolver = cygrpc._MethodResolver([], self._methods)
        for path, handler in self._methods.items():
            if handler.response_streaming and not handler.request_streaming:
                for _ in range(_TAKEN_AT_ONCE - 1):
                    self._take(path, resolver)

    async def shutdown(self, grace: float | None) -> None:
        """Stops; who is being refused then hears no more of it."""
        try:
            await super().shutdown(grace)
        finally:
            for task in self._refusing:
                task.cancel()
        if self._taking:  # never cancelled: the core would write to a call that is not there any more
            await asyncio.wait(self._taking, timeout=_LAST_CALLS_SECONDS)

    def _take(self, path: str, resolver: Any) -> None:
        """Takes one call of a method, beside the loop that takes those of all, then another, and so on."""
        task = asyncio.create_task(self._take_and_serve(path, resolver))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    async def _take_and_serve(self, path: str, resolver: Any) -> None:
        """Serves the next call of a method: in the task that took it, for another would begin a turn later."""
        call = await self._next(path)
        task = asyncio.current_task()
        if call is None or task is None:
            return
        self._taking.discard(task)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self._take(path, resolver)
        loop = asyncio.get_running_loop()
        if self.gate is not None and _CAN_REFUSE_EARLY and self.gate.may_refuse(path):
            serving = await self._admitted(path, resolver, call, self.gate)
        else:
            serving = cygrpc._handle_rpc(path, resolver, self._all_interceptors, call, loop, False)
        if serving is not None:
            await cygrpc._schedule_rpc_coro(serving, call, loop, path)

    async def _admitted(self, path: str, resolver: Any, call: Any, gate: Gate) -> Coroutine[Any, Any, None] | None:
        """Reads the request of a call; what serves it, or None where it was refused, or its caller has gone."""
        context = cygrpc._ServicerContext(call, None, None, asyncio.get_running_loop())
        details = CallDetails(path, context.invocation_metadata())
        with suppress(cygrpc._ServerStoppedError):
            request = await context.read()
            if request is grpc.aio.EOF:
                return None
            if (status := gate.refusal(details, request)) is None:
                return self._serve(details, resolver, call, request)
            await _end(context, status.code, status.message, status.trailing_metadata())
        return None

    async def _serve(self, details: CallDetails, resolver: Any, call: Any, request: bytes) -> None:
        """Serves a call whose request was read already, as grpcio does when it has read it."""
        loop = asyncio.get_running_loop()
        handler = await cygrpc._find_method_handler(*details, resolver, self._all_interceptors)
        context = cygrpc._ServicerContext(call, handler.request_deserializer, handler.response_serializer, loop)
        message = request if handler.request_deserializer is None else handler.request_deserializer(request)
        await cygrpc._finish_handler_with_stream_responses(call, handler.unary_stream, message, context, loop)

    async def _next(self, path: str) -> Any:
        """The next call of a method; None where the server stops."""
        while self.is_running():
            with suppress(cygrpc._RequestCallError):  # the server stops, or the caller has gone
                return await self._request_registered_call(path.encode())
        return None

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
    await _end(context, grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


async def _end(context: Any, code: grpc.StatusCode, words: str, metadata: tuple[Any, ...] = ()) -> None:
    with suppress(grpc.aio.InternalError, TimeoutError):
        async with asyncio.timeout(_REFUSAL_SECONDS):
            try:
                await context.abort(code, words, metadata)
            except grpc.aio.AbortError as error:
                error.with_traceback(None)  # the call keeps it, and its frames would keep the call


class _Server(aio_server.Server):
    """A `grpc.aio.Server` over such calls."""

    def __init__(
        self,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        options: Sequence[tuple[str, int]],
        gate: Gate | None,
    ) -> None:
        self._loop = cygrpc.get_working_loop()
        self._server = _Calls(self._loop, None, (), tuple(interceptors), tuple(options), None)
        self._server.gate = gate


def make_server(
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    options: Sequence[tuple[str, int]],
    gate: Gate | None = None,
) -> grpc.aio.Server:
    """A server that no call can stop; methods are added by `add_methods`.

    Args:
        interceptors: What is around every call, outermost first.
        options: Those of gRPC's core.
        gate: Knows calls with a stream of responses that are to be refused before anything is done for them. It may not
            be asked: an interceptor is to refuse them too.
    """
    if not _CAN_BE_MENDED:
        return grpc.aio.server(interceptors=interceptors, options=options)
    return cast("grpc.aio.Server", _Server(interceptors, options, gate))


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
