"""Large corpora: those whose vectors are in a graph, which another process makes anew beside the one in use."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import anyio
import numpy as np
import pytest

from headwater.v1 import filter_pb2
from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.index.rebuilding import QUIET_SECONDS, seconds_until_due
from headwater_server.retrieval.store.index.seal import read_sealed_json
from headwater_server.retrieval.store.index.shard import Progress
from headwater_server.retrieval.store.protocol import CorpusKey, SearchMode, Vector
from tests.retrieval.store.records import DIMENSION, EMBEDDER, Op, compares, document, passages, query, texts, vector
from tests.retrieval.store.test_embedded_faults import eventually, index_process, is_gone, seeded

pytestmark = pytest.mark.anyio

CORPUS = CorpusKey("tenant", "corpus")
GRAPH_FROM = 200
LIMIT_SECONDS = 120


def content(numbers: Iterable[int]) -> list[str]:
    return [f"passage {number}" for number in numbers]


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[EmbeddedStore]:
    async with EmbeddedStore.open(directory, graph_from=GRAPH_FROM, flush_seconds=0.05) as store:
        await store.create_corpus(CORPUS, dimension=DIMENSION, embedder=EMBEDDER)
        yield store


async def write(store: EmbeddedStore, document_id: str, contents: Sequence[str]) -> None:
    await store.wait_applied(await store.replace_document(CORPUS, document(document_id), passages(*contents)))


def state(directory: Path) -> dict[str, int | str]:
    """What the shard of the one corpus says of itself, as it was last flushed."""
    with suppress(FileNotFoundError):  # not flushed yet
        return read_sealed_json((directory / "index" / "1" / "state.json").read_bytes())
    return {"data": "", "indexed": 0}


async def graph_made(directory: Path, *, after: str = "data-0") -> str:
    """Waits until a shard made anew has taken the place of the one in that folder; returns its own."""
    with anyio.fail_after(LIMIT_SECONDS):
        while state(directory)["data"] in ("", after):  # noqa: ASYNC110 (what other processes do sets no event here)
            await anyio.sleep(0.02)
    return str(state(directory)["data"])


async def found(store: EmbeddedStore, *, condition: filter_pb2.Filter | None = None) -> list[str]:
    """The texts of all passages by the lexical search, which is exact, once the index is current."""
    asked = query("passage", CORPUS, mode=SearchMode.LEXICAL, limit=1_000, condition=condition)
    with anyio.fail_after(LIMIT_SECONDS):
        while not (result := await store.search(asked)).current:  # noqa: ASYNC110 (as above)
            await anyio.sleep(0.01)
    assert len(result.hits) < 1_000
    return sorted(texts(result))


async def recall(store: EmbeddedStore, contents: Sequence[str], *, condition: filter_pb2.Filter | None = None) -> float:
    """How much of the nearest ten the dense search finds, on the average of forty queries."""
    matrix = np.stack([vector(text) for text in contents])
    shares = []
    for number in range(40):
        asked = query(f"question {number}", CORPUS, mode=SearchMode.DENSE, condition=condition)
        assert asked.vector is not None
        nearest = np.argsort(-(matrix @ asked.vector))[:10]
        result = await store.search(asked)
        shares.append(len({contents[each] for each in nearest} & set(texts(result))) / len(nearest))
        assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)
        for hit in result.hits:
            assert hit.cosine == pytest.approx(float(asked.vector @ vector(hit.text)), abs=1e-4)
    return statistics.mean(shares)


def children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


async def test_a_graph_finds_nearly_all_of_the_nearest(tmp_path: Path) -> None:
    contents = content(range(3_000))
    async with opened(tmp_path) as store:
        for start in range(0, 3_000, 300):
            await write(store, f"d{start}", contents[start : start + 300])
        await graph_made(tmp_path)
        assert await recall(store, contents) >= 0.95
        await store.wait_applied(await store.delete_document(CORPUS, "d0"))
        await write(store, "new", content(range(3_000, 3_100)))  # beside the graph
        assert await recall(store, contents[300:] + content(range(3_000, 3_100))) >= 0.95


async def test_a_small_corpus_has_no_graph_and_is_exact(tmp_path: Path) -> None:
    contents = content(range(GRAPH_FROM - 1))
    async with opened(tmp_path) as store:
        await write(store, "d", contents)
        assert await recall(store, contents) == 1.0
        assert children(await index_process(store)) == []
    assert state(tmp_path)["data"] == "data-0"


async def test_what_is_written_while_a_graph_is_made_is_there_afterwards(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for number in range(6):
            await write(store, f"d{number}", content(range(number * 60, number * 60 + 60)))
        pid = await index_process(store)
        await eventually(lambda: bool(children(pid)) or state(tmp_path)["data"] == "data-1")
        await store.delete_document(CORPUS, "d0")
        await write(store, "d1", content(range(1_000, 1_010)))
        await store.update_document(CORPUS, document("d2", changed=True))
        expected = sorted([*content(range(120, 360)), *content(range(1_000, 1_010))])
        assert await found(store) == expected  # from the old shard
        await graph_made(tmp_path)
        assert await found(store) == expected
        changed = compares("changed", Op.COMPARISON_OPERATOR_EQ, True)
        assert await found(store, condition=changed) == sorted(content(range(120, 180)))
        assert store.index_pid == pid
    async with opened(tmp_path) as store:
        assert await found(store) == expected


async def test_searches_and_writes_go_on_while_graphs_are_made(tmp_path: Path) -> None:
    """Every write makes another graph due, so that several take each other's place under the searches."""
    async with opened(tmp_path) as store:
        await write(store, "steady", content(range(300)))
        data = "data-0"
        for number in range(3):
            await write(store, "moving", content(range(300, 300 + 200 + number)))
            while state(tmp_path)["data"] == data:
                result = await store.search(query("passage", CORPUS, mode=SearchMode.LEXICAL, limit=1_000))
                assert set(content(range(300))) <= set(texts(result))
                assert await found(store) == sorted(content(range(500 + number)))
            data = str(state(tmp_path)["data"])
        await graph_made(tmp_path)
        assert await found(store) == sorted(content(range(502)))
    folders = [path.name for path in (tmp_path / "index" / "1").iterdir() if path.is_dir()]
    assert folders == [state(tmp_path)["data"]]


