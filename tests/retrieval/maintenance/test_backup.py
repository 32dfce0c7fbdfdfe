"""Backups of data folders that are being worked on."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from headwater import Client
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.retrieval.maintenance.backup import NOTE_NAME, BackupProgress, BackupReport, back_up
from headwater_server.retrieval.maintenance.layout import MaintenanceError
from headwater_server.retrieval.service import RetrievalCore
from tests.retrieval.service.support import ME, READY, create_document, download, ended, import_text, serving, sources
from tests.serving import headwater
from tests.serving import serving as serving_process


def silent(progress: BackupProgress) -> None:
    """Says nothing."""


async def backed_up(
    data: Path, target: Path, *, previous: Path | None = None, progress: Callable[[BackupProgress], None] = silent
) -> BackupReport:
    return await to_thread.run_sync(partial(back_up, data, target, previous=previous, progress=progress))


def text(number: int, *, edition: int = 0) -> str:
    return f"Ship number{number} carries cargo{number * 7919} to harbour{number % 13}. Edition {edition}."


async def content(core: RetrievalCore, name: str) -> str:
    return b"".join(response.data for response in await download(core, name)).decode()


@pytest.mark.anyio
async def test_what_was_acknowledged_before_is_in_a_copy_made_under_load(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    names = {}
    async with serving(data / "retrieval", workers=2) as core:
        for number in range(12):
            names[number] = (await import_text(core, text(number), f"d{number}")).name
        for number in range(12, 18):  # acknowledged, and perhaps not READY when the copy is made
            names[number] = (await create_document(core, text(number), f"d{number}")).name

        async def go_on(worker: int) -> None:
            for edition in range(1, 1000):
                number = worker * 3 + edition % 3
                await import_text(core, text(number, edition=edition), f"d{number}")
                extra = await create_document(core, text(100 + edition, edition=worker), f"extra-{worker}-{edition}")
                if edition % 2:
                    await core.delete_document(pb.DeleteDocumentRequest(name=extra.name), ME)

        async with anyio.create_task_group() as tasks:
            for worker in range(4):
                tasks.start_soon(go_on, worker)
            await anyio.sleep(0.5)
            report = await backed_up(data, copy)
            tasks.cancel_scope.cancel()
    assert report.documents >= len(names)
    assert not report.damaged
    assert not (copy.with_name("copy.partial")).exists()
    assert json.loads((copy / NOTE_NAME).read_text())["documents"] == report.documents
    async with serving(copy / "retrieval", workers=2) as core:
        for number, name in names.items():
            document = await ended(core, name)
            assert document.state == READY, document
            assert (await content(core, name)).startswith(text(number).partition("Edition")[0])
            found = await sources(core, f"cargo{number * 7919}")
            assert name in {source.document for source in found}
        listed = await core.list_documents(pb.ListDocumentsRequest(parent="corpora/default", page_size=1000), ME)
        for each in listed.documents:  # none without its bytes, whenever it was acknowledged
            assert await content(core, each.name)


@pytest.mark.anyio
async def test_a_later_backup_shares_what_has_not_changed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data / "retrieval") as core:
        await import_text(core, text(1), "one")
        first = await backed_up(data, tmp_path / "first")
        await import_text(core, text(2), "two")
        second = await backed_up(data, tmp_path / "second", previous=tmp_path / "first")
    assert (first.contents, second.contents) == (1, 2)
    assert second.copied_bytes == len(text(2))
    shared = [
        path.stat().st_nlink for path in (tmp_path / "second" / "retrieval" / "contents").rglob("*") if path.is_file()
    ]
    assert sorted(shared) == [1, 2]


@pytest.mark.anyio
async def test_an_interrupted_backup_goes_on_where_it_stopped(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data / "retrieval") as core:
        for number in range(4):
            await create_document(core, text(number), f"d{number}")

    def interrupt(progress: BackupProgress) -> None:
        if progress.what == "documents" and progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(data, tmp_path / "copy", progress=interrupt)
    assert not (tmp_path / "copy").exists()
    seen: list[BackupProgress] = []
    report = back_up(data, tmp_path / "copy", progress=seen.append)
    assert seen[0] == BackupProgress("documents", 0, 1)
    assert report.contents == 4


@pytest.mark.anyio
async def test_damaged_bytes_are_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data / "retrieval") as core:
        document = await import_text(core, text(1), "one")
    (file,) = (path for path in (data / "retrieval" / "contents").rglob("*") if path.is_file())
    file.write_bytes(b"another" + file.read_bytes()[7:])
    report = await backed_up(data, tmp_path / "copy")
    assert report.damaged == [document.name]


@pytest.fixture
def folder_of_one(tmp_path: Path) -> tuple[Path, Path]:
    """A data folder, and the file of its one document's bytes."""

    async def make() -> None:
        async with serving(tmp_path / "data" / "retrieval") as core:
            await import_text(core, text(1), "one")

    anyio.run(make)
    return tmp_path / "data", only_file(tmp_path / "data")


