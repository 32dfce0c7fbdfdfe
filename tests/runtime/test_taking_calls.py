"""Calls that come many at once: all are taken, and a server that stops takes no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import grpc
import pytest

from headwater_server.runtime import tolerant_server
from headwater_server.runtime.tolerant_server import add_methods, make_server

pytestmark = pytest.mark.anyio

CALLS = 300
"""More than are asked for beforehand."""
WAIT_SECONDS = 20


class Meeting:
    """A method whose calls go on when all of them are there."""

    def __init__(self) -> None:
        self._there = 0
        self._all = anyio.Event()

    async def come(self, request: bytes, context: Any) -> None:
        """Waits for the others."""
        self._there += 1
        if self._there == CALLS:
            self._all.set()
        await self._all.wait()
        await context.write(request)


@asynccontextmanager
async def started(handler: grpc.RpcMethodHandler[Any, Any]) -> AsyncGenerator[tuple[grpc.aio.Server, str]]:
    """A server with one method, and its address."""
    server = make_server([], [])
    add_methods(server, "test.Meetings", {"Come": handler})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield server, f"127.0.0.1:{port}"
    await server.stop(0)


@asynccontextmanager
async def serving(method: Any) -> AsyncGenerator[tuple[grpc.aio.Server, Any]]:
    """A server with one method whose response is a stream, and a stub of it."""
    async with (
        started(grpc.unary_stream_rpc_method_handler(method)) as (server, address),
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield server, channel.unary_stream("/test.Meetings/Come")


@pytest.mark.parametrize("several", [True, False])
async def test_calls_that_come_at_once_are_all_taken(several: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tolerant_server, "_CAN_TAKE_SEVERAL", several)
    heard: list[bytes] = []

    async def ask(number: int) -> None:
        heard.extend([answer async for answer in come(b"%d" % number)])

    async with serving(Meeting().come) as (_, come):
        with anyio.fail_after(WAIT_SECONDS):
            async with anyio.create_task_group() as tasks:
                for number in range(CALLS):
                    tasks.start_soon(ask, number)
    assert sorted(heard) == sorted(b"%d" % number for number in range(CALLS))


async def test_a_server_that_has_stopped_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    async with serving(Meeting().come) as (server, come):
        call = come(b"")
        assert len(asyncio.all_tasks() - before) > tolerant_server._TAKEN_AT_ONCE
        await server.stop(0)
        with pytest.raises(grpc.aio.AioRpcError):
            await call.read()
    with anyio.fail_after(WAIT_SECONDS):
        while asyncio.all_tasks() - before:
            await anyio.lowlevel.checkpoint()


async def test_a_call_that_has_come_when_the_server_begins_to_stop_is_served() -> None:
    async def greet(request: bytes, context: Any) -> bytes:
        del context
        return request

    async with started(grpc.unary_unary_rpc_method_handler(greet)) as (server, address):
        with grpc.insecure_channel(address) as channel, anyio.fail_after(WAIT_SECONDS):
            greeting: Any = channel.unary_unary("/test.Meetings/Come")
            await anyio.to_thread.run_sync(greeting, b"before")
            call = greeting.future(b"while it stops", timeout=WAIT_SECONDS)
            time.sleep(0.2)  # noqa: ASYNC251 (nothing else runs meanwhile, so the call waits in grpc's queue)
            await server.stop(WAIT_SECONDS)
            assert await anyio.to_thread.run_sync(call.result) == b"while it stops"


def test_this_version_of_grpcio_takes_several_calls_at_once() -> None:
    assert tolerant_server._CAN_TAKE_SEVERAL
