"""gRPC's wake-ups of the event loop: however many there are, a turn takes them all."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import grpc
import pytest

from headwater_server.runtime.loops import backend_options
from headwater_server.runtime.tolerant_server import add_methods, make_server
from headwater_server.runtime.wakeups import take_at_once

CALLS = 100
TURNS = 3
"""Until a reader has been called, on any loop."""
WAIT_SECONDS = 20


async def _answer(request: bytes, context: Any) -> None:
    await context.write(request)


async def _left_after_a_turn(*, at_once: bool) -> int:
    """How many wake-ups of many calls are left when the loop has had a turn or two for them."""
    loop = asyncio.get_running_loop()
    taken: list[socket.socket] = []
    add_reader = loop.add_reader

    def note(fd: Any, callback: Any, *arguments: Any) -> Any:
        taken.append(fd)
        return add_reader(fd, callback, *arguments)

    loop.add_reader = note  # type: ignore[method-assign, assignment]  # what it takes is gRPC's own
    if at_once:
        take_at_once(loop)
    server = make_server([], [])
    add_methods(server, "test.Wakeups", {"Ask": grpc.unary_stream_rpc_method_handler(_answer)})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:  # which needs no loop
        ask: Any = channel.unary_stream("/test.Wakeups/Ask")
        await anyio.to_thread.run_sync(next, ask(b"first", timeout=WAIT_SECONDS))
        calls = [ask(b"%d" % number, timeout=WAIT_SECONDS) for number in range(CALLS)]
        time.sleep(0.3)  # noqa: ASYNC251 (all calls come meanwhile, and nothing is done for them)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        left = _waiting(taken[0])
        answers = [await anyio.to_thread.run_sync(list, call) for call in calls]
    await server.stop(0)
    assert answers == [[b"%d" % number] for number in range(CALLS)]
    return left


def _waiting(wakeups: socket.socket) -> int:
    with suppress(BlockingIOError):
        return len(wakeups.recv(4096, socket.MSG_PEEK))
    return 0


@pytest.mark.parametrize("options", [{}, backend_options()], ids=["asyncio", "backend"])
def test_a_turn_takes_all_wakeups(options: dict[str, bool]) -> None:
    by_one = anyio.run(partial(_left_after_a_turn, at_once=False), backend_options=options)
    at_once = anyio.run(partial(_left_after_a_turn, at_once=True), backend_options=options)
    assert at_once < by_one / 2


def test_another_reader_stays_as_it_is() -> None:
    async def read() -> bytes:
        loop = asyncio.get_running_loop()
        take_at_once(loop)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            heard: asyncio.Future[bytes] = loop.create_future()

            def take() -> None:
                loop.remove_reader(ours)
                heard.set_result(ours.recv(1))

            loop.add_reader(ours, take)
            theirs.send(b"two")
            async with asyncio.timeout(WAIT_SECONDS):
                first = await heard
            return first + ours.recv(10)

    assert anyio.run(read, backend_options=backend_options()) == b"two"