def only_file(folder: Path) -> Path:
    (file,) = (path for path in (folder / "retrieval" / "contents").rglob("*") if path.is_file())
    return file


def damage(file: Path) -> None:
    """Changes bytes as a disk does: the file stays the same, also where other backups share it."""
    with file.open("r+b") as opened:
        opened.write(b"another")


def test_what_an_earlier_backup_has_damaged_is_copied_anew(folder_of_one: tuple[Path, Path], tmp_path: Path) -> None:
    data, file = folder_of_one
    back_up(data, tmp_path / "first", progress=silent)
    damage(only_file(tmp_path / "first"))
    report = back_up(data, tmp_path / "second", previous=tmp_path / "first", progress=silent)
    assert (report.damaged, report.copied_bytes) == ([], len(text(1)))
    assert only_file(tmp_path / "second").read_bytes() == file.read_bytes() == text(1).encode()


def test_damaged_bytes_are_named_by_every_backup_that_has_them(
    folder_of_one: tuple[Path, Path], tmp_path: Path
) -> None:
    data, file = folder_of_one
    damage(file)
    first = back_up(data, tmp_path / "first", progress=silent)
    second = back_up(data, tmp_path / "second", previous=tmp_path / "first", progress=silent)
    assert first.damaged == second.damaged == ["corpora/default/documents/one"]


@pytest.mark.parametrize("mended", [True, False])
def test_what_an_interrupted_backup_has_left_damaged_is_copied_anew(
    folder_of_one: tuple[Path, Path], tmp_path: Path, *, mended: bool
) -> None:
    data, file = folder_of_one

    def interrupt(progress: BackupProgress) -> None:
        if progress.what == "databases":
            raise KeyboardInterrupt

    damage(file)
    with pytest.raises(KeyboardInterrupt):
        back_up(data, tmp_path / "copy", progress=interrupt)
    if mended:
        file.write_text(text(1))
    report = back_up(data, tmp_path / "copy", progress=silent)
    assert report.damaged == ([] if mended else ["corpora/default/documents/one"])
    assert only_file(tmp_path / "copy").read_bytes() == file.read_bytes()


def test_bytes_that_the_disk_does_not_take_make_no_backup(
    folder_of_one: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = folder_of_one

    def lost(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", lost)
    with pytest.raises(OSError, match="Input/output"):
        back_up(data, tmp_path / "copy", progress=silent)
    assert not (tmp_path / "copy").exists()


@pytest.fixture
def empty_folder(tmp_path: Path) -> Path:
    async def make() -> None:
        async with serving(tmp_path / "data" / "retrieval"):
            pass

    anyio.run(make)
    return tmp_path / "data"


def test_a_backup_replaces_nothing_and_needs_a_data_folder(empty_folder: Path, tmp_path: Path) -> None:
    data = empty_folder
    (tmp_path / "taken").mkdir()
    with pytest.raises(MaintenanceError, match="never replaces"):
        back_up(data, tmp_path / "taken", progress=silent)
    with pytest.raises(MaintenanceError, match="is not a backup"):
        back_up(data, tmp_path / "copy", previous=tmp_path / "taken", progress=silent)
    with pytest.raises(MaintenanceError, match="outside"):
        back_up(data, data / "copy", progress=silent)
    with pytest.raises(MaintenanceError, match="does not exist"):
        back_up(tmp_path / "nothing", tmp_path / "copy", progress=silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "taken"]


def test_the_command_copies_the_folder_of_a_server_that_runs(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The lighthouse of Kampen was lit in 1856.")
    with serving_process(tmp_path / "data") as server:
        assert headwater("import", tmp_path / "a.txt", target=server.target).returncode == 0
        done = headwater("backup", tmp_path / "copy", "--data-dir", tmp_path / "data")
        assert (done.returncode, done.stderr) == (0, "")
        assert "1 document of" in done.stdout
    with serving_process(tmp_path / "copy") as server:
        found = headwater("retrieve", "When was the lighthouse lit?", target=server.target)
        assert "1856" in found.stdout
    again = headwater("backup", tmp_path / "copy", "--data-dir", tmp_path / "data")
    assert again.returncode == 1
    assert "never replaces" in again.stderr


def test_chats_are_in_the_copy_whether_the_server_runs_or_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving_process(data) as server:
        with Client(server.target) as client:
            chat = client.chats.create(display_name="Ships").name
            client.answer("What does number1 carry?", chat=chat, grounded=False).content()
        assert headwater("backup", tmp_path / "running", "--data-dir", data).returncode == 0
    assert headwater("backup", tmp_path / "stopped", "--data-dir", data).returncode == 0
    for copy in ("running", "stopped"):
        with serving_process(tmp_path / copy) as server, Client(server.target) as client:
            assert client.chats.get(chat).display_name == "Ships"
            assert [turn.prompt for turn in client.chats.list_turns(chat)] == ["What does number1 carry?"]
