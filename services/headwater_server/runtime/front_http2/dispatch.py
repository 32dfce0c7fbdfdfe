"""From a call to its handler, through the interceptors, and from what comes of it to a status."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

import grpc
import structlog

from headwater_server.runtime.door import CallDetails, Gate
from headwater_server.runtime.front_http2.call import Call
from headwater_server.runtime.front_http2.fields import MAX_METADATA_BYTES

log = structlog.get_logger("headwater.calls")

_GRPC = b"application/grpc"
_NO_MESSAGE = object()


class Dispatcher:
    """Serves calls.

    Args:
        handlers: What to do, by path.
        generic: Handlers that are asked, one after another, for what is not among those.
        interceptors: What is around it, outermost first.
        gate: Is asked before those, for methods that take one message.
    """

    def __init__(
        self,
        handlers: Mapping[str, Any],
        generic: Sequence[grpc.GenericRpcHandler],
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        gate: Gate | None = None,
    ) -> None:
        self._handlers = handlers
        self._generic = generic
        self._gate = gate

        async def innermost(details: Any) -> Any:
            return self._look_up(details)

        find: Callable[[Any], Awaitable[Any]] = innermost
        for interceptor in reversed(interceptors):
            find = _intercepted(interceptor, find)
        self._find = find

    def _look_up(self, details: CallDetails) -> Any:
        if (handler := self._handlers.get(details.method)) is not None:
            return handler
        found = (generic.service(cast("Any", details)) for generic in self._generic)
        return next((handler for handler in found if handler is not None), None)

    def refused(self, call: Call) -> bool:
        """Ends a call that is none of ours, or of gRPC's, before anything is done for it; says whether."""
        head = call.head
        if head.method != b"POST":
            call.finish_foreign(405)
        elif not head.content_type.startswith(_GRPC) or head.content_type[len(_GRPC) :][:1] not in {b"", b"+", b";"}:
            call.finish_foreign(415)
        elif head.size > MAX_METADATA_BYTES:
            call.finish(grpc.StatusCode.RESOURCE_EXHAUSTED, f"metadata may have {MAX_METADATA_BYTES} bytes")
        elif self._look_up(CallDetails(call.method, head.metadata)) is None:
            call.finish(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        elif not head.timeout_is_one:
            call.finish(grpc.StatusCode.INVALID_ARGUMENT, "grpc-timeout is no time")
        elif head.timeout == 0:
            call.finish(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        return call.over

    def takes_one_message(self, call: Call) -> bool:
        """Whether nothing can be done for a call before its message has come."""
        return not self._look_up(CallDetails(call.method, call.head.metadata)).request_streaming

    def turned_away(self, call: Call) -> bool:
        """Ends a call that the gate refuses; says whether it did.

        A message that is compressed is not looked at, for that may take long; whatever the gate does not let pass is to
        be refused by an interceptor too.
        """
        if self._gate is None or (request := call.peek()) is None:
            return False
        status = self._gate.refusal(CallDetails(call.method, call.head.metadata), request)
        if status is not None:
            call.turn_away(status.code, status.message, status.trailing_metadata())
        return status is not None

    async def serve(self, call: Call) -> None:
        """Serves a call to its end; it is cancelled where nobody waits for an answer."""
        try:
            handler = await self._find(CallDetails(call.method, call.head.metadata))
            if handler is None:
                call.finish(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
                return
            call.speak(handler)
            request = call if handler.request_streaming else await _one_request(call)
            if request is not _NO_MESSAGE:
                await _answer(call, handler, request)
                call.finish_well()
        except grpc.aio.AbortError:
            pass  # it has its status
        except Exception:
            if not call.over:  # otherwise it is that nobody was there to write to
                log.exception("call.defect", method=call.method)
                call.finish(grpc.StatusCode.INTERNAL, "internal error")


def _intercepted(
    interceptor: grpc.aio.ServerInterceptor, inner: Callable[[Any], Awaitable[Any]]
) -> Callable[[Any], Awaitable[Any]]:
    async def find(details: Any) -> Any:
        return await interceptor.intercept_service(inner, details)

    return find


async def _one_request(call: Call) -> Any:
    request = await call.read()
    if request is not grpc.aio.EOF:
        return request
    call.finish(grpc.StatusCode.UNIMPLEMENTED, "the method takes one message, and there was none")
    return _NO_MESSAGE


async def _answer(call: Call, handler: Any, request: Any) -> None:
    """Runs a handler of whatever kind: one that writes, one that yields, one that returns."""
    behavior = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    answer = behavior(request, call)
    if inspect.isasyncgen(answer):
        async with aclosing(answer) as messages:
            async for message in messages:
                await call.write(message)
        return
    if hasattr(answer, "__aiter__"):
        async for message in answer:
            await call.write(message)
        return
    if inspect.isawaitable(answer):
        answer = await answer
    if not handler.response_streaming:
        await call.write(answer)