async def test_killing_whoever_makes_a_graph_or_searches_loses_nothing(tmp_path: Path) -> None:
    moments = seeded(4)
    expected: list[str] = []
    killed: list[int] = []
    for round_number in range(8):
        async with opened(tmp_path) as store:
            contents = content(range(round_number * 110, round_number * 110 + 110))
            await write(store, f"d{round_number}", contents)
            expected += contents
            pid = await index_process(store)
            await anyio.sleep(moments.uniform(0, 1.5))
            makers = children(pid)
            victim = moments.choice([pid, *makers])
            killed += makers
            with suppress(ProcessLookupError):  # a maker may just have ended
                os.kill(victim, signal.SIGKILL)
            assert await found(store) == sorted(expected)
            if round_number % 3 == 2:
                await store.delete_document(CORPUS, f"d{round_number - 1}")
                expected = [text for text in expected if int(text.split()[1]) // 110 != round_number - 1]
                assert await found(store) == sorted(expected)
    for pid in killed:
        await eventually(lambda pid=pid: is_gone(pid))  # type: ignore[misc]  # mypy cannot type a default of a lambda
    async with opened(tmp_path) as store:
        assert await found(store) == sorted(expected)
        assert await recall(store, expected) >= 0.9


async def test_a_graph_survives_closing_and_what_never_took_its_place_goes(tmp_path: Path) -> None:
    contents = content(range(400))
    async with opened(tmp_path) as store:
        await write(store, "d", contents)
        data = await graph_made(tmp_path)
    shard = tmp_path / "index" / "1"
    shutil.copytree(shard / data, shard / "data-77")  # as if it had been made and its process killed
    async with opened(tmp_path) as store:
        assert await recall(store, contents) >= 0.95
        assert await found(store) == sorted(contents)
    assert state(tmp_path)["data"] == data
    assert state(tmp_path)["indexed"] == 400
    assert not (shard / "data-77").exists()


async def test_deleting_a_corpus_ends_the_making_of_its_graph(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await write(store, "d", content(range(900)))
        pid = await index_process(store)
        await eventually(lambda: bool(children(pid)) or state(tmp_path)["data"] == "data-1")
        await store.wait_applied(await store.delete_corpus(CORPUS))
        await eventually(lambda: children(pid) == [])
        assert list((tmp_path / "index").iterdir()) == []
        await store.create_corpus(CORPUS, dimension=DIMENSION, embedder=EMBEDDER)
        await write(store, "d", content(range(20)))
        assert await found(store) == sorted(content(range(20)))


@pytest.mark.parametrize(("share", "per_document"), [(0.01, 1), (0.01, 5), (0.5, 5), (0.9, 1)])
async def test_filters_of_any_breadth_find_what_they_leave(tmp_path: Path, share: float, per_document: int) -> None:
    """By breadth their documents are searched by name, or among all and deeper."""
    number = 2_000
    async with opened(tmp_path) as store:
        for each in range(0, number, per_document):
            wanted = each % 100 < share * 100
            contents = content(range(each, each + per_document))
            await store.replace_document(CORPUS, document(f"d{each}", wanted=wanted), passages(*contents))
        await graph_made(tmp_path)
        condition = compares("wanted", Op.COMPARISON_OPERATOR_EQ, True)
        left = content(each for each in range(number) if each // per_document * per_document % 100 < share * 100)
        assert await recall(store, left, condition=condition) >= 0.97
        asked = query("passage", CORPUS, mode=SearchMode.LEXICAL, limit=1_000, condition=condition)
        result = await store.search(asked)
        assert len(result.hits) == min(1_000, len(left))
        assert set(texts(result)) <= set(left)
        changed = replace(document("d0", wanted=False), title="out")
        await store.update_document(CORPUS, changed)  # what was kept of the filter no longer holds
        assert "passage 0" not in texts(await store.search(query("passage 0", CORPUS, condition=condition)))


async def test_a_broad_filter_whose_documents_are_all_far_from_the_query_is_exact_too(tmp_path: Path) -> None:
    towards = vector("here")
    drawn = np.random.default_rng(5)

    def near(sign: int) -> Vector:
        moved: Vector = np.float32(sign) * towards + np.float32(0.3) * drawn.standard_normal(DIMENSION, np.float32)
        return moved / np.float32(np.linalg.norm(moved))

    far = {f"d{each}": near(-1) for each in range(1_200)}
    async with EmbeddedStore.open(tmp_path) as store:
        await store.create_corpus(CORPUS, dimension=DIMENSION, embedder=EMBEDDER)
        for each in range(1_200):
            await store.replace_document(
                CORPUS, document(f"d{each}", far=True), [replace(passages("far")[0], vector=far[f"d{each}"])]
            )
        close = [replace(passage, vector=near(1)) for passage in passages(*content(range(1_200)))]
        for each, passage in enumerate(close):
            version = await store.replace_document(CORPUS, document(f"c{each}", far=False), [passage])
        await store.wait_applied(version)
        condition = compares("far", Op.COMPARISON_OPERATOR_EQ, True)
        asked = replace(query("here", CORPUS, mode=SearchMode.DENSE, condition=condition), vector=towards)
        result = await store.search(asked)
    best = sorted(far, key=lambda each: -float(towards @ far[each]))[:10]
    assert {hit.document.document_id for hit in result.hits} == set(best)


def due(*, indexed: int, fresh: int, dead: int = 0, quiet_for: float = 0.0) -> float | None:
    progress = Progress(passage=0, removed=0, applied=0, dead=dead, indexed=indexed, fresh=fresh)
    return seconds_until_due(progress, quiet_for=quiet_for, least=10_000)


def test_a_shard_is_made_anew_when_enough_was_added_or_removed() -> None:
    assert due(indexed=0, fresh=9_999, quiet_for=100.0) is None
    assert due(indexed=0, fresh=10_000) == 0.0
    assert due(indexed=100_000, fresh=9_999, quiet_for=100.0) is None
    assert due(indexed=100_000, fresh=50_000) == 0.0
    assert due(indexed=500, fresh=20_000, dead=20_000) == 0.0
    assert due(indexed=100_000, fresh=0, dead=20_000, quiet_for=100.0) is None


def test_after_a_pause_in_the_writing_less_is_enough() -> None:
    assert due(indexed=100_000, fresh=10_000) == QUIET_SECONDS
    assert due(indexed=100_000, fresh=10_000, quiet_for=QUIET_SECONDS + 1) == 0.0
