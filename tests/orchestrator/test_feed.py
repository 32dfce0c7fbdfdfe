from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.v1 import answer_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.answer_log.protocol import NewAnswer
from headwater_server.orchestrator.feed import PENDING_BYTES, TAIL_BYTES, Feed
from headwater_server.orchestrator.journal import Journal
from headwater_server.orchestrator.transcript import Transcript, header
from tests.orchestrator.events import citation, ended, reasoning, text
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules

pytestmark = pytest.mark.anyio

LONG = 60.0
"""A patience, in seconds, that no test uses up."""
ENDING = ended().answer


class Reader:
    """Reads a feed, and remembers how far it is."""

    def __init__(self, feed: Feed, after: int = 0) -> None:
        self._feed = feed
        self.after = after

    async def take(self, patience: float = LONG) -> Sequence[AnswerChunk]:
        chunks = await self._feed.take(self.after, patience)
        if chunks:
            self.after = chunks[-1].sequence
        return chunks

    async def rest(self) -> list[AnswerChunk]:
        chunks: list[AnswerChunk] = []
        while not (chunks and chunks[-1].HasField("answer")):
            chunks += await self.take()
        return chunks


async def begun(*, logged: bool = True) -> tuple[Feed, Transcript, Reader]:
    """A feed whose answer has one source, and takes text."""
    transcript = Transcript(header(name="answers/a", request_id="", prompt="p", labels={}, created_at=0))
    answer_log = MemoryAnswerLog()
    writer = await answer_log.begin(NewAnswer("answers/a", "t", b"", 0.0)) if logged else None
    feed = Feed(transcript, Journal(answer_log, writer))
    feed.put_numbered([transcript.add_started("assistants/a/b")])
    feed.put_numbered(transcript.add_retrieved([source_pb2.Source(content="c")], source_pb2.RetrievalStatistics()))
    return feed, transcript, Reader(feed)


def nobody() -> None:
    """Nothing happens when the last reader leaves."""


async def finish(feed: Feed, transcript: Transcript) -> None:
    feed.number_pending()
    feed.put_numbered([transcript.add_answer(ENDING)])
    await feed.flush()
    feed.end()


async def test_a_reader_that_waits_gets_each_piece_by_itself() -> None:
    feed, _, reader = await begun()
    await reader.take()
    taken: list[Sequence[AnswerChunk]] = []

    async def read() -> None:
        while len(taken) < 3:
            taken.append(await reader.take())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        for word in ("one ", "two ", "three"):
            await wait_all_tasks_blocked()
            feed.put(text(word))
    assert [[chunk.text.text for chunk in chunks] for chunks in taken] == [["one "], ["two "], ["three"]]


async def test_while_all_readers_are_away_neighbours_are_merged_and_the_order_kept() -> None:
    feed, _, reader = await begun()
    for event in (text("a"), text("é"), reasoning("x"), reasoning("y"), text("b"), citation(0, 3, "1"), text("c")):
        feed.put(event)
    chunks = await reader.take()
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


async def test_every_reader_gets_the_same_events_however_late_it_comes() -> None:
    feed, transcript, first = await begun()
    seen = list(await first.take())
    for letter in "abc":
        feed.put(text(letter))
        seen += await first.take()
    late = Reader(feed)
    assert list(await late.take()) == seen
    await finish(feed, transcript)
    assert await late.rest() == await first.rest()
    assert await Reader(feed, after=3).rest() == (await Reader(feed).rest())[3:]


