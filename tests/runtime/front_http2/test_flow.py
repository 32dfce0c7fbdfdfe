"""Flow control, and what a connection lets a peer do."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.runtime.front_http2.budget import ALLOWANCE, PER_SECOND, Budget
from headwater_server.runtime.front_http2.frames import (
    PREFACE,
    ConnectionBroken,
    ErrorCode,
    Frame,
    FrameReader,
    StreamBroken,
)
from headwater_server.runtime.front_http2.kept import MAX_KEPT_BYTES, MAX_KEPT_BYTES_OF_ALL, Kept
from headwater_server.runtime.front_http2.sending import DEFAULT_WINDOW, WRITE_AHEAD_BYTES, Outgoing, Sender

pytestmark = pytest.mark.anyio


class Clock:
    """Tells the time that it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Peer:
    """Reads the frames that are sent to it."""

    def __init__(self) -> None:
        self._reader = FrameReader()
        list(self._reader.read(PREFACE))
        self.frames: list[Frame] = []

    def __call__(self, data: bytes) -> None:
        self.frames += self._reader.read(data)

    def data(self, stream: int) -> bytes:
        return b"".join(frame.payload for frame in self.frames if frame.stream == stream)


def test_an_allowance_is_spent_and_comes_back_with_time_and_with_work() -> None:
    clock = Clock()
    budget = Budget(clock)
    budget.spend(ALLOWANCE)
    with pytest.raises(ConnectionBroken) as caught:
        budget.spend(1)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM
    clock.now += 1.0
    budget.spend(PER_SECOND - 2)
    with pytest.raises(ConnectionBroken):
        budget.spend(2)
    budget.earn(10)
    budget.spend(5)


def test_time_gives_no_more_than_the_allowance() -> None:
    clock = Clock()
    budget = Budget(clock)
    clock.now = 1e9
    budget.spend(ALLOWANCE)
    budget.spend(ALLOWANCE)
    with pytest.raises(ConnectionBroken):
        budget.spend(1)


