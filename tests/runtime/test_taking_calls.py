"""Calls that come many at once: all are taken, and a server that stops takes no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import grpc
import pytest

from headwater_server.runtime import tolerant_server
from headwater_server.runtime.tolerant_server import add_methods, make_server

pytestmark = pytest.mark.anyio

CALLS = 100
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
async def serving(method: Any) -> AsyncGenerator[tuple[grpc.aio.Server, Any]]:
    """A server with one method, and a stub of it."""
    server = make_server([], [])
    add_methods(server, "test.Meetings", {"Come": grpc.unary_stream_rpc_method_handler(method)})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield server, channel.unary_stream("/test.Meetings/Come")
    await server.stop(0)


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


def test_this_version_of_grpcio_takes_several_calls_at_once() -> None:
    assert tolerant_server._CAN_TAKE_SEVERAL
