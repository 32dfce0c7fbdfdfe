"""Flipped bytes, anywhere: noticed or harmless, and put right so far as that can be."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from headwater.v1 import document_pb2
from headwater_server.retrieval.maintenance.examination import examine
from headwater_server.retrieval.maintenance.layout import Layout, MaintenanceError
from headwater_server.retrieval.maintenance.repair import RepairReport, repair
from headwater_server.retrieval.opening import open_retrieval
from tests.power_loss.embedder import WordEmbedder
from tests.retrieval.maintenance.folders import (
    BROKEN,
    SUBJECTS,
    config,
    content_of,
    copied,
    ended,
    files_of,
    import_bytes,
    make_folder,
    name_of,
    said_by,
    sources,
    text_about,
    word,
)

SEED = int(os.environ.get("HEADWATER_FLIP_SEED", "1"))
FLIPS = int(os.environ.get("HEADWATER_FLIPS", "40"))
READY = document_pb2.DOCUMENT_STATE_READY
FAILED = document_pb2.DOCUMENT_STATE_FAILED


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "retrieval"
    anyio.run(make_folder, folder)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "retrieval")


def found_in(folder: Path) -> list[str]:
    """What an examination finds; a folder that it refuses is found out too."""
    try:
        return [f"{each.part}: {each.what} {each.detail}" for each in examine(Layout(folder), in_use=False)]
    except MaintenanceError as error:
        return [str(error)]


def repaired(folder: Path) -> RepairReport:
    return repair(Layout(folder), examine(Layout(folder), in_use=False))


def flip(path: Path, place: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        value = file.read(1)[0] ^ 1 << bit
        file.seek(place)
        file.write(bytes([value]))


def flips(template: Path, kind: str) -> Iterator[tuple[Path, int, int]]:
    """Places to flip a bit at, more of them where there is more data."""
    chance = random.Random(f"{SEED}/{kind}")  # noqa: S311 (no secret)
    files = files_of(template)[kind]
    for _ in range(FLIPS):
        path = chance.choice(files)
        data = path.read_bytes()
        used = [place for place in range(0, len(data), 64) if any(data[place : place + 64])]
        yield path, chance.choice(used) + chance.randrange(64), chance.randrange(8)


@pytest.mark.parametrize("kind", ["catalog", "store", "contents", "index"])
def test_a_flipped_bit_is_found_or_changes_nothing(template: Path, tmp_path: Path, kind: str) -> None:
    before = said_by(template)
    folder = copied(template, tmp_path / "retrieval")
    assert found_in(folder) == []
    noticed = 0
    for path, place, bit in flips(template, kind):
        target = folder / path.relative_to(template)
        if place >= target.stat().st_size:
            continue
        flip(target, place, bit)
        found = found_in(folder)
        noticed += bool(found)
        assert found or (kind != "index" and said_by(folder) == before), (path.name, place, bit)
        shutil.copyfile(path, target)
        for leftover in (*folder.glob("*-wal"), *folder.glob("*-shm"), *(folder / "store").glob("*-wal")):
            leftover.unlink()
        for leftover in (folder / "store").glob("*-shm"):
            leftover.unlink()
    assert noticed > FLIPS // 4


def lines(text: str) -> set[str]:
    """The paragraphs of a text; a source may have several passages that follow each other."""
    return {line for line in text.split("\n") if line}


async def answers_rightly(folder: Path, report: RepairReport) -> None:
    """Every document is READY with its own bytes and passages, but for those that the report names."""
    async with open_retrieval(folder, config(), make_embedder=WordEmbedder) as core:
        for subject in SUBJECTS:
            if name_of(subject) in report.lost:
                continue
            document = await ended(core, subject)
            if name_of(subject) in report.failed:
                assert document.state == FAILED
                assert "import it again" in document.error.message
                assert not [each for each in await sources(core, word(subject)) if each.document == document.name]
                document = await import_bytes(core, subject, text_about(subject), document_pb2.Document())
            assert document.state == READY, document
            assert await content_of(core, subject) == text_about(subject)
            found = [each for each in await sources(core, word(subject)) if word(subject) in each.content]
            assert {each.document for each in found} == {name_of(subject)}
            assert {line for each in found for line in lines(each.content)} == lines(text_about(subject).decode())


def overwrite(path: Path, what: bytes, by: bytes) -> None:
    data = path.read_bytes()
    assert what in data
    path.write_bytes(data.replace(what, by, 1))


def in_a_passage(folder: Path) -> None:
    overwrite(Layout(folder).truth, b"secretferry is told", b"secretferry is sold")


def in_a_passage_so_that_it_is_no_text(folder: Path) -> None:
    overwrite(Layout(folder).truth, b"secretferry is told", b"secretferry \xff\xfe told")


def in_a_vector(folder: Path) -> None:
    vector = WordEmbedder().embed_documents([text_about("ferry").decode().split("\n\n")[0]])[0]
    overwrite(Layout(folder).truth, vector.tobytes()[:64], bytes(64))


def in_the_metadata_of_the_store(folder: Path) -> None:
    overwrite(Layout(folder).truth, b"ferry.txt", b"merry.txt")


def in_a_title_of_the_catalog(folder: Path) -> None:
    overwrite(Layout(folder).catalog, b"About soup", b"About sour")


def in_a_checksum_of_the_catalog(folder: Path) -> None:
    import hashlib  # noqa: PLC0415 (here only)

    name = hashlib.sha256(text_about("soup")).hexdigest().encode()
    data = Layout(folder).catalog.read_bytes()
    other = (b"0" if name[:1] != b"0" else b"1") + name[1:]
    Layout(folder).catalog.write_bytes(data.replace(name, other))


def in_a_page_of_the_store(folder: Path) -> None:
    with Layout(folder).truth.open("r+b") as file:
        size = file.seek(0, 2)
        for page in range(4, size // 4096, 5):
            file.seek(page * 4096)
            file.write(os.urandom(512))


def all_of_the_store(folder: Path) -> None:
    Layout(folder).truth.write_bytes(os.urandom(8192))


def the_store_missing(folder: Path) -> None:
    shutil.rmtree(Layout(folder).store)


def in_a_content(folder: Path) -> None:
    (path,) = (each for each in files_of(folder)["contents"] if b"secretrope" in each.read_bytes())
    overwrite(path, b"secretrope", b"secretpope")


def a_content_missing(folder: Path) -> None:
    (path,) = (each for each in files_of(folder)["contents"] if b"secretrope" in each.read_bytes())
    path.unlink()


def everywhere(folder: Path) -> None:
    for damage in (in_a_vector, in_a_title_of_the_catalog, in_a_content):
        damage(folder)


DAMAGES: list[Callable[[Path], None]] = [
    in_a_passage,
    in_a_passage_so_that_it_is_no_text,
    in_a_vector,
    in_the_metadata_of_the_store,
    in_a_title_of_the_catalog,
    in_a_checksum_of_the_catalog,
    in_a_page_of_the_store,
    all_of_the_store,
    the_store_missing,
    in_a_content,
    a_content_missing,
    everywhere,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_can_be_made_anew_is(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    assert found_in(folder)
    report = repaired(folder)
    assert report.lost == []
    assert found_in(folder) == []
    anyio.run(answers_rightly, folder, report)
    assert found_in(folder) == []


def test_what_is_taken_out_of_use_is_set_aside(folder: Path) -> None:
    in_a_content(folder)
    in_a_vector(folder)
    report = repaired(folder)
    assert report.failed == [name_of("rope")]
    assert report.read_again == [name_of("ferry")]
    assert report.set_aside is not None
    names = {path.name for path in report.set_aside.iterdir() if not path.name.endswith(("-wal", "-shm"))}
    assert "truth.sqlite3" in names
    assert len(names) == 2


def test_pages_of_the_catalog_that_are_gone_cost_their_documents_only(folder: Path) -> None:
    path = Layout(folder).catalog
    with path.open("r+b") as file:
        data = path.read_bytes()
        page = data.index(b"About soup") // 4096
        file.seek(page * 4096)
        file.write(bytes(4096))
    assert found_in(folder)
    report = repaired(folder)
    assert name_of("soup") in report.lost
    assert found_in(folder) == []
    assert report.set_aside is not None
    kept = {each.read_bytes() for each in report.set_aside.iterdir()}
    assert text_about("soup") in kept  # the bytes of what is lost are not removed
    anyio.run(answers_rightly, folder, report)


def change_documents(folder: Path, change: str) -> None:
    """Changes the row of the document about soup, as damage would: its checksum stays."""
    with closing(sqlite3.connect(Layout(folder).catalog, isolation_level=None)) as catalog:
        for (trigger,) in catalog.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            catalog.execute(f"DROP TRIGGER {trigger}")
        catalog.execute(f"UPDATE documents SET {change} WHERE document_id = 'soup'")  # noqa: S608 (ours)


@pytest.mark.parametrize("change", ["document_id = 'soop'", "document_id = 'soup and more'", "tenant = 'locak'"])
def test_a_document_with_a_damaged_name_is_told_by_its_checksum(folder: Path, change: str) -> None:
    change_documents(folder, change)
    assert found_in(folder)
    report = repaired(folder)
    assert (report.lost, report.restored) == ([], [name_of("soup")])
    assert found_in(folder) == []
    anyio.run(answers_rightly, folder, report)


def test_a_document_of_which_the_name_and_more_is_damaged_is_lost_once_and_its_bytes_are_named(folder: Path) -> None:
    change_documents(folder, "document_id = 'soop', title = 'About soap'")
    report = repaired(folder)
    assert report.lost == [name_of("soup")]
    assert report.lost_bytes[name_of("soup")].read_bytes() == text_about("soup")
    assert found_in(folder) == []
    anyio.run(answers_rightly, folder, report)


def test_a_catalog_of_which_nothing_is_left_is_not_touched(folder: Path) -> None:
    Layout(folder).catalog.write_bytes(os.urandom(8192))
    before = said_by(folder)
    assert any("cannot be read" in each for each in found_in(folder))
    with pytest.raises(MaintenanceError, match="restore a backup"):
        repaired(folder)
    assert said_by(folder) == before
    assert len(files_of(folder)["contents"]) == len(SUBJECTS) + 1


def test_a_folder_that_is_well_is_left_as_it_is(folder: Path) -> None:
    before = {path: path.read_bytes() for kind in files_of(folder).values() for path in kind}
    report = repaired(folder)
    assert report == RepairReport()
    assert {path: path.read_bytes() for kind in files_of(folder).values() for path in kind} == before


def test_damage_is_never_handed_out(folder: Path) -> None:
    """Also without any examination: a search leaves a damaged passage out."""

    async def ask() -> None:
        async with open_retrieval(folder, config(), make_embedder=WordEmbedder) as core:
            for subject in SUBJECTS:
                for source in await sources(core, word(subject)):
                    assert lines(source.content) <= lines(text_about(source.document.rpartition("/")[2]).decode())
            assert (await ended(core, BROKEN)).state == FAILED

    in_a_passage(folder)
    in_a_passage_so_that_it_is_no_text_of_another(folder)
    anyio.run(ask)


def in_a_passage_so_that_it_is_no_text_of_another(folder: Path) -> None:
    overwrite(Layout(folder).truth, b"secretcrane is told", b"secretcrane \xff\xfe told")
