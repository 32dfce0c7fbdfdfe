"""Folders of earlier versions, and of later ones."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest

from headwater.v1 import document_pb2, source_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.interfaces import Caller
from headwater_server.retrieval.catalog.schema import MIGRATIONS as CATALOG_MIGRATIONS
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.maintenance.backup import back_up
from headwater_server.retrieval.maintenance.examination import examine
from headwater_server.retrieval.maintenance.layout import Layout, MaintenanceError
from headwater_server.retrieval.maintenance.versions import FORMATS
from headwater_server.retrieval.opening import open_retrieval
from headwater_server.retrieval.service import RetrievalCore
from headwater_server.retrieval.store.truth.schema import MIGRATIONS as STORE_MIGRATIONS
from headwater_server.runtime.data_dir import FORMAT, FORMAT_NAME, DataDirNewer, owned
from tests.serving import headwater

FOLDERS = Path(__file__).with_name("formats")
CALLER = Caller(tenant="local")
HANDBOOK = "corpora/handbook/documents"
EARLIER = [str(number) for number in range(1, FORMAT)]


def restored(number: str, target: Path) -> Layout:
    """A data folder of an earlier format."""
    layout = Layout.of_data_folder(target)
    layout.store.mkdir(parents=True)
    for path, dump in ((layout.catalog, "catalog.sql"), (layout.truth, "truth.sql")):
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript((FOLDERS / number / dump).read_text())
            connection.execute("PRAGMA journal_mode = WAL")
    shutil.copytree(FOLDERS / number / "contents", layout.contents)
    return layout


@asynccontextmanager
async def opened(layout: Layout) -> AsyncGenerator[RetrievalCore]:
    async with open_retrieval(layout.root, RetrievalConfig(workers=1)) as core:
        yield core


async def document(core: RetrievalCore, name: str) -> document_pb2.Document:
    with anyio.fail_after(60):
        async with aclosing(core.watch_document(pb.WatchDocumentRequest(name=name), CALLER)) as responses:
            return [response.document async for response in responses][-1]


async def first_source(core: RetrievalCore, query: str, corpus: str) -> source_pb2.Source:
    options = source_pb2.RetrievalOptions(query=query, corpora=[corpus])
    async with aclosing(core.retrieve(pb.RetrieveRequest(options=options), CALLER)) as responses:
        sources = [source async for response in responses for source in response.sources]
    return sources[0]


@pytest.mark.parametrize("number", EARLIER)
def test_documents_of_an_earlier_format_are_ready_and_found(tmp_path: Path, number: str) -> None:
    layout = restored(number, tmp_path)

    async def check() -> None:
        async with opened(layout) as core:
            lighthouse = await document(core, f"{HANDBOOK}/lighthouse")
            assert lighthouse.state == document_pb2.DOCUMENT_STATE_READY
            assert lighthouse.title == "The Lighthouse"
            assert lighthouse.metadata["year"].int64_value == 1856
            pending = await document(core, f"{HANDBOOK}/pending")
            assert pending.state == document_pb2.DOCUMENT_STATE_READY
            broken = await document(core, "corpora/default/documents/broken")
            assert broken.state == document_pb2.DOCUMENT_STATE_FAILED
            assert "damaged" in broken.error.message
            for query, corpus, name in (
                ("When was the lighthouse of Kampen lit?", "corpora/handbook", f"{HANDBOOK}/lighthouse"),
                ("Wann fährt die Fähre nach Sylt?", "corpora/handbook", f"{HANDBOOK}/ferry"),
                ("Who keeps the keys of the crane?", "corpora/handbook", f"{HANDBOOK}/pending"),
                ("When does the cook make soup?", "corpora/default", "corpora/default/documents/cook"),
            ):
                source = await first_source(core, query, corpus)
                assert source.document == name
                assert source.cosine > 0.3
            handbook = await core.get_corpus(pb.GetCorpusRequest(name="corpora/handbook"), CALLER)
            assert (handbook.display_name, handbook.labels["zustand"]) == ("The handbook", "gültig")

    anyio.run(check)
    assert list(examine(layout, in_use=False)) == []


def test_the_language_of_a_passage_of_an_earlier_format_is_looked_after_from_now_on(tmp_path: Path) -> None:
    layout = restored("2", tmp_path)

    async def open_once() -> None:
        async with opened(layout):
            pass

    anyio.run(open_once)
    assert list(examine(layout, in_use=False)) == []
    with closing(sqlite3.connect(layout.truth)) as connection:
        assert connection.execute("UPDATE passages SET language = 'da' WHERE language = 'de'").rowcount == 1
        connection.commit()
    assert [damage.detail for damage in examine(layout, in_use=False)] == ["its row has changed"]


def test_an_earlier_folder_can_be_backed_up_before_it_is_opened(tmp_path: Path) -> None:
    restored("1", tmp_path / "data")
    report = back_up(tmp_path / "data", tmp_path / "copy", progress=lambda _: None)
    assert report.documents == 5
    with pytest.raises(MaintenanceError, match="start a server on the folder once"):
        list(examine(Layout.of_data_folder(tmp_path / "copy"), in_use=False))


def test_the_number_of_the_format_grows_with_the_databases() -> None:
    """Whoever adds a migration raises FORMAT, adds to FORMATS, and adds a folder of the format before to the tests."""
    assert len(FORMATS) == FORMAT
    assert FORMATS[-1] == (len(CATALOG_MIGRATIONS), len(STORE_MIGRATIONS))
    for number, (catalog, store) in enumerate(FORMATS[:-1], start=1):
        folder = FOLDERS / str(number)
        assert f"PRAGMA user_version = {catalog};" in (folder / "catalog.sql").read_text()
        assert f"PRAGMA user_version = {store};" in (folder / "truth.sql").read_text()


@pytest.mark.parametrize("newer", ["catalog.sqlite", "store/truth.sqlite3"])
def test_a_folder_with_a_newer_database_is_refused_and_not_touched(tmp_path: Path, newer: str) -> None:
    layout = restored("1", tmp_path)
    with closing(sqlite3.connect(layout.root / newer)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = contents_of(layout.root)

    async def check() -> None:
        async with opened(layout):
            pytest.fail("it was opened")

    with pytest.raises(MaintenanceError, match=r"newer Headwater \(its version is 99"):
        anyio.run(check)
    assert contents_of(layout.root) == before


def test_a_data_folder_says_its_format_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    with owned(tmp_path / "data", what="a test"):
        pass
    said = json.loads((tmp_path / "data" / FORMAT_NAME).read_text())
    assert said["format"] == FORMAT
    assert said["written_by"].startswith("headwater ")
    (tmp_path / "data" / FORMAT_NAME).write_text(json.dumps({"format": FORMAT + 1}))
    before = contents_of(tmp_path / "data")
    with pytest.raises(DataDirNewer, match="newer Headwater"), owned(tmp_path / "data", what="a test"):
        pytest.fail("it was owned")
    assert contents_of(tmp_path / "data") == before
    done = headwater("serve", "--data-dir", tmp_path / "data", "--address", "127.0.0.1:0")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "newer Headwater" in done.stderr


def contents_of(folder: Path) -> dict[str, bytes]:
    """Everything in a folder but what SQLite makes to read a database."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }
