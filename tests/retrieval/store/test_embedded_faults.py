"""What the embedded store promises beyond the conformance suite: to lose nothing it has acknowledged."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.index import client
from headwater_server.retrieval.store.protocol import CorpusKey, SearchMode, StoreFull, StoreUnavailable
from headwater_server.retrieval.store.truth import schema
from tests.retrieval.store.records import DIMENSION, EMBEDDER, document, filled, passages, query, texts

pytestmark = pytest.mark.anyio

CORPUS = CorpusKey("tenant", "corpus")
LIMIT_SECONDS = 60
PAGE_BYTES = 4096


async def found_by_every_mode(store: EmbeddedStore, corpus: CorpusKey = CORPUS) -> list[str]:
    """The texts of all passages that have the word `passage`, once the index is current; every mode has the same."""
    with anyio.fail_after(LIMIT_SECONDS):
        await store.search(query("passage", corpus))  # the index looks, and may find that it lags
        while True:
            results = [await store.search(query("passage", corpus, mode=mode, limit=1_000)) for mode in SearchMode]
            if all(result.current for result in results):
                break
            await anyio.sleep(0.01)
    lists = [sorted(texts(result)) for result in results]
    assert lists[0] == lists[1] == lists[2]
    assert len(lists[0]) < 1_000
    return lists[0]


def content(number: int, *, parts: int = 3) -> list[str]:
    return [f"passage {number} part {part}" for part in range(parts)]


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 (moments and places, not secrets)


async def eventually(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(LIMIT_SECONDS):
        while not condition():  # noqa: ASYNC110 (what other processes do sets no event here)
            await anyio.sleep(0.005)


async def index_process(store: EmbeddedStore, *, other_than: int | None = None) -> int:
    await eventually(lambda: store.index_pid not in (None, other_than))
    assert store.index_pid is not None
    return store.index_pid


def is_gone(pid: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


async def test_killing_the_index_process_loses_nothing_and_searches_go_on(tmp_path: Path) -> None:
    moments = seeded(1)
    expected: list[str] = []
    async with EmbeddedStore.open(tmp_path, flush_seconds=0.05) as store:
        await store.create_corpus(CORPUS, dimension=DIMENSION, embedder=EMBEDDER)
        for round_number in range(6):
            for number in range(round_number * 30, round_number * 30 + 30):
                await store.replace_document(CORPUS, document(f"d{number}"), passages(*content(number)))
                expected += content(number)
            if round_number % 2:
                await store.delete_document(CORPUS, f"d{round_number}")
                expected = [text for text in expected if text not in content(round_number)]
            pid = await index_process(store)
            await anyio.sleep(moments.uniform(0, 0.5))
            os.kill(pid, signal.SIGKILL)
            assert await found_by_every_mode(store) == sorted(expected)
            assert store.index_pid != pid
    async with EmbeddedStore.open(tmp_path) as store:
        assert await found_by_every_mode(store) == sorted(expected)


OWNER = """
import random, sys
from pathlib import Path
import anyio
from headwater_server.retrieval.store.embedded import EmbeddedStore
from tests.retrieval.store.records import DIMENSION, EMBEDDER, document, passages
from tests.retrieval.store.test_embedded_faults import CORPUS, content

async def main():
    first = int(sys.argv[2])
    async with EmbeddedStore.open(Path(sys.argv[1]), flush_seconds=0.05) as store:
        await store.create_corpus(CORPUS, dimension=DIMENSION, embedder=EMBEDDER)
        while store.index_pid is None:
            await anyio.sleep(0.001)
        print("index", store.index_pid, flush=True)
        for number in range(first, first + 100_000):
            print("writing", number, flush=True)
            await store.replace_document(CORPUS, document(f"d{number}"), passages(*content(number)))
            print("written", number, flush=True)
            await anyio.sleep(0.01)  # all that five owners write is to fit into one result
            if number % 10 == 9:
                print("deleting", number - 5, flush=True)
                await store.delete_document(CORPUS, f"d{number - 5}")
                print("deleted", number - 5, flush=True)

anyio.run(main)
"""


def run_and_kill_owner(directory: Path, first: int, seconds: float) -> list[tuple[str, int]]:
    """Runs an owner until it has written a document, and that many seconds more; returns what it said."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory), str(first)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        said = list(itertools.islice(owner.stdout, 3))  # index, writing, written
        time.sleep(seconds)
        owner.kill()
        said += owner.stdout.read().splitlines(keepends=True)
    whole = [line.split() for line in said if line.endswith("\n")]  # the last may be cut
    return [(word, int(number)) for word, number in whole]


async def test_killing_the_owner_at_any_moment_loses_no_acknowledged_document(tmp_path: Path) -> None:
    moments = seeded(2)
    said: dict[str, set[int]] = {word: set() for word in ("index", "writing", "written", "deleting", "deleted")}
    for attempt in range(5):
        owner_said = await to_thread.run_sync(run_and_kill_owner, tmp_path, attempt * 1_000, moments.uniform(0, 0.6))
        for word, number in owner_said:
            said[word].add(number)
        async with EmbeddedStore.open(tmp_path) as store:
            found = await found_by_every_mode(store)
        documents = {int(text.split()[1]) for text in found}
        assert sorted(text for number in documents for text in content(number)) == found  # whole or not at all
        assert said["written"] - said["deleting"] <= documents <= said["writing"] - said["deleted"]
    for pid in said["index"]:
        await eventually(partial(is_gone, pid))


@pytest.mark.parametrize("damage", ["deleted", "emptied", "garbage in the state", "an opening that never ended"])
async def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: str) -> None:
    async with EmbeddedStore.open(tmp_path) as store:
        await filled(store, CORPUS, {f"d{number}": content(number) for number in range(20)})
    index = tmp_path / "index"
    (shard,) = index.iterdir()
    match damage:
        case "deleted":
            shutil.rmtree(index)
        case "emptied":
            for file in (path for path in shard.rglob("*") if path.is_file() and path.name != "state.json"):
                file.write_bytes(b"")
        case "garbage in the state":
            (shard / "state.json").write_text("{}")
        case _:
            (shard / "opening").touch()
    async with EmbeddedStore.open(tmp_path) as store:
        assert len(await found_by_every_mode(store)) == 60
        await store.replace_document(CORPUS, document("new"), passages("a new passage"))
        assert "a new passage" in await found_by_every_mode(store)


async def test_a_flipped_byte_in_the_index_hides_no_document(tmp_path: Path) -> None:
    pick = seeded(3)
    expected = sorted(text for number in range(20) for text in content(number))
    async with EmbeddedStore.open(tmp_path) as store:
        await filled(store, CORPUS, {f"d{number}": content(number) for number in range(20)})
    for _ in range(15):
        files = sorted(path for path in (tmp_path / "index").rglob("*") if path.is_file())
        flip_a_bit(pick.choice([path for path in files if path.stat().st_size]), pick)
        async with EmbeddedStore.open(tmp_path) as store:
            assert await found_by_every_mode(store) == expected


def flip_a_bit(file: Path, pick: random.Random) -> None:
    """Flips a bit among the first bytes that are used."""
    with file.open("r+b") as opened:
        place = pick.randrange(len(opened.read(1 << 16).rstrip(b"\0")) or 1)
        opened.seek(place)
        byte = opened.read(1)[0]
        opened.seek(place)
        opened.write(bytes([byte ^ 1 << pick.randrange(8)]))


async def test_an_index_of_other_passages_is_noticed(tmp_path: Path) -> None:
    async with EmbeddedStore.open(tmp_path / "one") as store:
        await filled(store, CORPUS, {f"d{number}": content(number) for number in range(20)})
    async with EmbeddedStore.open(tmp_path / "two") as store:
        await filled(store, CORPUS, {"d": ["passage"]})
        await filled(store, CORPUS, {f"d{number}": content(number) for number in range(20)})
        await store.wait_applied(await store.delete_document(CORPUS, "d"))
    shutil.rmtree(tmp_path / "one" / "index" / "1" / "data-0")
    shutil.copytree(tmp_path / "two" / "index" / "1" / "data-0", tmp_path / "one" / "index" / "1" / "data-0")
    async with EmbeddedStore.open(tmp_path / "one") as store:
        assert await found_by_every_mode(store) == sorted(text for number in range(20) for text in content(number))


async def test_a_damaged_page_of_one_corpus_holds_up_no_other(tmp_path: Path) -> None:
    other = CorpusKey("another tenant", "corpus")
    async with EmbeddedStore.open(tmp_path) as store:
        await filled(store, CORPUS, {f"d{number}": long_content(number) for number in range(10)})
        await filled(store, other, {"d": ["passage"]})
    damage_page_with(tmp_path / "truth.sqlite3", b"passage 5 part 10")
    shutil.rmtree(tmp_path / "index")  # so that all of it must be read
    async with EmbeddedStore.open(tmp_path) as store:
        pid = await index_process(store)
        for text in ("second passage", "third passage"):
            with anyio.fail_after(LIMIT_SECONDS):
                await store.wait_applied(await store.replace_document(other, document(text), passages(text)))
        assert await found_by_every_mode(store, other) == ["passage", "second passage", "third passage"]
        result = await store.search(query("passage", CORPUS))
        assert not result.current
        assert store.index_pid == pid


