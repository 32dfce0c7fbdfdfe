"""What a server that stops does with calls."""

from __future__ import annotations

from typing import Any

import grpc

from headwater_server.errors import Reason, ServiceError
from headwater_server.runtime.interceptors import INFRASTRUCTURE, Context, Continuation, with_behavior
from headwater_server.runtime.servicers import ANSWER, RETRIEVAL


def _paths(service: Any, *methods: str) -> frozenset[str]:
    return frozenset(f"/{service.full_name}/{method}" for method in methods)


WATCHES = _paths(RETRIEVAL, "WatchDocument")
"""Calls that have no end of their own, and change nothing: nobody waits for them."""

OF_RUNNING_ANSWERS = _paths(ANSWER, "ResumeAnswer", "CancelAnswer", "GetAnswer", "ListAnswers")
"""Calls that only this server can serve, for as long as it has answers that run."""


def draining() -> ServiceError:
    """What callers get of a server that stops."""
    return ServiceError(Reason.SERVER_DRAINING, "the server stops; ask again, or another", retry_after=1.0)


class RefusingInterceptor(grpc.aio.ServerInterceptor):
    """Refuses all calls but those about answers that run; to be the innermost."""

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        """Replaces the handler."""
        handler = await continuation(details)
        if handler is None or details.method.startswith(INFRASTRUCTURE) or details.method in OF_RUNNING_ANSWERS:
            return handler

        def behavior(_request: Any, _context: Context) -> Any:
            raise draining()

        return with_behavior(handler, behavior)
