from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.catalog import DocumentKey
from headwater_server.retrieval.jobs.progress import Progress, ProgressBoard, Stage
from headwater_server.retrieval.store.protocol import CorpusKey

KEY = DocumentKey("acme", "handbook", "leave")
OTHER = DocumentKey("globex", "handbook", "leave")


@pytest.mark.anyio
async def test_a_watcher_sees_every_stage_and_the_latest_step_of_each() -> None:
    board = ProgressBoard()
    with board.watch(KEY) as watch:
        steps = [
            Progress(Stage.RECEIVED),
            Progress(Stage.SPLIT, 0, 9),
            Progress(Stage.SPLIT, 4, 9),
            Progress(Stage.SPLIT, 8, 9),
            Progress(Stage.EMBEDDED, 9, 9),
        ]
        for step in steps:
            board.publish(KEY, step)
        board.state_changed(KEY)
        seen = [await watch.next() for _ in range(4)]
    assert seen == [steps[0], steps[3], steps[4], None]


@pytest.mark.anyio
async def test_a_watcher_waits_for_news_of_its_own_document() -> None:
    board = ProgressBoard()
    with board.watch(KEY) as watch:
        board.publish(OTHER, Progress(Stage.SPLIT))
        with anyio.move_on_after(0.01) as waiting:
            await watch.next()
        assert waiting.cancelled_caught
        board.publish(KEY, Progress(Stage.PARSED))
        assert await watch.next() == Progress(Stage.PARSED)


@pytest.mark.anyio
@given(st.lists(st.sampled_from([*Stage, None]), max_size=60))
async def test_a_watcher_who_sleeps_misses_nothing_that_is_last(steps: list[Stage | None]) -> None:
    board = ProgressBoard()
    with board.watch(KEY) as watch:
        for number, stage in enumerate(steps):
            if stage is None:
                board.state_changed(KEY)
            else:
                board.publish(KEY, Progress(stage, number))
        published = [Progress(stage, number) for number, stage in enumerate(steps) if stage is not None]
        seen: list[Progress | None] = []

        async def look() -> None:
            while True:
                seen.append(await watch.next())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            for _ in range(4 * len(steps) + 4):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    real = [step for step in seen if step is not None]
    assert real == sorted(real, key=lambda step: step.embedded_passages)
    assert len(real) <= 2 * len(Stage)
    assert real[-1:] == published[-1:]
    assert (None in seen) == (None in steps)


def test_the_latest_progress_is_forgotten_when_the_work_has_ended() -> None:
    board = ProgressBoard()
    assert board.latest(KEY) == Progress()
    board.publish(KEY, Progress(Stage.SPLIT, 1, 2))
    assert board.latest(KEY) == Progress(Stage.SPLIT, 1, 2)
    assert board.latest(OTHER) == Progress()
    board.state_changed(KEY)
    assert board.latest(KEY) == Progress()


def test_watches_are_known_by_corpus_until_they_end() -> None:
    board = ProgressBoard()
    with board.watch(KEY), board.watch(OTHER):
        assert board.watched_in(CorpusKey("acme", "handbook")) == [KEY]
    assert board.watched_in(CorpusKey("acme", "handbook")) == []
