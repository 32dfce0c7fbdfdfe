"""How much of the disk the databases' write-ahead logs keep."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from headwater_server import sqlite_wal
from headwater_server.retrieval.catalog.database import Database, transaction
from headwater_server.retrieval.store.protocol import CorpusKey, StoreFull
from headwater_server.retrieval.store.truth.writer import TruthWriter
from tests.retrieval.store.records import DIMENSION, EMBEDDER, document, passages

CORPUS = CorpusKey("tenant", "corpus")
MIB = 1 << 20


def log_bytes(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def large(mebibytes: int) -> list[str]:
    return ["word " * (MIB // 5) for _ in range(mebibytes)]


def test_a_write_that_finds_no_room_gives_back_what_it_took(tmp_path: Path) -> None:
    path = tmp_path / "truth.sqlite3"
    with closing(TruthWriter(path, max_bytes=8 * MIB)) as writer:
        writer.create_corpus(CORPUS, dimension=DIMENSION, embedder=EMBEDDER)
        with pytest.raises(StoreFull):
            writer.replace_document(CORPUS, document("large"), passages(*large(16)))
        assert log_bytes(path) == 0
        writer.replace_document(CORPUS, document("small"), passages("a passage"))


def test_what_a_large_write_took_is_given_back_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_wal, "_LOG_BYTES", MIB)
    path = tmp_path / "truth.sqlite3"
    with closing(TruthWriter(path)) as writer:
        writer.create_corpus(CORPUS, dimension=DIMENSION, embedder=EMBEDDER)
        writer.replace_document(CORPUS, document("large"), passages(*large(8)))
        writer.replace_document(CORPUS, document("small"), passages("a passage"))
        assert log_bytes(path) <= MIB


def test_the_catalog_s_log_is_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_wal, "_LOG_BYTES", MIB)
    path = tmp_path / "catalog.sqlite"
    with closing(Database(path)) as opened:
        opened.writer.execute("CREATE TABLE texts (text TEXT)")
        for mebibytes in (8, 0):
            with transaction(opened.writer):
                opened.writer.executemany("INSERT INTO texts VALUES (?)", [(text,) for text in large(mebibytes)])
                opened.writer.execute("INSERT INTO texts VALUES ('')")
        assert log_bytes(path) <= MIB
