from __future__ import annotations

import os
from pathlib import Path

import pytest

from headwater._cli.failures import CommandFailed
from headwater._cli.left_out import LeftOut
from headwater._cli.readable import READABLE
from headwater._cli.walking import walk
from headwater_server.retrieval.parsing.formats import BY_SUFFIX


def write(path: Path, text: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def found_in(*paths: Path) -> list[str]:
    return [found.path.name for found in walk(paths, LeftOut())]


def left_out_of(*paths: Path) -> LeftOut:
    left_out = LeftOut()
    for _ in walk(paths, left_out):
        pass
    return left_out


def test_a_folder_gives_its_readable_files_at_every_depth_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b/deep/er/z.md", "a.txt", "b/y.PDF", "c.html", "d.zip"):
        write(tmp_path / name)
    assert found_in(tmp_path) == ["a.txt", "c.html", "d.zip", "y.PDF", "z.md"]


def test_files_come_as_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "a" / "first.txt")
    files = walk([tmp_path], LeftOut())
    assert next(files).path.name == "first.txt"
    write(tmp_path / "b" / "late.txt")
    assert [found.path.name for found in files] == []


def test_hidden_files_version_control_and_software_are_left_out_and_counted(tmp_path: Path) -> None:
    for name in (
        ".hidden.txt",
        ".git/config.txt",
        "node_modules/x/readme.md",
        "venv/lib/x.txt",
        "thing.egg-info/SOURCES.txt",
        "target/debug/x.txt",
        "CVS/x.txt",
        "kept.txt",
    ):
        write(tmp_path / name)
    write(tmp_path / "venv" / "pyvenv.cfg")
    write(tmp_path / "target" / "CACHEDIR.TAG")
    assert found_in(tmp_path) == ["kept.txt"]
    left_out = left_out_of(tmp_path)
    assert left_out.files == {"hidden": 1}
    assert left_out.folders == {"hidden": 1, "software": 4, "caches": 1}
    assert left_out.line() == "1 file skipped (hidden 1), 6 folders not entered (software 4, hidden 1, caches 1)"


def test_a_folder_vendor_is_software_beside_a_list_of_what_was_vendored_only(tmp_path: Path) -> None:
    write(tmp_path / "buying" / "vendor" / "contract.txt")
    write(tmp_path / "program" / "vendor" / "library.txt")
    write(tmp_path / "program" / "go.mod")
    assert found_in(tmp_path) == ["contract.txt"]


def test_a_folder_that_is_named_itself_is_entered_whatever_it_is_called(tmp_path: Path) -> None:
    write(tmp_path / ".notes" / "a.txt")
    write(tmp_path / "venv" / "pyvenv.cfg")
    write(tmp_path / "venv" / "b.txt")
    assert found_in(tmp_path / ".notes", tmp_path / "venv") == ["a.txt", "b.txt", "pyvenv.cfg"]


def test_files_of_other_kinds_in_a_folder_are_counted_by_ending(tmp_path: Path) -> None:
    for name in ("a.png", "b.PNG", "c.tar.gz", "no-ending", "package-lock.json", "all.min.js", "kept.txt"):
        write(tmp_path / name)
    left_out = left_out_of(tmp_path)
    assert left_out.kinds == {".png": 2, ".gz": 1, "no ending": 1}
    assert left_out.files == {"lock file": 1, "minified": 1}
    assert left_out.line().startswith("6 files skipped (.png 2, ")


def test_many_endings_are_shown_by_the_most_frequent(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / f"file.x{number:02}")
    write(tmp_path / "more.x07")
    assert left_out_of(tmp_path).line().startswith("21 files skipped (.x07 2, ")
    assert ", other kinds 14)" in left_out_of(tmp_path).line()


def test_files_without_an_ending_are_documents_if_they_are_called_so(tmp_path: Path) -> None:
    for name in ("README", "COPYING", "copyright", "Makefile", "a.out", "program", ".profile"):
        write(tmp_path / name)
    assert found_in(tmp_path) == ["COPYING", "Makefile", "README", "copyright"]


def test_a_file_that_is_named_itself_is_taken_whatever_its_ending(tmp_path: Path) -> None:
    assert found_in(write(tmp_path / "picture.png"), write(tmp_path / ".hidden")) == ["picture.png", ".hidden"]


def test_symbolic_links_in_a_circle_end(tmp_path: Path) -> None:
    write(tmp_path / "folder" / "a.txt")
    (tmp_path / "folder" / "up").symlink_to(tmp_path)
    (tmp_path / "itself.txt").symlink_to(tmp_path / "itself.txt")
    assert found_in(tmp_path) == ["a.txt"]


def test_a_file_that_several_paths_reach_is_taken_once(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt")
    (tmp_path / "b.txt").symlink_to(file)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "c.txt").symlink_to(file)
    assert found_in(file, tmp_path) == ["a.txt"]
    assert len(found_in(tmp_path / "folder", tmp_path)) == 1


def test_links_that_lead_out_of_the_folder_are_left_out_and_counted(tmp_path: Path) -> None:
    secret = write(tmp_path / "elsewhere" / "secret.txt")
    write(tmp_path / "folder2" / "beside.txt")
    folder = tmp_path / "folder"
    write(folder / "deep" / "kept.txt")
    (folder / "file.txt").symlink_to(secret)
    (folder / "deep" / "up").symlink_to(secret.parent)
    (folder / "beside").symlink_to("../folder2")  # its name begins with that of the folder
    (folder / "within.md").symlink_to("deep/kept.txt")
    (folder / ".hidden.txt").symlink_to(secret)
    assert found_in(folder) == ["within.md"]
    assert left_out_of(folder).links == 3
    assert left_out_of(folder).line() == "1 file skipped (hidden 1), 3 links out of the folder not followed"


def test_links_from_one_named_folder_to_another_are_followed(tmp_path: Path) -> None:
    target = write(tmp_path / "two" / "b.txt")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.txt").symlink_to(target)
    assert found_in(tmp_path / "one", tmp_path / "two") == ["a.txt"]
    assert left_out_of(tmp_path / "one", tmp_path / "two").links == 0


def test_a_link_that_is_named_itself_is_followed(tmp_path: Path) -> None:
    file = write(tmp_path / "there" / "a.txt")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file.txt").symlink_to(file)
    (tmp_path / "folder").symlink_to(tmp_path / "there")
    assert found_in(tmp_path / "here" / "file.txt") == ["file.txt"]
    assert found_in(tmp_path / "folder") == ["a.txt"]


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert found_in(tmp_path) == []
    with pytest.raises(CommandFailed, match="neither a file nor a folder"):
        found_in(tmp_path / "pipe.txt")


def test_a_path_that_does_not_exist_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"absent: No such file or directory") as refused:
        found_in(tmp_path / "absent")
    assert refused.value.code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_may_not_be_looked_into_is_told_of(tmp_path: Path) -> None:
    write(tmp_path / "open" / "a.txt")
    (tmp_path / "closed").mkdir(mode=0o000)
    assert found_in(tmp_path) == ["a.txt"]
    assert [folder.name for folder, _ in left_out_of(tmp_path).unreadable] == ["closed"]


def test_a_folder_s_import_takes_every_ending_that_the_server_reads_and_no_other() -> None:
    assert set(BY_SUFFIX) == READABLE
