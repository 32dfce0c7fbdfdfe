from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest

from headwater_server.retrieval.catalog import SqliteCatalog
from headwater_server.retrieval.jobs import waiting
from headwater_server.retrieval.jobs.room import has_room, require_room, size_in_store
from headwater_server.retrieval.jobs.waiting import wait_until_found
from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.protocol import CorpusKey, StoreFull
from tests.retrieval.store.records import passages

MIB = 1024 * 1024


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("total", "free", "size", "room"),
    [
        (100_000 * MIB, 64 * MIB, 0, True),
        (100_000 * MIB, 64 * MIB - 1, 0, False),
        (100_000 * MIB, 164 * MIB, 100 * MIB, True),
        (100_000 * MIB, 164 * MIB, 100 * MIB + 1, False),
        (96 * MIB, 6 * MIB, 0, True),
        (96 * MIB, 6 * MIB - 1, 0, False),
    ],
)
def test_a_reserve_is_left_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, total: int, free: int, size: int, room: bool
) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(total, total - free, free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert has_room(tmp_path / "not" / "there", size_bytes=size) is room
    assert asked == [tmp_path]


def with_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100_000 * MIB, 100_000 * MIB - free, free))


def test_passages_take_their_texts_and_vectors_and_more() -> None:
    small, large = (size_in_store(passages(*("Gr\u00f6\u00dfe" * count,) * 100)) for count in (1, 1_000))
    assert small >= 100 * (8 * 4 + 7)
    assert large - small >= 2 * 100 * 999 * 7


@pytest.mark.anyio
async def test_a_job_goes_on_only_with_room_for_all_of_its_passages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = passages(*("word " * 200 for _ in range(100)))
    async with SqliteCatalog.open(tmp_path) as catalog:
        with_free(monkeypatch, 64 * MIB + size_in_store(many))
        await require_room(catalog, "acme", size_bytes=size_in_store(many))
        with_free(monkeypatch, 64 * MIB + size_in_store(many) - 1)
        await require_room(catalog, "acme", size_bytes=size_in_store(many[1:]))
        with pytest.raises(StoreFull):
            await require_room(catalog, "acme", size_bytes=size_in_store(many))


@pytest.mark.anyio
async def test_an_index_that_lags_behind_is_waited_for_while_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_APPLY_SECONDS", 0.01)
    corpus = CorpusKey("acme", "papers")
    async with SqliteCatalog.open(tmp_path) as catalog, EmbeddedStore.open(tmp_path / "store") as store:
        with_free(monkeypatch, 64 * MIB)
        written = await store.create_corpus(corpus, dimension=8, embedder="test/8")
        with anyio.fail_after(60):
            await wait_until_found(store, catalog, written, corpus=corpus)
            with_free(monkeypatch, 64 * MIB - 1)
            with pytest.raises(StoreFull):
                await wait_until_found(store, catalog, written + 1, corpus=corpus)
