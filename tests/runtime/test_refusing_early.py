"""Calls that a gate refuses on grpcio's server: as soon as their request is there, and before anything is done."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc
import pytest
from grpc._cython import cygrpc

from headwater_server.runtime import tolerant_server
from headwater_server.runtime.status import CallStatus
from headwater_server.runtime.tolerant_server import add_methods, make_server
from tests.malformed import frames

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 20
PATH = "/test.Doors/Enter"


class Keeper:
    """A gate that, once it is shut, refuses what begins with `no`; and what it was asked."""

    def __init__(self) -> None:
        self.shut = False
        self.asked: list[tuple[str, str, bytes]] = []
        self.was_asked = anyio.Event()

    def may_refuse(self, method: str) -> bool:
        """Whether it is shut."""
        self.was_asked.set()
        return self.shut and method == PATH

    def refusal(self, details: Any, request: bytes) -> CallStatus | None:
        """Refuses what begins with `no`."""
        metadata = dict(details.invocation_metadata)
        self.asked.append((details.method, metadata.get("x-caller", ""), request))
        full = CallStatus(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry_after=1.5)
        return full if request.startswith(b"no") else None


class Room:
    """What is behind the gate, and whom it was entered by."""

    def __init__(self) -> None:
        self.entered: list[bytes] = []

    async def enter(self, request: bytes, context: Any) -> None:
        """Greets, with what the caller sent along."""
        self.entered.append(request)
        await context.write(request)
        await context.write(dict(context.invocation_metadata()).get("x-caller", "").encode())


@asynccontextmanager
async def behind_a_gate() -> AsyncGenerator[tuple[Keeper, Room, grpc.aio.Server, str]]:
    """A gate, what is behind it, their server and its address."""
    keeper, room = Keeper(), Room()
    server = make_server([], [], keeper)
    handler = grpc.unary_stream_rpc_method_handler(room.enter, bytes.upper, bytes.lower)
    add_methods(server, "test.Doors", {"Enter": handler})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await _said(f"127.0.0.1:{port}", b"first")  # which grpcio's own loop takes, and after it one of many
    room.entered.clear()
    keeper.shut, keeper.was_asked = True, anyio.Event()
    yield keeper, room, server, f"127.0.0.1:{port}"
    await server.stop(0)


async def _said(address: str, request: bytes, **options: Any) -> list[bytes]:
    async with grpc.aio.insecure_channel(address) as channel:
        enter: Any = channel.unary_stream(PATH)
        call = enter(request, metadata=(("x-caller", "ann"),), timeout=WAIT_SECONDS, **options)
        return [answer async for answer in call]


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
async def test_a_call_that_the_gate_refuses_has_its_status_and_no_handler(compression: Any) -> None:
    async with behind_a_gate() as (keeper, room, _, address):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _said(address, b"no" * 1_000, compression=compression)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
    assert dict(caught.value.trailing_metadata() or ())["grpc-retry-pushback-ms"] == "1500"
    assert keeper.asked == [(PATH, "ann", b"no" * 1_000)]
    assert not room.entered


@pytest.mark.parametrize(("shut", "asked"), [(True, [(PATH, "ann", b"yes")]), (False, [])])
async def test_a_call_that_it_lets_pass_is_served_as_ever(shut: bool, asked: list[Any]) -> None:
    async with behind_a_gate() as (keeper, room, _, address):
        keeper.shut = shut
        assert await _said(address, b"yes") == [b"yes", b"ann"]
    assert keeper.asked == asked
    assert room.entered == [b"YES"]


async def test_a_grpcio_that_has_not_the_parts_serves_what_only_interceptors_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tolerant_server, "_CAN_REFUSE_EARLY", False)
    async with behind_a_gate() as (keeper, _, _, address):
        assert await _said(address, b"no") == [b"no", b"ann"]
    assert not keeper.asked


async def test_nothing_of_a_refused_call_waits_for_the_collection_of_garbage() -> None:
    async with behind_a_gate() as (_, _, _, address):
        before = _calls_kept()
        gc.disable()
        try:
            for _ in range(20):
                with pytest.raises(grpc.aio.AioRpcError):
                    await _said(address, b"no")
            assert _calls_kept() - before < 10
        finally:
            gc.enable()


def _calls_kept() -> int:
    return sum(isinstance(one, cygrpc.RPCState) for one in gc.get_objects())


@pytest.mark.parametrize("taken_back", [True, False])
async def test_a_call_whose_request_never_comes_ends_with_its_caller_or_the_server(taken_back: bool) -> None:
    async with behind_a_gate() as (keeper, room, server, address), frames.connected(address) as connection:
        block = frames.header_block(frames.call_headers(PATH))
        await connection.send(*frames.header_frames(block, stream=1))
        with anyio.fail_after(WAIT_SECONDS):
            await keeper.was_asked.wait()
            if taken_back:
                await connection.send(frames.frame(frames.RST_STREAM, bytes(4), stream=1))
                with pytest.raises(grpc.aio.AioRpcError):
                    await _said(address, b"no")
            await server.stop(0)
    assert not room.entered


def test_this_version_of_grpcio_can_refuse_early() -> None:
    assert tolerant_server._CAN_REFUSE_EARLY
