from __future__ import annotations

import os
from collections.abc import Iterator

import anyio
import pytest
from anyio import to_thread

from headwater_server.retrieval.store.index.framing import Frames, encode
from headwater_server.retrieval.store.index.sending import Sending

pytestmark = pytest.mark.anyio


@pytest.fixture
def pipe() -> Iterator[tuple[int, Sending]]:
    source, sink = os.pipe()
    sending = Sending(sink)
    yield source, sending
    sending.close()
    os.close(source)


def read_messages(source: int, *, count: int) -> list[int]:
    frames = Frames()
    found: list[int] = []
    while len(found) < count:
        found += [message[0] for message in frames.feed(os.read(source, 1_000))]
    return found


async def test_frames_arrive_whole_and_in_order_however_much_there_is(pipe: tuple[int, Sending]) -> None:
    source, sending = pipe
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sending.run)
        for number in range(200):
            sending.put(encode((number, b"x" * 5_000)))  # a megabyte, into a pipe of 64 KiB
        assert sending.is_full
        with anyio.fail_after(60):
            assert await to_thread.run_sync(lambda: read_messages(source, count=200)) == list(range(200))
            sending.put(encode((200,)))
            assert await to_thread.run_sync(lambda: read_messages(source, count=1)) == [200]
        tasks.cancel_scope.cancel()


async def test_what_no_one_reads_any_more_is_refused_and_run_ends() -> None:
    source, sink = os.pipe()
    sending = Sending(sink)
    while not sending.is_full:
        sending.put(b"x" * 10_000)
    os.close(source)
    with anyio.fail_after(10):
        await sending.run()
    sending.close()
    with pytest.raises(BrokenPipeError):
        sending.put(b"x")
    sending.close()


async def test_closing_ends_what_the_other_side_reads(pipe: tuple[int, Sending]) -> None:
    source, sending = pipe
    sending.put(b"last")
    sending.close()
    assert os.read(source, 100) == b"last"
    assert os.read(source, 100) == b""
