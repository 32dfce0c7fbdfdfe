"""Shards that are made anew beside those in use, while other things happen."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from headwater_server.retrieval.store.index import catch_up, rebuilding
from headwater_server.retrieval.store.index.catch_up import Shards
from headwater_server.retrieval.store.index.rebuilding import Rebuilding
from headwater_server.retrieval.store.protocol import CorpusKey
from headwater_server.retrieval.store.truth.connection import open_reader
from headwater_server.retrieval.store.truth.reader import get_corpus
from headwater_server.retrieval.store.truth.writer import TruthWriter
from tests.retrieval.store.records import DIMENSION, document, passages

CORPORA = [CorpusKey("acme", f"papers-{number}") for number in range(4)]
GRAPH_FROM = 5
LIMIT_SECONDS = 60


@contextmanager
def opened(folder: Path) -> Iterator[tuple[sqlite3.Connection, Shards]]:
    """The shards of four corpora, of which only the first is large enough to be made anew."""
    writer = TruthWriter(folder / "truth.sqlite3")
    with closing(writer), closing(open_reader(folder / "truth.sqlite3")) as truth:
        anew = Rebuilding(truth, folder / "truth.sqlite3", graph_from=GRAPH_FROM)
        shards = Shards(truth, folder / "index", anew, flush_seconds=0.0)
        for corpus in CORPORA:
            writer.create_corpus(corpus, dimension=DIMENSION, embedder="test")
        writer.replace_document(CORPORA[0], document("a"), passages(*(f"passage {n}" for n in range(GRAPH_FROM))))
        for corpus in CORPORA[1:]:
            writer.replace_document(corpus, document("a"), passages("passage"))
        shards.start()
        yield truth, shards
        shards.close()


def work_until(shards: Shards, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        shards.work()
        shards.flush_when_due()


def indexed(truth: sqlite3.Connection, shards: Shards, row: int) -> int:
    """How many passages the shard in use was made anew with."""
    corpus = get_corpus(truth, row)
    assert corpus is not None
    shard = shards.get(corpus)
    return 0 if shard is None else shard.progress.indexed


def test_opening_many_others_leaves_the_shard_that_is_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = []
    monkeypatch.setattr(Rebuilding, "failed", lambda _, error: failures.append(error))
    with opened(tmp_path) as (truth, shards):
        work_until(shards, lambda: bool(shards.waits_for))
        monkeypatch.setattr(catch_up, "MOST_OPEN", 2)

        def made_anew() -> bool:
            assert failures == []
            return max(indexed(truth, shards, row) for row in (2, 3, 4, 1)) == GRAPH_FROM

        work_until(shards, made_anew)


def test_a_shard_cannot_be_made_anew_of_what_cannot_be_read_and_the_one_in_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def damaged(*_: object) -> bool:
        tried.append(1)
        raise sqlite3.DatabaseError("database disk image is malformed")

    with opened(tmp_path) as (truth, shards):
        work_until(shards, lambda: bool(shards.waits_for))
        monkeypatch.setattr(rebuilding, "apply_next", damaged)
        work_until(shards, lambda: bool(tried))
        assert not shards.waits_for
        assert indexed(truth, shards, 1) == 0
        corpus = get_corpus(truth, 1)
        assert corpus is not None
        assert shards.is_current(corpus)
