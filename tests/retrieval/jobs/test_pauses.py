from __future__ import annotations

import math

import anyio
import pytest

from headwater_server.retrieval.jobs.pauses import Pauses
from headwater_server.retrieval.store.protocol import CorpusKey

ONE, OTHER = CorpusKey("acme", "one"), CorpusKey("acme", "other")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Holds the time, which goes on only where a test says so."""
    time = [100.0]
    monkeypatch.setattr(anyio, "current_time", lambda: time[0])
    return time


def test_nobody_waits_at_first(clock: list[float]) -> None:
    pauses = Pauses(first=1, longest=8)
    assert (list(pauses.paused()), pauses.seconds()) == ([], math.inf)


def test_a_corpus_waits_twice_as_long_each_time_until_the_longest(clock: list[float]) -> None:
    pauses = Pauses(first=1, longest=5)
    lengths = []
    for _ in range(5):
        lengths.append(pauses.begin(ONE))
        assert list(pauses.paused()) == [ONE]
        assert pauses.seconds() == lengths[-1]
        clock[0] += lengths[-1]
        assert list(pauses.paused()) == []
    assert lengths == [1, 2, 4, 5, 5]
    pauses.end(ONE)
    assert pauses.begin(ONE) == 1


def test_several_jobs_that_meet_the_same_failure_count_once(clock: list[float]) -> None:
    pauses = Pauses(first=1, longest=5)
    assert [pauses.begin(ONE) for _ in range(3)] == [1, 1, 1]


def test_corpora_wait_by_themselves(clock: list[float]) -> None:
    pauses = Pauses(first=1, longest=5)
    pauses.begin(ONE)
    clock[0] += 0.5
    pauses.begin(OTHER)
    assert set(pauses.paused()) == {ONE, OTHER}
    assert pauses.seconds() == 0.5
    pauses.end(ONE)
    assert list(pauses.paused()) == [OTHER]
    assert pauses.seconds() == 1
