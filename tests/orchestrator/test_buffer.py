from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from headwater.v1 import answer_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.orchestrator.buffer import PENDING_BYTES, EventBuffer
from headwater_server.orchestrator.transcript import Transcript, header
from tests.orchestrator.events import citation, ended, reasoning, text
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules

pytestmark = pytest.mark.anyio

LONG = 60.0
"""A patience, in seconds, that no test uses up."""
ENDING = ended().answer


def begun() -> tuple[EventBuffer, Transcript]:
    """A buffer whose answer has one source, and takes text."""
    transcript = Transcript(header(name="answers/a", request_id="", prompt="p", labels={}, created_at=0))
    buffer = EventBuffer(transcript)
    buffer.put_numbered([transcript.add_started("assistants/a/b")])
    buffer.put_numbered(transcript.add_retrieved([source_pb2.Source(content="c")], source_pb2.RetrievalStatistics()))
    return buffer, transcript


async def read_all(buffer: EventBuffer) -> list[AnswerChunk]:
    chunks: list[AnswerChunk] = []
    while not (chunks and chunks[-1].HasField("answer")):
        chunks += await buffer.take(LONG)
    return chunks


async def test_a_reader_that_waits_gets_each_piece_by_itself() -> None:
    buffer, _ = begun()
    await buffer.take(LONG)
    taken: list[list[AnswerChunk]] = []

    async def read() -> None:
        while len(taken) < 3:
            taken.append(await buffer.take(LONG))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        for word in ("one ", "two ", "three"):
            await wait_all_tasks_blocked()
            buffer.put(text(word))
    assert [[chunk.text.text for chunk in chunks] for chunks in taken] == [["one "], ["two "], ["three"]]


async def test_while_the_reader_is_away_neighbours_are_merged_and_the_order_kept() -> None:
    buffer, _ = begun()
    for event in (text("a"), text("é"), reasoning("x"), reasoning("y"), text("b"), citation(0, 3, "1"), text("c")):
        buffer.put(event)
    chunks = await buffer.take(LONG)
    assert [chunk.WhichOneof("event") for chunk in chunks] == [
        "started",
        "retrieved",
        "text",
        "reasoning",
        "text",
        "citation",
        "text",
    ]
    assert [chunk.text.text for chunk in chunks if chunk.HasField("text")] == ["aé", "b", "c"]
    assert [chunk.text.offset_bytes for chunk in chunks if chunk.HasField("text")] == [0, 3, 4]
    assert [chunk.reasoning.text for chunk in chunks if chunk.HasField("reasoning")] == ["xy"]


async def test_two_citations_are_never_merged_and_one_that_does_not_hold_is_left_out() -> None:
    buffer, _ = begun()
    for event in (text("abc"), citation(0, 1, "1"), citation(0, 9, "1"), citation(1, 2, "1")):
        buffer.put(event)
    chunks = await buffer.take(LONG)
    kept = [(chunk.citation.start_byte, chunk.citation.end_byte) for chunk in chunks if chunk.HasField("citation")]
    assert kept == [(0, 1), (1, 2)]