def test_what_is_kept_is_counted_for_each_connection_and_for_all() -> None:
    everything = Kept()
    connections = [Kept(everything) for _ in range(MAX_KEPT_BYTES_OF_ALL // MAX_KEPT_BYTES + 1)]
    for one in connections[:-1]:
        one.add(MAX_KEPT_BYTES)
        assert not one.too_much
    connections[-1].add(1)
    assert connections[-1].too_much
    connections[0].add(-1)
    assert everything.total == MAX_KEPT_BYTES_OF_ALL
    connections[-1].add(MAX_KEPT_BYTES)
    assert connections[-1].too_much


def test_both_windows_bound_what_is_sent_and_the_rest_waits() -> None:
    peer = Peer()
    sender = Sender(peer)
    first, second = sender.open(1), sender.open(3)
    sender.send(first, bytes(DEFAULT_WINDOW - 10))
    sender.send(second, b"0123456789abc")
    assert (peer.data(3), bytes(second.waiting)) == (b"0123456789", b"abc")
    sender.widen(0, 2)
    assert peer.data(3) == b"0123456789ab"
    sender.begin_with(0)
    sender.widen(0, 100)
    sender.send(first, b"x")
    assert bytes(second.waiting) == b"c"
    assert second.window < 0
    sender.widen(3, 20)
    assert peer.data(3) == b"0123456789abc"
    assert bytes(first.waiting) == b"x"


def test_nothing_is_sent_while_the_system_takes_nothing() -> None:
    peer = Peer()
    sender = Sender(peer)
    out = sender.open(1)
    sender.pause()
    sender.send(out, b"a")
    assert not peer.frames
    sender.resume()
    assert peer.data(1) == b"a"


def test_the_end_comes_after_all_that_waits_and_never_where_the_stream_is_gone() -> None:
    peer = Peer()
    sender = Sender(peer)
    sender.begin_with(2)
    first, second = sender.open(1), sender.open(3)
    ended: list[int] = []
    for out in (first, second):
        sender.send(out, b"abc")
        sender.after(out, lambda stream=out.stream: ended.append(stream))  # type: ignore[misc]  # a default that binds
    sender.close(3)
    assert not ended
    sender.widen(1, 1)
    sender.widen(3, 1)
    assert (ended, peer.data(1), peer.data(3)) == ([1], b"abc", b"ab")
    sender.after(first, lambda: ended.append(0))
    assert ended == [1, 0]


def test_windows_beyond_all_bounds_break_what_they_are_of() -> None:
    sender = Sender(Peer())
    sender.open(1)
    with pytest.raises(StreamBroken):
        sender.widen(1, 2**31 - 1)
    with pytest.raises(StreamBroken):
        sender.widen(1, 0)
    with pytest.raises(ConnectionBroken):
        sender.widen(0, 2**31 - 1)
    with pytest.raises(ConnectionBroken):
        Sender(Peer()).begin_with(2**31)
    sender.widen(99, 5)  # of a stream that is closed


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from([1, 3, 5]), st.integers(0, 40_000)),
        st.tuples(st.just("widen"), st.sampled_from([0, 1, 3, 5]), st.integers(1, 100_000)),
        st.tuples(st.just("initial"), st.just(0), st.integers(0, 200_000)),
        st.tuples(st.just("pause"), st.just(0), st.integers(0, 1)),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_no_window_is_overrun_and_every_byte_comes_once_and_in_order(
    steps: list[tuple[str, int, int]],
) -> None:
    peer = Peer()
    sender = Sender(peer)
    outs = {stream: sender.open(stream) for stream in (1, 3, 5)}
    allowed, initial = {0: DEFAULT_WINDOW, 1: 0, 3: 0, 5: 0}, DEFAULT_WINDOW
    sent = dict.fromkeys(outs, b"")
    for kind, stream, size in steps:
        if kind == "send":
            data = bytes((len(sent[stream]) + number) % 251 for number in range(size))
            sent[stream] += data
            sender.send(outs[stream], data)
        elif kind == "widen":
            allowed[stream] += size
            sender.widen(stream, size)
        elif kind == "initial":
            initial = size
            sender.begin_with(size)
        elif size:
            sender.pause()
        else:
            sender.resume()
        assert sum(len(peer.data(one)) for one in outs) <= allowed[0]
        for one, out in outs.items():
            assert out.window == initial + allowed[one] - len(peer.data(one))
    sender.resume()
    sender.begin_with(2**30)
    sender.widen(0, 2**30)
    assert {one: peer.data(one) for one in outs} == {one: sent[one] for one in outs}


async def _relieved(out: Outgoing) -> bool:
    waiting = asyncio.create_task(out.relieved())
    for _ in range(3):
        await asyncio.sleep(0)
    if not waiting.done():
        waiting.cancel()
        return False
    await waiting
    return True


async def test_who_writes_much_waits_until_little_waits_or_the_stream_is_gone() -> None:
    sender = Sender(Peer())
    sender.begin_with(0)
    first, second = sender.open(1), sender.open(3)
    sender.send(first, bytes(WRITE_AHEAD_BYTES))
    assert await _relieved(first)
    sender.send(first, b"x")
    assert not await _relieved(first)
    waiting = asyncio.create_task(first.relieved())
    await asyncio.sleep(0)
    sender.widen(1, 1)
    await waiting
    sender.send(second, bytes(WRITE_AHEAD_BYTES + 1))
    waiting = asyncio.create_task(second.relieved())
    await asyncio.sleep(0)
    sender.close(3)
    await waiting


async def test_large_and_small_streams_take_turns() -> None:
    peer = Peer()
    sender = Sender(peer)
    large, small = sender.open(1), sender.open(3)
    sender.pause()
    sender.send(large, bytes(60_000))
    sender.send(small, b"small")
    sender.resume()
    assert [frame.stream for frame in peer.frames][:2] == [1, 3]