async def test_a_reader_who_is_far_behind_reads_from_the_log() -> None:
    feed, transcript, first = await begun()
    seen = list(await first.take())
    for letter in "abcdef":
        feed.put(text(letter * (TAIL_BYTES // 3)))
        seen += await first.take()
    await finish(feed, transcript)
    seen += await first.rest()
    assert await Reader(feed).rest() == seen
    assert_rules(seen)


async def test_without_a_log_everything_stays_in_memory() -> None:
    feed, transcript, first = await begun(logged=False)
    for letter in "abcdef":
        feed.put(text(letter * (TAIL_BYTES // 3)))
        await first.take()
    await finish(feed, transcript)
    assert_rules(await Reader(feed).rest())


async def test_two_citations_are_never_merged_and_one_that_does_not_hold_is_left_out() -> None:
    feed, _, reader = await begun()
    for event in (text("abc"), citation(0, 1, "1"), citation(0, 9, "1"), citation(1, 2, "1")):
        feed.put(event)
    chunks = await reader.take()
    kept = [(chunk.citation.start_byte, chunk.citation.end_byte) for chunk in chunks if chunk.HasField("citation")]
    assert kept == [(0, 1), (1, 2)]


async def test_a_full_feed_makes_the_writer_wait_until_a_reader_comes() -> None:
    feed, _, reader = await begun()
    written = 0

    async def write() -> None:
        nonlocal written
        for _ in range(10):
            await feed.wait_for_room()
            feed.put(text("x" * (PENDING_BYTES // 4)))
            written += 1

    with feed.reading(left=nobody):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            await wait_all_tasks_blocked()
            assert (written, feed.full) == (4, True)
            await reader.take()
            await wait_all_tasks_blocked()
            assert (written, feed.full) == (8, True)
            await reader.take()
    assert written == 10


async def test_a_writer_waits_for_nobody_once_the_last_reader_has_gone() -> None:
    feed, _, _ = await begun()
    gone: list[bool] = []
    async with anyio.create_task_group() as tasks:
        with feed.reading(left=lambda: gone.append(True)), feed.reading(left=lambda: gone.append(True)):
            feed.put(text("x" * PENDING_BYTES))
            tasks.start_soon(feed.wait_for_room)
            await wait_all_tasks_blocked()
            assert not gone
    assert (gone, feed.deserted, feed.visits) == ([True], True, 2)


async def test_silence_gives_an_empty_take_and_loses_nothing() -> None:
    feed, _, reader = await begun()
    assert len(await reader.take(0.001)) == 2
    assert await reader.take(0.001) == []
    feed.put(text("late"))
    assert [chunk.text.text for chunk in await reader.take(0.001)] == ["late"]


async def test_a_wait_that_was_cut_short_takes_no_patience_off_the_next_nor_adds_to_it() -> None:
    feed, _, reader = await begun()
    await reader.take()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.take)  # patient
        await wait_all_tasks_blocked()
        feed.put(text("heard"))
    assert reader.after == 3
    assert await reader.take(0.001) == []


async def test_each_reader_waits_for_as_long_as_it_will() -> None:
    feed, _, patient = await begun()
    await patient.take()
    hasty = Reader(feed, patient.after)
    heard: list[Sequence[AnswerChunk]] = []

    async def wait() -> None:
        heard.append(await patient.take())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await wait_all_tasks_blocked()
        assert await hasty.take(0.001) == []
        assert await hasty.take(0.001) == []
        assert heard == []
        feed.put(text("both"))
    assert heard == [await hasty.take()]


async def test_a_failure_is_raised_after_all_that_came_before_it() -> None:
    feed, _, reader = await begun()
    feed.put(text("part"))
    await feed.flush()
    feed.end(KeyError("first"))
    feed.end(ValueError("second"))
    assert [chunk.sequence for chunk in await reader.take()] == [1, 2, 3]
    for _ in range(2):
        with pytest.raises(KeyError):
            await reader.take()


async def test_a_failure_reaches_readers_that_wait() -> None:
    feed, _, reader = await begun()
    await reader.take()
    async with anyio.create_task_group() as tasks:

        async def read() -> None:
            with pytest.raises(KeyError):
                await Reader(feed, after=2).take()

        tasks.start_soon(read)
        tasks.start_soon(read)
        await wait_all_tasks_blocked()
        feed.end(KeyError("away"))


async def test_a_reader_that_is_cancelled_while_it_waits_loses_nothing() -> None:
    feed, _, reader = await begun()
    await reader.take()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.take)
        await wait_all_tasks_blocked()
        feed.put(text("kept"))
        tasks.cancel_scope.cancel()
    assert [chunk.text.text for chunk in await Reader(feed, after=2).take()] == ["kept"]


async def test_the_terminal_message_comes_after_what_waits() -> None:
    feed, transcript, reader = await begun()
    feed.put(text("all of it"))
    await finish(feed, transcript)
    feed.end(KeyError("too late to fail"))
    answer = assert_rules(await reader.rest())
    assert answer.text == "all of it"
    assert await reader.take() == []


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


async def _write(feed: Feed, transcript: Transcript, written: Sequence[tuple[tuple[str, str], int]]) -> None:
    for piece, pause in written:
        await feed.wait_for_room()
        feed.put(event_of(piece))
        for _ in range(pause):
            await checkpoint()
    await finish(feed, transcript)


async def _read(feed: Feed, pauses: Sequence[int], chunks: list[AnswerChunk]) -> None:
    turn, reader = 0, Reader(feed)
    with feed.reading(left=nobody):
        while not (chunks and chunks[-1].HasField("answer")):
            chunks += await reader.take()
            for _ in range(pauses[turn % len(pauses)]):
                await checkpoint()
            turn += 1


async def _race(written: Sequence[tuple[tuple[str, str], int]], *readers: Sequence[int]) -> list[list[AnswerChunk]]:
    feed, transcript, _ = await begun()
    results: list[list[AnswerChunk]] = [[] for _ in readers]
    async with anyio.create_task_group() as tasks:
        for pauses, chunks in zip(readers, results, strict=True):
            tasks.start_soon(_read, feed, pauses, chunks)
        tasks.start_soon(_write, feed, transcript, written)
    return results


def _runs(events: Sequence[AnswerChunk]) -> list[tuple[str | None, str]]:
    """What was said, with neighbours of a kind joined: what merging must not change."""
    kinds = [(event.WhichOneof("event"), event.text.text + event.reasoning.text) for event in events]
    return [(kind, "".join(said for _, said in run)) for kind, run in groupby(kinds, key=lambda item: item[0])]


pausing = st.lists(st.integers(0, 6), min_size=1, max_size=6)


@settings(deadline=None)
@given(steps, pausing, pausing)
def test_however_they_interleave_nothing_is_lost_or_reordered_and_all_readers_get_the_same(
    written: list[tuple[tuple[str, str], int]], pauses: list[int], other_pauses: list[int]
) -> None:
    chunks, others = anyio.run(partial(_race, written, pauses, other_pauses))
    assert chunks == others
    answer = assert_begins_by_the_rules(chunks)
    assert isinstance(answer, answer_pb2.Answer)
    # A citation of an unknown source, or of text that is not there, is left out by the transcript: by both alike.
    (expected,) = anyio.run(partial(_race, [(piece, 5) for piece, _ in written], [0]))
    assert _runs(chunks) == _runs(expected)
    assert answer.text == "".join(event_of(piece).text.text for piece, _ in written)


async def test_all_that_is_kept_in_memory_for_readers_is_counted() -> None:
    transcript = Transcript(header(name="answers/a", request_id="", prompt="p", labels={}, created_at=0))
    answer_log = MemoryAnswerLog(max_bytes=3 * TAIL_BYTES)
    feed = Feed(transcript, Journal(answer_log, await answer_log.begin(NewAnswer("answers/a", "t", b"", 0.0))))
    source = source_pb2.Source(content="c" * 1000)
    feed.put_numbered([transcript.add_started("assistants/a/b")])
    feed.put_numbered(transcript.add_retrieved([source], source_pb2.RetrievalStatistics()))
    assert feed.buffered_bytes > 1000, "what is numbered and not yet logged"
    piece = "x" * (TAIL_BYTES // 2)
    for _ in range(5):
        feed.put(text(piece))
        await feed.flush()
    assert feed.buffered_bytes < 2 * TAIL_BYTES, "the log has the rest"
    for _ in range(2):
        feed.put(text(piece))
        await feed.flush()
    assert feed.buffered_bytes > 7 * len(piece), "nobody else has it"
