"""Calls of methods that nobody has: each refusal has an end, whatever its caller does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import grpc
import pytest

from headwater_server.runtime import tolerant_server
from headwater_server.runtime.tolerant_server import make_server

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 20


class Stuck:
    """A call whose caller reads nothing."""

    begun: asyncio.Event
    ended: asyncio.Event

    def __init__(self, *_: object) -> None:
        """Takes what a context is made of."""

    async def abort(self, *_: object) -> None:
        Stuck.begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            Stuck.ended.set()


@asynccontextmanager
async def refusing(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[grpc.aio.Server]:
    """A server that is refusing a call whose caller reads nothing."""
    monkeypatch.setattr(Stuck, "begun", asyncio.Event(), raising=False)
    monkeypatch.setattr(Stuck, "ended", asyncio.Event(), raising=False)
    monkeypatch.setattr("grpc._cython.cygrpc._ServicerContext", Stuck)
    server = make_server([], [])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary("/nobody/Has", request_serializer=bytes, response_deserializer=bytes)
        call = ask(b"")
        with anyio.fail_after(WAIT_SECONDS):
            await Stuck.begun.wait()
        yield server
        call.cancel()
    await server.stop(0)


async def test_a_caller_who_does_not_read_is_let_go_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tolerant_server, "_REFUSAL_SECONDS", 0.05)
    async with refusing(monkeypatch):
        with anyio.fail_after(WAIT_SECONDS):
            await Stuck.ended.wait()


async def test_no_refusal_outlives_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async with refusing(monkeypatch) as server:
        assert not Stuck.ended.is_set()
        await server.stop(0)
        with anyio.fail_after(WAIT_SECONDS):
            await Stuck.ended.wait()