async def test_a_damaged_list_of_corpora_is_told_and_ends_nothing(tmp_path: Path) -> None:
    async with EmbeddedStore.open(tmp_path) as store:
        await filled(store, CORPUS, {"d": ["passage"]})
    index = sorted((tmp_path / "index").rglob("*"))
    intact = damage_page(tmp_path / "truth.sqlite3", root_page(tmp_path / "truth.sqlite3", "corpora"))
    async with EmbeddedStore.open(tmp_path) as store:
        pid = await index_process(store)
        with anyio.fail_after(LIMIT_SECONDS):
            for _ in range(5):
                with pytest.raises(StoreUnavailable):
                    await store.search(query("passage", CORPUS))
        assert store.index_pid == pid
    assert sorted((tmp_path / "index").rglob("*")) == index
    (tmp_path / "truth.sqlite3").write_bytes(intact)
    async with EmbeddedStore.open(tmp_path) as store:
        assert await found_by_every_mode(store) == ["passage"]


def root_page(database: Path, table: str) -> int:
    """The first page of a table of a closed database, counted from 0."""
    with closing(sqlite3.connect(database)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()
    return int(page) - 1


def damage_page_with(database: Path, text: bytes) -> None:
    """Overwrites the first page of a closed database that has a text in it."""
    damage_page(database, database.read_bytes().index(text) // PAGE_BYTES)


def damage_page(database: Path, page: int) -> bytes:
    """Overwrites a page of a closed database; returns what the file was."""
    intact = database.read_bytes()
    with database.open("r+b") as opened:
        opened.seek(page * PAGE_BYTES)
        opened.write(b"\xff" * PAGE_BYTES)
    return intact


def long_content(number: int) -> list[str]:
    return [text + " and more" * 500 for text in content(number, parts=20)]


async def test_a_full_store_refuses_whole_documents_and_goes_on_searching(tmp_path: Path) -> None:
    async with EmbeddedStore.open(tmp_path, max_bytes=4 << 20) as store:
        await store.create_corpus(CORPUS, dimension=DIMENSION, embedder=EMBEDDER)
        written: list[int] = []

        async def write_until_full() -> None:
            for number in range(1_000):
                await store.replace_document(CORPUS, document(f"d{number}"), passages(*long_content(number)))
                written.append(number)

        with pytest.raises(StoreFull):
            await write_until_full()
        assert written
        with pytest.raises(StoreFull):
            await store.replace_document(CORPUS, document("d0"), passages(*(text * 20 for text in long_content(0))))
        assert await store.count_passages(CORPUS) == 20 * len(written)
        assert len(await found_by_every_mode(store)) == 20 * len(written)
        for number in written:
            await store.delete_document(CORPUS, f"d{number}")
        assert await found_by_every_mode(store) == []
        await store.replace_document(CORPUS, document("again"), passages(*long_content(0)))
        assert await found_by_every_mode(store) == sorted(long_content(0))


FILLER = """
import resource, sys
from pathlib import Path
import anyio
from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.protocol import StoreFull
from tests.retrieval.store.records import DIMENSION, EMBEDDER, document, passages
from tests.retrieval.store.test_embedded_faults import CORPUS, content

async def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    async with EmbeddedStore.open(Path(sys.argv[1])) as store:
        await store.create_corpus(CORPUS, dimension=DIMENSION, embedder=EMBEDDER)
        try:
            for number in range(1_000):
                await store.replace_document(
                    CORPUS, document(f"d{number}"), passages(*(text + " and more" * 500 for text in content(number)))
                )
                print(number, flush=True)
        except StoreFull:
            print("full", await store.count_passages(CORPUS), flush=True)

anyio.run(main)
"""


async def test_a_file_that_cannot_grow_is_a_full_store(tmp_path: Path) -> None:
    filler = await anyio.run_process([sys.executable, "-c", FILLER, str(tmp_path)], check=False)
    *written, last = filler.stdout.decode().splitlines()
    assert last == f"full {3 * len(written)}", filler.stderr.decode()
    async with EmbeddedStore.open(tmp_path) as store:
        assert len(await found_by_every_mode(store)) == 3 * len(written)


async def test_a_frozen_index_process_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with EmbeddedStore.open(tmp_path) as store:
        await filled(store, CORPUS, {"d": ["passage"]})
        pid = await index_process(store)
        monkeypatch.setattr(client, "SEARCH_SECONDS", 0.3)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(StoreUnavailable):
            await store.search(query("passage", CORPUS))
        await index_process(store, other_than=pid)
        monkeypatch.setattr(client, "SEARCH_SECONDS", float(LIMIT_SECONDS))
        assert await found_by_every_mode(store) == ["passage"]


async def test_an_interrupt_does_not_end_the_index_process(tmp_path: Path) -> None:
    async with EmbeddedStore.open(tmp_path) as store:
        await filled(store, CORPUS, {"d": ["passage"]})
        pid = await index_process(store)
        os.kill(pid, signal.SIGINT)
        assert await found_by_every_mode(store) == ["passage"]
        assert store.index_pid == pid
        assert os.getsid(pid) != os.getsid(0)  # a terminal's Ctrl-C does not even reach it


async def test_closing_ends_the_index_process_and_refuses_everything_after(tmp_path: Path) -> None:
    async with EmbeddedStore.open(tmp_path) as store:
        version = await filled(store, CORPUS, {"d": ["passage"]})
        pid = await index_process(store)
    await eventually(lambda: is_gone(pid))
    for refused in (
        store.search(query("passage", CORPUS)),
        store.replace_document(CORPUS, document("d"), []),
        store.count_passages(CORPUS),
        store.wait_applied(version),
        store.applied_version(),
    ):
        with pytest.raises(StoreUnavailable):
            await refused


async def test_what_fails_while_the_store_is_open_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with EmbeddedStore.open(tmp_path):
            raise KeyError("mine")


async def test_more_corpora_than_shards_that_are_open_at_once(tmp_path: Path) -> None:
    corpora = [CorpusKey("tenant", f"corpus-{number}") for number in range(40)]
    async with EmbeddedStore.open(tmp_path) as store:
        for number, corpus in enumerate(corpora):
            await filled(store, corpus, {"d": [f"passage of {number}"]})
        for number, corpus in enumerate(corpora):
            assert await found_by_every_mode(store, corpus) == [f"passage of {number}"]
        for start in range(0, 40, 10):
            result = await store.search(query("passage", *corpora[start : start + 10], limit=100))
            assert sorted(texts(result)) == sorted(f"passage of {start + number}" for number in range(10))
            assert result.current


async def test_the_index_of_a_deleted_corpus_leaves_the_disk(tmp_path: Path) -> None:
    kept = CorpusKey("tenant", "kept")
    async with EmbeddedStore.open(tmp_path) as store:
        await filled(store, kept, {"d": ["passage"]})
        await filled(store, CORPUS, {"d": ["passage"]})
        assert len(list((tmp_path / "index").iterdir())) == 2
        await store.wait_applied(await store.delete_corpus(CORPUS))
        assert len(list((tmp_path / "index").iterdir())) == 1


async def test_changes_that_were_flushed_are_forgotten(tmp_path: Path) -> None:
    async with EmbeddedStore.open(tmp_path, flush_seconds=0.01) as store:
        await filled(store, CORPUS, {f"d{number}": content(number) for number in range(20)})
        truth = sqlite3.connect(tmp_path / "truth.sqlite3")
        await eventually(lambda: truth.execute("SELECT count(*) FROM changes").fetchone() == (0,))
        truth.close()
        version = await store.delete_document(CORPUS, "d0")
        assert version == 22
        assert len(await found_by_every_mode(store)) == 57


async def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    async with EmbeddedStore.open(tmp_path) as store:
        await filled(store, CORPUS, {"d": ["passage"]})
    truth = sqlite3.connect(tmp_path / "truth.sqlite3")
    truth.execute("PRAGMA user_version = 99")
    truth.close()
    with pytest.raises(StoreUnavailable, match="version 99"):
        async with EmbeddedStore.open(tmp_path):
            pass


async def test_a_store_of_an_older_version_is_brought_to_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with EmbeddedStore.open(tmp_path) as store:
        await filled(store, CORPUS, {"d": ["passage"]})

    def add_table(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE later (tenant TEXT)")

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, add_table))
    async with EmbeddedStore.open(tmp_path) as store:
        assert await found_by_every_mode(store) == ["passage"]
    truth = sqlite3.connect(tmp_path / "truth.sqlite3")
    assert truth.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    assert truth.execute("SELECT count(*) FROM later").fetchone() == (0,)
    truth.close()


@pytest.mark.parametrize("wrong", ["no database", "another's database"])
async def test_a_file_that_is_no_store_is_refused_and_kept(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "truth.sqlite3"
    if wrong == "no database":
        path.write_bytes(b"something else entirely\n" * 100)
    else:
        other = sqlite3.connect(path)
        other.execute("PRAGMA user_version = 1")
        other.execute("CREATE TABLE theirs (x)")
        other.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match=r"database|store"):
        async with EmbeddedStore.open(tmp_path):
            pass
    assert path.read_bytes()[100:] == before[100:]


async def test_every_table_has_its_tenant(tmp_path: Path) -> None:
    async with EmbeddedStore.open(tmp_path):
        pass
    truth = sqlite3.connect(tmp_path / "truth.sqlite3")
    tables = [name for (name,) in truth.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    for table in tables:
        columns = [column[1] for column in truth.execute(f"PRAGMA table_info({table})")]
        assert "tenant" in columns or table.startswith("sqlite_")
    truth.close()
    assert len(tables) >= 5
