from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from headwater.v1.answer_pb2 import Answer, AnswerChunk, Citation, ReasoningDelta, TextDelta
from headwater_server.errors import Reason, ServiceError
from headwater_server.runtime.merging import WAITING_BYTES, merged

pytestmark = pytest.mark.anyio

ENDING = AnswerChunk(answer=Answer(name="answers/a"))
PIECES = st.tuples(st.sampled_from(["text", "reasoning", "citation"]), st.text(min_size=1, max_size=4))


def chunks_of(pieces: Sequence[tuple[str, str]]) -> list[AnswerChunk]:
    """An assistant's chunks, with the offsets that they have to have."""
    chunks, offset = [], 0
    for kind, text in pieces:
        if kind == "text":
            chunks.append(AnswerChunk(text=TextDelta(text=text, offset_bytes=offset)))
            offset += len(text.encode())
        elif kind == "reasoning":
            chunks.append(AnswerChunk(reasoning=ReasoningDelta(text=text)))
        else:
            chunks.append(AnswerChunk(citation=Citation(start_byte=0, end_byte=offset)))
    return [*chunks, ENDING]


async def saying(chunks: Sequence[AnswerChunk], failure: Exception | None = None) -> AsyncGenerator[AnswerChunk]:
    """Says all at once."""
    for chunk in chunks:
        copy = AnswerChunk()
        copy.CopyFrom(chunk)
        yield copy
    if failure is not None:
        raise failure


async def read(chunks: AsyncGenerator[AnswerChunk], *, busy_turns: int = 0) -> list[AnswerChunk]:
    """What a reader gets who is busy for some turns of the event loop with each message."""
    got = []
    async with aclosing(merged(chunks)) as messages:
        async for message in messages:
            got.append(message)
            for _ in range(busy_turns):
                await checkpoint()
    return got


def one_by_one(chunks: Sequence[AnswerChunk]) -> list[tuple[str, str]]:
    """The kinds in order, adjacent text and reasoning as one; the offsets of text are checked."""
    found: list[tuple[str, str]] = []
    offset = 0
    for chunk in chunks:
        kind = str(chunk.WhichOneof("event"))
        said = ""
        if kind == "text":
            assert chunk.text.offset_bytes == offset
            offset += len(chunk.text.text.encode())
            said = chunk.text.text
        elif kind == "reasoning":
            said = chunk.reasoning.text
        elif kind == "citation":
            said = str(chunk.citation)
        if said and found and found[-1][0] == kind != "citation":
            found[-1] = kind, found[-1][1] + said
        else:
            found.append((kind, said))
    return found


@given(st.lists(PIECES, max_size=40), st.integers(0, 3))
async def test_whatever_is_merged_the_stream_says_the_same_in_the_same_order(
    pieces: list[tuple[str, str]], busy_turns: int
) -> None:
    chunks = chunks_of(pieces)
    got = await read(saying(chunks), busy_turns=busy_turns)
    assert one_by_one(got) == one_by_one(chunks)
    assert got[-1] == ENDING


async def test_what_comes_while_the_reader_is_busy_is_one_message() -> None:
    chunks = chunks_of([("text", "word ")] * 500)
    assert len(await read(saying(chunks), busy_turns=5)) < 100


async def test_a_reader_who_waits_gets_each_piece_at_once() -> None:
    sender, receiver = anyio.create_memory_object_stream[AnswerChunk](0)

    async def heard() -> AsyncGenerator[AnswerChunk]:
        async for chunk in receiver:
            yield chunk

    chunks = chunks_of([("text", "a"), ("text", "b"), ("reasoning", "c")])
    async with sender, receiver, aclosing(merged(heard())) as messages:
        for chunk in chunks:
            with anyio.fail_after(5):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(sender.send, chunk)
                    assert await anext(messages) == chunk


async def test_texts_of_two_assistants_are_never_one() -> None:
    first = AnswerChunk(text=TextDelta(text="a", assistant="assistants/x/1"))
    second = AnswerChunk(text=TextDelta(text="b", offset_bytes=1, assistant="assistants/x/2"))
    assert await read(saying([first, second, ENDING])) == [first, second, ENDING]


async def test_a_failure_comes_after_all_that_was_said_before_it() -> None:
    got: list[AnswerChunk] = []
    failure = ServiceError(Reason.PROVIDER_TRUNCATED, "cut off")

    async def read_all() -> None:
        async with aclosing(merged(saying(chunks_of([("text", "a"), ("text", "b")])[:-1], failure))) as messages:
            async for message in messages:
                got.append(message)
                await checkpoint()

    with pytest.raises(ServiceError, match="cut off"):
        await read_all()
    assert "".join(chunk.text.text for chunk in got) == "ab"


async def test_an_assistant_waits_for_a_reader_who_does_not_read() -> None:
    said = 0

    async def without_end() -> AsyncGenerator[AnswerChunk]:
        nonlocal said
        while True:
            said += 1
            yield AnswerChunk(text=TextDelta(text="x" * 1000))

    async with aclosing(merged(without_end())) as messages:
        await anext(messages)
        for _ in range(1000):
            await checkpoint()
        assert said <= 2 * WAITING_BYTES / 1000
        before = said
        await anext(messages)
        await checkpoint()
        assert said > before


async def test_who_stops_reading_closes_the_stream() -> None:
    closed = anyio.Event()

    async def without_end() -> AsyncGenerator[AnswerChunk]:
        try:
            yield AnswerChunk(text=TextDelta(text="x"))
            await anyio.sleep_forever()
        finally:
            closed.set()

    async with aclosing(merged(without_end())) as messages:
        await anext(messages)
    assert closed.is_set()


async def test_who_is_cancelled_while_it_waits_closes_the_stream() -> None:
    closed = anyio.Event()

    async def silent() -> AsyncGenerator[AnswerChunk]:
        try:
            await anyio.sleep_forever()
            yield AnswerChunk()
        finally:
            closed.set()

    with anyio.move_on_after(0.01):
        await read(silent())
    assert closed.is_set()
