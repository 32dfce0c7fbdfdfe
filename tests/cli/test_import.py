from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headwater import Client
from headwater.v1 import document_pb2
from tests.serving import HANDBOOK, HEADWATER, TIME_LIMIT_S, ServerProcess, environment, headwater, serving, started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("import") / "data") as server:
        yield server


@pytest.fixture
def corpus(request: pytest.FixtureRequest) -> str:
    name: str = request.node.name
    return name[:60].rstrip("_")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "tides.md").write_text("# Tides\n\nThe tide comes in twice a day.\n")
    (folder / "bells.txt").write_text("The bells are rung at noon.\n")
    return folder


def documents(server: ServerProcess, corpus: str) -> dict[str, document_pb2.Document]:
    with Client(server.target) as client:
        return {document.uri.rpartition("/")[2]: document for document in client.documents.list(corpus)}


def test_a_folder_is_imported_into_a_corpus_that_is_created(server: ServerProcess, corpus: str, files: Path) -> None:
    done = headwater("import", files, "--corpus", corpus, target=server.target)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"2 files imported · corpus {corpus}, 2 passages\n"
    assert sorted(documents(server, corpus)) == ["bells.txt", "tides.md"]


def test_importing_again_does_nothing_and_replaces_what_has_changed(
    server: ServerProcess, corpus: str, files: Path
) -> None:
    assert headwater("import", files, "-c", corpus, target=server.target).returncode == 0
    first = documents(server, corpus)
    again = headwater("import", files, "-c", corpus, target=server.target)
    assert again.stdout.startswith("0 files imported, 2 unchanged")
    assert documents(server, corpus) == first
    (files / "bells.txt").write_text("The bells are rung at midnight.\n")
    changed = headwater("import", ".", "-c", corpus, target=server.target, cwd=files)
    assert changed.stdout.startswith("1 file imported, 1 unchanged")
    assert documents(server, corpus).keys() == first.keys()
    assert documents(server, corpus)["bells.txt"].sha256 != first["bells.txt"].sha256


def test_metadata_have_their_types_and_change_without_another_upload(
    server: ServerProcess, corpus: str, files: Path
) -> None:
    pairs = ["-m", "year=2024", "-m", "draft=false", "-m", 'code:="007"']
    assert headwater("import", files, "-c", corpus, *pairs, target=server.target).returncode == 0
    metadata = documents(server, corpus)["tides.md"].metadata
    assert metadata["year"].int64_value == 2024
    assert metadata["draft"].WhichOneof("kind") == "bool_value"
    assert metadata["code"].string_value == "007"
    again = headwater("import", files, "-c", corpus, "-m", "year=2025", target=server.target)
    assert again.stdout.startswith("0 files imported, 2 updated")
    assert documents(server, corpus)["tides.md"].metadata["year"].int64_value == 2025
    found = headwater("retrieve", "tide", "-c", corpus, "--where", "year=2025", "--json", target=server.target)
    assert len(found.stdout.splitlines()) == 2
    assert headwater("retrieve", "tide", "-c", corpus, "--where", "year=2024", target=server.target).stdout == ""


