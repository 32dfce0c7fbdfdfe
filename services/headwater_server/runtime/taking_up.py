"""A sign that a call was taken up, sent before anything has come of it.

Where a connection breaks, its caller cannot tell whether the other process was never reached or has died of what it was
asked. The first may be tried for as long as a restart takes; the second would end the process again each time. So the
calls that may be asked again from the beginning are told of by a header, before the work on them begins.
"""

from __future__ import annotations

from typing import Any

import grpc

from headwater_server.runtime.interceptors import Context, Continuation, behavior_of, with_behavior
from headwater_server.runtime.servicers import ASSISTANT
from headwater_server.runtime.status import TAKEN_UP

_METHODS = frozenset({f"/{ASSISTANT.full_name}/StreamGenerate"})


class TakingUpInterceptor(grpc.aio.ServerInterceptor):
    """Gives the sign; to be outside of the interceptor that makes coroutines of streaming handlers."""

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        """Wraps the handler."""
        handler = await continuation(details)
        if handler is None or details.method not in _METHODS:
            return handler
        inner = behavior_of(handler)

        async def behavior(request: Any, context: Context) -> None:
            try:
                await context.send_initial_metadata((TAKEN_UP,))
            except grpc.aio.InternalError:  # the caller has gone
                return
            await inner(request, context)

        return with_behavior(handler, behavior)
