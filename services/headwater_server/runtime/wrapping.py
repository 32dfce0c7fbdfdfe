"""Interceptors that wrap a method's handler always alike: for them it is wrapped once, not anew for each call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import grpc

from headwater_server.runtime.interceptors import Continuation, Handler


class WrappedOnce(grpc.aio.ServerInterceptor):
    """Several interceptors in one.

    Args:
        interceptors: Outermost first; what each makes of a handler depends on the method alone. What it does then may
            depend on the call.
    """

    def __init__(self, interceptors: Sequence[grpc.aio.ServerInterceptor]) -> None:
        self._interceptors = tuple(interceptors)
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        """Wraps the handler, unless it was wrapped for an earlier call; methods without one are not remembered."""
        handler = self._wrapped.get(details.method)
        if handler is None:
            for interceptor in reversed(self._interceptors):
                continuation = partial(_intercepted, interceptor, continuation)
            found = await continuation(details)
            if found is not None:
                self._wrapped[details.method] = handler = found
        return handler


async def _intercepted(
    interceptor: grpc.aio.ServerInterceptor, continuation: Continuation, details: grpc.HandlerCallDetails
) -> Any:
    return await interceptor.intercept_service(continuation, details)