def test_a_file_that_cannot_be_read_fails_with_its_reason_and_the_others_are_imported(
    server: ServerProcess, corpus: str, files: Path
) -> None:
    (files / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is no PDF")
    (files / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = headwater("import", files, "-c", corpus, target=server.target)
    assert done.returncode == 1
    summary, failed = done.stdout.splitlines()
    assert summary.startswith("2 files imported, 1 failed")
    assert failed.startswith("failed ")
    assert "broken.pdf: " in failed
    assert "1 file skipped (.png 1)" in done.stderr


def test_an_unsupported_file_that_is_named_itself_is_an_error(server: ServerProcess, corpus: str, files: Path) -> None:
    (files / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = headwater("import", files / "picture.png", "-c", corpus, target=server.target)
    assert done.returncode == 1
    assert "PNG image" in done.stdout


def test_an_empty_folder_is_an_error_in_one_line(server: ServerProcess, corpus: str, tmp_path: Path) -> None:
    done = headwater("import", tmp_path, "-c", corpus, target=server.target)
    assert done.returncode == 1
    assert "nothing to import" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_exits_with_130_and_the_next_import_goes_on(server: ServerProcess, corpus: str, tmp_path: Path) -> None:
    words = (HANDBOOK / "security-incidents.md").read_text()
    for number in range(30):
        (tmp_path / f"{number:02}.md").write_text(f"# Copy {number}\n\n{words}")
    with started("import", tmp_path, "-c", corpus, target=server.target) as importing:
        assert importing.stderr is not None
        assert importing.stderr.readline().startswith("[1/30] imported")
        importing.send_signal(signal.SIGINT)
        assert importing.wait(timeout=TIME_LIMIT_S) == 130
        said = importing.stderr.read().splitlines()
        assert re.fullmatch(
            r"headwater: stopped after [\d,]+ of 30 files; the same command again goes on where this one stopped",
            said[-1],
        )
        assert not any("Traceback" in line for line in said)
    done = headwater("import", tmp_path, "-c", corpus, target=server.target)
    assert done.returncode == 0, done.stdout
    imported, unchanged = (int(part.split()[0]) for part in done.stdout.split(" · ")[0].split(", "))
    assert imported + unchanged == 30
    assert unchanged >= 1
    assert len(documents(server, corpus)) == 30


def test_a_name_that_is_not_utf_8_is_imported(server: ServerProcess, corpus: str, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    Path(os.fsdecode(path)).write_text("Coffee is served at nine.")
    assert headwater("import", tmp_path, "-c", corpus, target=server.target).returncode == 0
    assert list(documents(server, corpus)) == ["caf�.txt"]


def test_without_a_server_it_ends_in_one_line_that_says_how_to_start_one(files: Path) -> None:
    done = headwater("import", files, target="127.0.0.1:1")
    assert done.returncode == 1
    assert "headwater serve" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_documents_are_listed_shown_downloaded_watched_and_deleted(
    server: ServerProcess, corpus: str, files: Path, tmp_path: Path
) -> None:
    headwater("import", files, "-c", corpus, target=server.target)
    listed = headwater("documents", "list", "-c", corpus, "--json", target=server.target)
    names = [json.loads(line)["name"] for line in listed.stdout.splitlines()]
    assert len(names) == 2
    tides = next(name for name in names if "tides" in name)
    assert "ready" in headwater("documents", "get", tides, target=server.target).stdout
    assert "ready" in headwater("documents", "watch", tides, target=server.target).stdout
    downloaded = headwater("documents", "download", tides.rpartition("/")[2], "-c", corpus, target=server.target)
    assert downloaded.stdout == (files / "tides.md").read_text()
    headwater("documents", "download", tides, "-o", tmp_path / "copy.md", target=server.target)
    assert (tmp_path / "copy.md").read_bytes() == (files / "tides.md").read_bytes()
    assert headwater("documents", "delete", tides, target=server.target).returncode == 0
    gone = headwater("documents", "get", tides, target=server.target)
    assert gone.returncode == 1
    assert tides in gone.stderr


def test_corpora_are_created_shown_changed_and_deleted(server: ServerProcess, corpus: str, files: Path) -> None:
    created = headwater("corpora", "create", corpus, "--display-name", "Tides", "--label", "a=b", target=server.target)
    assert created.returncode == 0, created.stderr
    taken = headwater("corpora", "create", corpus, target=server.target)
    assert taken.returncode == 1
    assert corpus in taken.stderr
    changed = headwater("corpora", "update", corpus, "--display-name", "Bells", "--json", target=server.target)
    assert json.loads(changed.stdout)["displayName"] == "Bells"
    assert json.loads(changed.stdout)["labels"] == {"a": "b"}
    assert "Bells" in headwater("corpora", "get", corpus, target=server.target).stdout
    headwater("import", files, "-c", corpus, target=server.target)
    refused = headwater("corpora", "delete", corpus, target=server.target)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert headwater("corpora", "delete", corpus, "--force", target=server.target).returncode == 0
    assert corpus not in headwater("corpora", "list", target=server.target).stdout


def test_a_folder_that_moved_is_another_one(server: ServerProcess, corpus: str, files: Path) -> None:
    headwater("import", files, "-c", corpus, target=server.target)
    shutil.copytree(files, files.with_name("copy"))
    done = headwater("import", files.with_name("copy"), "-c", corpus, target=server.target)
    assert done.stdout.startswith("2 files imported")


def test_an_archive_is_imported_as_a_whole_and_again_for_nothing(
    server: ServerProcess, corpus: str, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "docs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sea/tides.md", "# Tides\n\nThe tide comes in twice a day.\n")
        archive.writestr("bells.txt", "The bells are rung at noon.\n")
        archive.writestr("../up.txt", "Out of here.")
        archive.writestr("picture.png", b"\x89PNG\r\n\x1a\n")
    before = sorted(tmp_path.rglob("*"))
    done = headwater("import", "docs.zip", "-c", corpus, target=server.target, cwd=tmp_path)
    assert done.returncode == 1
    summary, failed = done.stdout.splitlines()
    assert summary.startswith("2 files imported, 1 failed")
    assert failed == "failed docs.zip!/../up.txt: its name leads out of the archive"
    assert "1 file skipped (.png 1)" in done.stderr
    uris = {document.uri for document in documents(server, corpus).values()}
    assert uris == {f"{tmp_path}/docs.zip!/sea/tides.md", f"{tmp_path}/docs.zip!/bells.txt"}
    again = headwater("import", tmp_path, "-c", corpus, target=server.target)
    assert again.stdout.startswith("0 files imported, 2 unchanged, 1 failed")
    assert sorted(tmp_path.rglob("*")) == before


def test_each_file_is_an_object_for_programs(server: ServerProcess, corpus: str, files: Path) -> None:
    (files / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is no PDF")
    (files / "empty.txt").write_text("")
    done = headwater("import", files, "-c", corpus, "--json", target=server.target)
    assert done.returncode == 1
    objects = {found["uri"].rpartition("/")[2]: found for found in map(json.loads, done.stdout.splitlines())}
    assert {name: found["outcome"] for name, found in objects.items()} == {
        "bells.txt": "imported",
        "tides.md": "imported",
        "broken.pdf": "failed",
        "empty.txt": "skipped",
    }
    assert objects["broken.pdf"]["code"] == "DOCUMENT_UNREADABLE"
    assert objects["empty.txt"]["reason"] == "empty"
    assert objects["tides.md"]["passages"] == 1
    names = {document.name for document in documents(server, corpus).values()}
    assert names == {objects[name]["document"] for name in ("bells.txt", "tides.md", "broken.pdf")}
    assert "2 files imported, 1 failed" in done.stderr


def test_many_files_show_their_pace_and_many_failures_their_reasons(
    server: ServerProcess, corpus: str, tmp_path: Path
) -> None:
    for number in range(101):
        (tmp_path / f"{number:03}.txt").write_text(f"The text of number {number}.")
    for number in range(12):
        (tmp_path / f"{number:03}.pdf").write_bytes(b"%PDF-1.7\nthis is no PDF")
    done = headwater("import", tmp_path, "-c", corpus, target=server.target)
    assert done.returncode == 1
    summary, reason, *examples = done.stdout.splitlines()
    assert summary == f"101 files imported, 12 failed · corpus {corpus}, 101 passages"
    assert re.fullmatch(r"failed 12: the PDF .+", reason)
    assert len(examples) == 6
    assert examples[-1] == "  … and 7 more"
    said = done.stderr.splitlines()
    assert re.fullmatch(r"113 files in [\d.]+ (s|min .+), [\d.]+ a second", said[-1])
    assert sum(" failed " in line for line in said) == 12
    assert not any(" imported " in line for line in said)


@contextmanager
def serving_at(address: str, data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    command = [*HEADWATER, "serve", "--address", address, "--data-dir", str(data_dir)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()
    ) as process:
        try:
            assert process.stdout is not None
            assert "is ready" in process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_a_server_that_is_killed_in_mid_import_and_started_again_gets_all_files(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = tmp_path / "files"
    folder.mkdir()
    words = (HANDBOOK / "security-incidents.md").read_text()
    for number in range(30):
        (folder / f"{number:02}.md").write_text(f"# Copy {number}\n\n{words}")
    with serving_at(address, tmp_path / "data") as server, started("import", folder, target=address) as importing:
        assert importing.stderr is not None
        assert importing.stdout is not None
        assert importing.stderr.readline().startswith("[1/30] imported")
        server.kill()
        server.wait(timeout=TIME_LIMIT_S)
        with serving_at(address, tmp_path / "data"):
            said = importing.stderr.read()
            assert importing.wait(timeout=TIME_LIMIT_S) == 0, said
            with Client(address) as client:
                found = list(client.documents.list("default"))
        assert importing.stdout.read().startswith("30 files imported · ")
    assert "trying again for 60 s" in said
    assert "the server is back" in said
    assert len(found) == 30
    assert {document.state for document in found} == {document_pb2.DOCUMENT_STATE_READY}
