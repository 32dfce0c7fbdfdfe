"""What the index does where its files can be written and not be brought to the disk, as on a full one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from headwater_server.retrieval.store.index import catch_up
from headwater_server.retrieval.store.index.catch_up import Shards
from headwater_server.retrieval.store.index.rebuilding import Rebuilding
from headwater_server.retrieval.store.index.shard import Shard
from headwater_server.retrieval.store.protocol import CorpusKey
from headwater_server.retrieval.store.truth.connection import open_reader
from headwater_server.retrieval.store.truth.writer import TruthWriter
from tests.retrieval.store.records import DIMENSION, document, passages

CORPUS = CorpusKey("acme", "papers")


class Clock:
    """Time as the index takes it, which goes on when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(catch_up, "time", SimpleNamespace(monotonic=lambda: self.now))


@contextmanager
def opened(folder: Path) -> Iterator[tuple[TruthWriter, Shards]]:
    writer = TruthWriter(folder / "truth.sqlite3", max_bytes=None)
    with closing(writer), closing(open_reader(folder / "truth.sqlite3")) as truth:
        rebuilding = Rebuilding(truth, folder / "truth.sqlite3", graph_from=10_000)
        shards = Shards(truth, folder / "index", rebuilding, flush_seconds=0.0)
        writer.create_corpus(CORPUS, dimension=DIMENSION, embedder="test")
        writer.replace_document(CORPUS, document("a"), passages("one", "two"))
        shards.start()
        yield writer, shards
        shards.close()


def test_an_index_that_cannot_flush_is_made_anew_with_ever_longer_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    flush = Shard.flush
    tried: list[float] = []

    def fail(_: Shard) -> None:
        tried.append(clock.now)
        raise OSError(28, "No space left on device")

    def run(shards: Shards, *, until: float) -> None:
        while clock.now < until:
            shards.work()
            shards.flush_when_due()
            clock.now += 0.25

    with opened(tmp_path) as (_, shards):
        monkeypatch.setattr(Shard, "flush", fail)
        run(shards, until=16.0)
        pauses = [round(later - earlier) for earlier, later in itertools.pairwise(tried)]
        assert pauses == [0, 1, 2, 4, 8]
        monkeypatch.setattr(Shard, "flush", flush)
        run(shards, until=40.0)
        assert shards.applied == 2
        assert (tmp_path / "index" / "1" / "state.json").exists()
