from __future__ import annotations

from typing import Any

import grpc
import pytest

from headwater_server.runtime.interceptors import Continuation, with_behavior
from headwater_server.runtime.wrapping import WrappedOnce

pytestmark = pytest.mark.anyio


class Details:
    """What grpc knows of a call."""

    invocation_metadata = ()

    def __init__(self, method: str) -> None:
        self.method = method


class Adding(grpc.aio.ServerInterceptor):
    """Adds its letter to what a handler returns."""

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.wrapped = 0

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None
        self.wrapped += 1
        inner: Any = handler.unary_unary
        return with_behavior(handler, lambda request, context: inner(request, context) + self.letter)


async def test_a_method_is_wrapped_once_by_all_of_them_the_first_the_outermost() -> None:
    first, second = Adding("1"), Adding("2")
    both = WrappedOnce([first, second])

    async def known(details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: details.method)

    async def unknown(_: grpc.HandlerCallDetails) -> Any:
        return None

    details: Any = Details("/a")
    for _ in range(3):
        assert await both.intercept_service(unknown, Details("/unknown")) is None  # type: ignore[arg-type]  # as grpc has it
        handler = await both.intercept_service(known, details)
        assert handler.unary_unary(None, None) == "/a21"
    assert (first.wrapped, second.wrapped) == (1, 1)
