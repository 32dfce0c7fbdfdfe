"""What happens around calls of health, reflection and channelz, which are grpc's own.

They need no credential, their calls are not logged, and their requests have no rules in protos of ours. But bytes that
are no message are the caller's mistake there too, where grpc itself would answer UNKNOWN and write a traceback.
"""

from __future__ import annotations

from typing import Any, NoReturn, cast

import grpc
import structlog

from headwater_server.runtime.interceptors import (
    INFRASTRUCTURE,
    Behavior,
    CheckedStream,
    Context,
    Continuation,
    Handler,
    behavior_of,
    with_behavior,
)
from headwater_server.runtime.malformed import NO_MESSAGE, Malformed, lenient

log = structlog.get_logger("headwater.calls")


class InfrastructureInterceptor(grpc.aio.ServerInterceptor):
    """Ends calls of grpc's own services that cannot be served with the status that says why."""

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        """Wraps the handler."""
        handler = await continuation(details)
        if handler is None or not details.method.startswith(INFRASTRUCTURE):
            return handler
        wrapped = with_behavior(handler, _guarded(handler))
        return cast("Any", wrapped)._replace(request_deserializer=lenient(handler.request_deserializer))


class _NoMessageError(Exception):
    """A request that is no message has come."""


def _guarded(handler: Handler) -> Behavior:
    """What a handler does, and for requests that are none a status."""
    inner = behavior_of(handler)

    async def behavior(request: Any, context: Context) -> Any:
        try:
            if not handler.request_streaming:
                _require_message(request)
                return await inner(request, context)
            async for response in inner(CheckedStream(request, _require_message), context):
                await context.write(response)
        except _NoMessageError:
            await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, NO_MESSAGE)
        except NotImplementedError:
            await _refuse(context, grpc.StatusCode.UNIMPLEMENTED, "this server does not have this method")
        except grpc.aio.InternalError:
            log.debug("call.reader_gone")  # in the middle of a message

    return behavior


async def _refuse(context: Context, code: grpc.StatusCode, message: str) -> NoReturn:
    await context.abort(code, message)


def _require_message(request: Any) -> None:
    if isinstance(request, Malformed):
        raise _NoMessageError