async def test_a_full_buffer_makes_the_writer_wait_until_its_reader_comes() -> None:
    buffer, _ = begun()
    written = 0

    async def write() -> None:
        nonlocal written
        for _ in range(10):
            await buffer.wait_for_room()
            buffer.put(text("x" * (PENDING_BYTES // 4)))
            written += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await wait_all_tasks_blocked()
        assert (written, buffer.full) == (4, True)
        await buffer.take(LONG)
        await wait_all_tasks_blocked()
        assert (written, buffer.full) == (8, True)
        await buffer.take(LONG)
    assert written == 10


async def test_silence_gives_an_empty_take_and_loses_nothing() -> None:
    buffer, _ = begun()
    assert len(await buffer.take(0.001)) == 2
    assert await buffer.take(0.001) == []
    buffer.put(text("late"))
    assert [chunk.text.text for chunk in await buffer.take(0.001)] == ["late"]


async def test_a_failure_is_raised_after_all_that_came_before_it() -> None:
    buffer, _ = begun()
    buffer.put(text("part"))
    buffer.fail(KeyError("first"))
    buffer.fail(ValueError("second"))
    assert [chunk.sequence for chunk in await buffer.take(LONG)] == [1, 2, 3]
    for _ in range(2):
        with pytest.raises(KeyError):
            await buffer.take(LONG)


async def test_a_failure_reaches_a_reader_that_waits() -> None:
    buffer, _ = begun()
    await buffer.take(LONG)
    async with anyio.create_task_group() as tasks:

        async def read() -> None:
            with pytest.raises(KeyError):
                await buffer.take(LONG)

        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        buffer.fail(KeyError("away"))


async def test_a_failure_is_raised_even_if_what_waits_breaks_a_rule() -> None:
    transcript = Transcript(header(name="answers/a", request_id="", prompt="p", labels={}, created_at=0))
    buffer = EventBuffer(transcript)
    buffer.put(text("before anything was retrieved"))
    with pytest.raises(Exception, match="speech comes after retrieved"):
        buffer.fail(KeyError("why"))
    with pytest.raises(KeyError):
        await buffer.take(LONG)


async def test_the_terminal_message_comes_after_what_waits() -> None:
    buffer, transcript = begun()
    buffer.put(text("all of it"))
    assert buffer.finish(ENDING) == transcript.terminal
    buffer.fail(KeyError("too late to fail"))
    answer = assert_rules(await buffer.take(LONG))
    assert answer.text == "all of it"


pieces = st.one_of(
    st.tuples(st.sampled_from(["text", "reasoning"]), st.text(alphabet="aé€𝄞", min_size=1, max_size=4)),
    st.tuples(st.just("large"), st.sampled_from("bß")),
    st.tuples(st.just("citation"), st.sampled_from(["1", "2"])),
)
steps = st.lists(st.tuples(pieces, st.integers(0, 3)), max_size=25)


def event_of(piece: tuple[str, str]) -> AnswerChunk:
    match piece:
        case ("text", said):
            return text(said)
        case ("reasoning", thought):
            return reasoning(thought)
        case ("large", letter):
            return text(letter * (PENDING_BYTES // 3))
        case (_, source_id):
            return citation(0, 1, source_id)


async def _write(buffer: EventBuffer, written: Sequence[tuple[tuple[str, str], int]]) -> None:
    for piece, pause in written:
        await buffer.wait_for_room()
        buffer.put(event_of(piece))
        for _ in range(pause):
            await checkpoint()
    buffer.finish(ENDING)


async def _read(buffer: EventBuffer, pauses: Sequence[int], chunks: list[AnswerChunk]) -> None:
    turn = 0
    while not (chunks and chunks[-1].HasField("answer")):
        taken = await buffer.take(LONG)
        assert sum(chunk.ByteSize() for chunk in taken if not chunk.HasField("answer")) < 2 * PENDING_BYTES
        chunks += taken
        for _ in range(pauses[turn % len(pauses)]):
            await checkpoint()
        turn += 1


async def _race(written: Sequence[tuple[tuple[str, str], int]], pauses: Sequence[int]) -> list[AnswerChunk]:
    buffer, _ = begun()
    chunks: list[AnswerChunk] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, buffer, pauses, chunks)
        tasks.start_soon(_write, buffer, written)
    return chunks


def _runs(events: Sequence[AnswerChunk]) -> list[tuple[str | None, str]]:
    """What was said, with neighbours of a kind joined: what merging must not change."""
    kinds = [(event.WhichOneof("event"), event.text.text + event.reasoning.text) for event in events]
    return [(kind, "".join(said for _, said in run)) for kind, run in groupby(kinds, key=lambda item: item[0])]


@given(steps, st.lists(st.integers(0, 6), min_size=1, max_size=6))
def test_however_the_two_interleave_nothing_is_lost_or_reordered(
    written: list[tuple[tuple[str, str], int]], pauses: list[int]
) -> None:
    chunks = anyio.run(partial(_race, written, pauses))
    answer = assert_begins_by_the_rules(chunks)
    assert isinstance(answer, answer_pb2.Answer)
    # A citation of an unknown source, or of text that is not there, is left out by the transcript: by both alike.
    expected = anyio.run(partial(_race, [(piece, 5) for piece, _ in written], [0]))
    assert _runs(chunks) == _runs(expected)
    assert answer.text == "".join(event_of(piece).text.text for piece, _ in written)
    assert len(chunks) <= len(expected)
